"""The model's own tokenizer: byte-level BPE, learned from the documents it will read.

Comes in: documents. Goes out: a Hugging Face fast tokenizer with its chat template. Any text survives the round trip,
since every byte has a token. Digits are single tokens; runs of punctuation with the white space between them (`": "`,
`", "`, `{\\n  "`) may become one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from runtime.model.demo.data import ASSISTANT, END, SYSTEM, USER
from runtime.model.demo.document import Document

BEGIN, PAD = "<|begin|>", "<|pad|>"
SPECIAL_TOKENS = [PAD, BEGIN, END, SYSTEM, USER, ASSISTANT]
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
    "{{ '<|' + message['role'] + '|>' + (message['content'] | trim) + eos_token }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def learn_tokenizer(documents: Iterable[Document]) -> PreTrainedTokenizerFast:
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
    texts = (f"{document.prompt}\n{document.answer}" for document in documents)
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
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT_LENGTH,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerFast, documents: list[Document]) -> list[tuple[list[int], int]]:
    """Token ids of each whole document, and how many of them are its prompt.

    Prompt and answer are encoded apart, as they are when a model answers: no token spans the two.
    """
    prompts = tokenizer([document.prompt for document in documents])["input_ids"]
    answers = tokenizer([document.answer for document in documents], add_special_tokens=False)["input_ids"]
    end = tokenizer.eos_token_id
    return [(prompt + answer + [end], len(prompt)) for prompt, answer in zip(prompts, answers, strict=True)]
