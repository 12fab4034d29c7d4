"""The model's own tokenizer: byte-level BPE, learned from the texts it will read.

Comes in: texts. Goes out: a Hugging Face fast tokenizer with its chat template. Any text survives the round trip,
since every byte has a token. Digits are single tokens; runs of punctuation with the white space between them (`": "`,
`", "`, `{\\n  "`) may become one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from runtime.model.demo.data import ASSISTANT, END, IMAGE, SYSTEM, USER

BEGIN, PAD = "<|begin|>", "<|pad|>"
SPECIAL_TOKENS = [PAD, BEGIN, END, SYSTEM, USER, ASSISTANT, IMAGE]
VOCABULARY_SIZE = 2048
CONTEXT_LENGTH = 2048

# One digit | a lower-case word with the space before it | a capitalised word, which is the same token in prose as in
# quotes, so that names are copied token for token | punctuation, with the white space before a bracket or a quote, or
# with the space before a capital or a digit | white space.
PIECES = (
    r"\d| ?\p{Ll}+|\p{L}+"
    r"| ?[^\p{L}\d\s]+(?:\s+[\"{}\[\]]+)*(?: (?=[\p{Lu}\d]))?"
    r"|\s+(?!\S)|\s+"
)
SPECIAL = re.compile(r"<\|\w+\|>")

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('the roles of this model are system, user and assistant, not ' + message['role']) }}"
    "{% endif %}"
    "{% if message['content'] is string %}{% set content = message['content'] %}{% else %}{% set content %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|image|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}{{ raise_exception('this model takes text and images, not ' + part['type']) }}{% endif %}"
    "{% endfor %}"
    "{% endset %}{% endif %}"
    "{{ '<|' + message['role'] + '|>' + (content | trim) + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def learn_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of `VOCABULARY_SIZE` tokens; the special ones come first, in the order of `SPECIAL_TOKENS`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((part for text in texts for part in SPECIAL.split(text)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A",
        pair=f"{BEGIN} $A {BEGIN} $B",
        special_tokens=[(BEGIN, tokenizer.token_to_id(BEGIN))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT, IMAGE],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT_LENGTH,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
