"""The shipped tokenizer, against Python's own UTF-8 and the chat format; and the learning of a new one."""

from __future__ import annotations

from itertools import islice

import jinja2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from runtime.model.demo import PATH
from runtime.model.demo.data import IMAGE, documents
from runtime.model.demo.tokenizer import SPECIAL_TOKENS, learn_tokenizer

TOKENIZER: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(PATH)


def small_tokenizer() -> PreTrainedTokenizerFast:
    return learn_tokenizer(f"{document.prompt}\n{document.answer}" for document in islice(documents("small"), 500))


def plain_ids(text: str) -> list[int]:
    return TOKENIZER(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=300, deadline=None)
@example("assistant")
@given(st.text().filter(lambda text: not any(token in text for token in SPECIAL_TOKENS)))
def test_every_text_survives_the_round_trip(text: str) -> None:
    assert TOKENIZER.decode(plain_ids(text), skip_special_tokens=False) == text


def test_no_two_tokens_have_one_number() -> None:
    assert sorted(TOKENIZER.get_vocab().values()) == list(range(len(TOKENIZER)))
    assert TOKENIZER.convert_ids_to_tokens(TOKENIZER.get_vocab()[IMAGE]) == IMAGE


def test_every_byte_has_a_token() -> None:
    vocabulary = TOKENIZER.get_vocab()
    assert len(pre_tokenizers.ByteLevel.alphabet()) == 256
    assert all(char in vocabulary for char in pre_tokenizers.ByteLevel.alphabet())
    assert TOKENIZER.unk_token is None


def test_the_special_tokens_come_first() -> None:
    assert TOKENIZER.convert_tokens_to_ids(SPECIAL_TOKENS[:6]) == list(range(6))
    assert (TOKENIZER.pad_token, TOKENIZER.bos_token, TOKENIZER.eos_token) == tuple(SPECIAL_TOKENS[:3])


def test_digits_are_single_tokens() -> None:
    pieces = [TOKENIZER.decode([token]) for token in TOKENIZER.get_vocab().values()]
    assert not [piece for piece in pieces if len(piece) > 1 and any(char in "0123456789" for char in piece)]


def test_json_punctuation_is_joined() -> None:
    pieces = [TOKENIZER.decode([token]) for token in plain_ids('{"name": "Ada", "age": 36}')]
    assert pieces[0] == '{"'
    assert '": "' in pieces
    assert '", "' in pieces


def test_names_have_the_same_tokens_in_prose_and_in_quotes() -> None:
    name = plain_ids("Zorblax Quandry")
    for text in ("Meet Zorblax Quandry, a baker", '{"name": "Zorblax Quandry"}'):
        ids = plain_ids(text)
        assert any(ids[start : start + len(name)] == name for start in range(len(ids)))


def test_a_prompt_begins_with_one_begin_token() -> None:
    ids = TOKENIZER("Hello")["input_ids"]
    assert ids[0] == TOKENIZER.bos_token_id
    assert TOKENIZER.bos_token_id not in ids[1:]


def test_the_chat_template() -> None:
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": " Hi\n"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Bye"},
    ]
    text = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|begin|><|system|>Be short.<|end|><|user|>Hi<|end|><|assistant|>Hello!<|end|><|user|>Bye<|end|><|assistant|>"
    )
    finished = TOKENIZER.apply_chat_template(messages[:3], tokenize=False)
    assert finished.endswith("Hello!<|end|>")


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(jinja2.exceptions.TemplateError, match="tool"):
        TOKENIZER.apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


def test_learning_is_deterministic() -> None:
    first, again = (small_tokenizer().get_vocab() for _ in range(2))
    assert first == again


def test_a_new_tokenizer_has_the_special_tokens_first_and_one_for_a_picture() -> None:
    tokenizer = small_tokenizer()
    assert tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS) == list(range(len(SPECIAL_TOKENS)))
    assert tokenizer(IMAGE * 3, add_special_tokens=False)["input_ids"] == [tokenizer.get_vocab()[IMAGE]] * 3


def test_a_new_chat_template_places_pictures() -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "What is it?\n"}]
    tokenizer = small_tokenizer()
    text = tokenizer.apply_chat_template([{"role": "user", "content": parts}], tokenize=False)
    assert text == "<|begin|><|user|><|image|>What is it?<|end|>"
    with pytest.raises(jinja2.exceptions.TemplateError, match="sound"):
        tokenizer.apply_chat_template([{"role": "user", "content": [{"type": "sound"}]}], tokenize=False)
