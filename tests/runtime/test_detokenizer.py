"""Incremental text against the tokenizers' own decode of all ids at once."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import grammars
from runtime.detokenizer import ByteDetokenizer, TokenTexts
from tests.runtime.fake_engine import CORPUS, byte_level_tokenizer


def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """Llama 2's kind: metaspace, byte fallback, a leading space that decode takes away."""
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Metaspace()
    learned.train_from_iterator(CORPUS[:1], trainers.BpeTrainer(vocab_size=100, show_progress=False))
    learnt = json.loads(learned.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *learnt["vocab"]]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    merges = [tuple(merge) for merge in learnt["merges"]]
    trained = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=trained, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def pieces_of(ids: list[int], vocabulary: grammars.Vocabulary, skip: bool) -> list[str]:
    texts = TokenTexts(None, lambda: vocabulary)
    detokenizer = texts.detokenizer((), skip)
    pieces = [detokenizer.append(token_id) for token_id in ids] + [detokenizer.finish()]
    assert "".join(pieces) == texts.decode(ids, skip)
    return pieces


BYTE_LEVEL = grammars.Vocabulary.from_tokenizer(byte_level_tokenizer())


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=40), skip=st.booleans())
def test_byte_level_texts(text: str, skip: bool) -> None:
    tokenizer = byte_level_tokenizer()
    ids = tokenizer.encode(text)
    pieces = pieces_of(ids, BYTE_LEVEL, skip)
    assert "".join(pieces) == tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
    assert not any("\ufffd" in piece for piece in pieces) or "\ufffd" in text


@settings(max_examples=300, deadline=None)
@given(ids=st.lists(st.integers(0, len(BYTE_LEVEL) - 1), max_size=30), skip=st.booleans())
def test_byte_level_random_ids(ids: list[int], skip: bool) -> None:
    expected = byte_level_tokenizer().decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)
    assert "".join(pieces_of(ids, BYTE_LEVEL, skip)) == expected


def test_sentencepiece_texts_after_a_prompt() -> None:
    """The text after a prompt is what decode of all has beyond decode of the prompt: with its leading space."""
    tokenizer = sentencepiece_tokenizer()
    vocabulary = grammars.Vocabulary.from_tokenizer(tokenizer)
    rng = random.Random(0)
    for _ in range(200):
        words = rng.choices(["person", "Ada", "é", "你好", "🙂", "age", "x"], k=rng.randrange(1, 9))
        prompt, ids = tokenizer.encode("Generate"), tokenizer.encode(" ".join(words))
        text = "".join(pieces_of(ids, vocabulary, True))
        whole = tokenizer.decode(prompt + ids, clean_up_tokenization_spaces=False)
        assert text == whole[len(tokenizer.decode(prompt, clean_up_tokenization_spaces=False)) :]


@pytest.mark.parametrize("text", ["🙂", "你", "é", "👩‍👩‍👧"])
def test_a_character_is_shown_when_it_is_whole(text: str) -> None:
    detokenizer = ByteDetokenizer([bytes([b]) for b in range(256)])
    shown = ""
    for count, byte in enumerate(text.encode(), 1):
        shown += detokenizer.append(byte)
        whole = text.encode()[:count].decode("utf-8", "ignore")
        assert shown == whole


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    words = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog"]
    pieces = ["[UNK]", "[CLS]", "[SEP]", *words, *(f"##{end}" for end in ("s", "ing", "ed")), ".", ","]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[SEP]")


def test_tokens_that_are_no_bytes() -> None:
    tokenizer = wordpiece_tokenizer()
    texts = TokenTexts(tokenizer, lambda: grammars.Vocabulary.from_tokenizer(tokenizer))
    rng = random.Random(0)
    for _ in range(50):
        ids = [rng.randrange(3, len(tokenizer)) for _ in range(20)]
        prompt, output = ids[:8], ids[8:]
        detokenizer = texts.detokenizer(prompt, True)
        text = "".join(map(detokenizer.append, output)) + detokenizer.finish()
        assert text == tokenizer.decode(ids)[len(tokenizer.decode(prompt)) :]
        assert texts.decode(ids) == tokenizer.decode(ids)


def test_windows_hold_back_unfinished_characters() -> None:
    tokenizer = byte_level_tokenizer()

    def refuse() -> grammars.Vocabulary:
        raise grammars.VocabularyError("no bytes")

    texts = TokenTexts(tokenizer, refuse)
    for text in ("你好 🙂 Ünïcödé", "plain words", "👩‍👩‍👧"):
        ids = tokenizer.encode(text)
        detokenizer = texts.detokenizer((), True)
        pieces = [detokenizer.append(token_id) for token_id in ids] + [detokenizer.finish()]
        assert "".join(pieces) == text and not any("\ufffd" in piece for piece in pieces)
    broken = [tokenizer.convert_tokens_to_ids("ð")] * 30
    detokenizer = texts.detokenizer((), True)
    pieces = [detokenizer.append(token_id) for token_id in broken]
    assert "".join(pieces) + detokenizer.finish() == "\ufffd" * 30 and any(pieces)
