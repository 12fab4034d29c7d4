"""Vocabularies from tokenizers: what a token writes is what the tokenizer's own decoder writes."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from grammars import Vocabulary, VocabularyError

TEXTS = ['{"name": "Ada", "città": "Zürich 🙂"}\n\n', "  two  spaces\tand tabs", "日本語 text", "a<b>c <0x0A> Ġ"]


def byte_level() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["</s>", "<pad>"])
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens(["<tool call>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>")


def sentence_piece() -> PreTrainedTokenizerFast:
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["▁", "{", '"', "n", "a", "m", "e", "na", "me", "name", "▁a", "▁▁", "▁▁▁▁", "é"]
    merges = [("n", "a"), ("m", "e"), ("na", "me"), ("▁", "a"), ("▁", "▁"), ("▁▁", "▁▁")]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", bos_token="<s>", unk_token="<unk>")


@pytest.mark.parametrize("make", [byte_level, sentence_piece])
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_write_the_text_that_was_encoded(make: object, text: str) -> None:
    tokenizer = make()  # type: ignore[operator]
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    ids = tokenizer.encode(text, add_special_tokens=False)
    written = b"".join(vocabulary.tokens[token] for token in ids)
    assert written.decode() == (" " + text if make is sentence_piece else text)
    assert vocabulary.missing_bytes == frozenset()
    assert list(vocabulary.encode(text)) == ids  # type: ignore[misc]


def test_special_added_and_padding_tokens() -> None:
    tokenizer = byte_level()
    vocabulary = Vocabulary.from_tokenizer(tokenizer, size=512)
    assert vocabulary.size == 512 and vocabulary.mask_width == 16
    assert vocabulary.eos_ids == (tokenizer.eos_token_id,)
    assert {tokenizer.eos_token_id, tokenizer.pad_token_id} <= vocabulary.special_ids
    assert vocabulary.tokens[tokenizer.convert_tokens_to_ids("<tool call>")] == b"<tool call>"
    assert vocabulary.tokens[511] == b""
    extra = Vocabulary.from_tokenizer(tokenizer, eos_ids=[tokenizer.pad_token_id])
    assert extra.eos_ids == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    with pytest.raises(VocabularyError, match="size=10 is smaller"):
        Vocabulary.from_tokenizer(tokenizer, size=10)


def test_byte_tokens_of_sentence_piece() -> None:
    vocabulary = Vocabulary.from_tokenizer(sentence_piece())
    assert vocabulary.tokens[3 + 0x0A] == b"\n" and vocabulary.tokens[3 + 0xFF] == b"\xff"
    assert b"    " in vocabulary.tokens and b" a" in vocabulary.tokens and "é".encode() in vocabulary.tokens
    assert {0, 1, 2} <= vocabulary.special_ids


def test_what_is_refused() -> None:
    for arguments, message in (
        (([], [0]), "at least one token"),
        ((["a"], [0]), "must be bytes"),
        (([b"a"], [1]), r"not in 0\.\.0"),
        (([b"a"], [0], [-1]), r"not in 0\.\.0"),
    ):
        with pytest.raises(VocabularyError, match=message):
            Vocabulary(*arguments)
    words = Tokenizer(models.WordPiece({"a": 0, "##b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    words.decoder = decoders.WordPiece()
    with pytest.raises(VocabularyError, match="WordPiece"):
        Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=words, eos_token="a"))
    with pytest.raises(VocabularyError, match="names no end token"):
        Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, []))))


def test_fingerprint() -> None:
    one = Vocabulary([b"a", b"b", b""], [2])
    assert one == Vocabulary([b"a", b"b", b""], [2], encode=lambda text: [])
    for other in (([b"ab", b"", b""], [2]), ([b"a", b"b", b""], [1]), ([b"a", b"b", b""], [2], [0])):
        assert one != Vocabulary(*other)
