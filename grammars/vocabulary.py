"""Token ids and the bytes that they write.

In: a list of byte strings, or any Hugging Face tokenizer (duck-typed: nothing of `transformers` is imported). Out:
`Vocabulary`, immutable, with the token trie that every grammar of that vocabulary shares. Constraints are unknown here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import SLICE_BYTES
from grammars.errors import GrammarError
from grammars.masks import kernels as kernel
from grammars.masks.slices import SliceStore
from grammars.masks.token_trie import TokenTrie

_NAME_AFTER_COMMA = re.compile(rb',[ \t\r\n]*(?=("(?:[^"\\]|\\.)*"))', re.DOTALL)

Encode = Callable[[str], Sequence[int]]


class VocabularyError(GrammarError):
    """The tokens, or the tokenizer that they come from, cannot be used."""


class Vocabulary:
    """`tokens[id]` are the bytes that token `id` writes.

    eos_ids:     tokens that end the text; allowed exactly where the text is complete.
    special_ids: tokens that write no text (begin, padding, roles, images); never allowed.
    encode:      the tokenizer's own way to cut a text into ids, without special tokens; None: longest match.

    Empty tokens are never allowed. Tokens may repeat, and may hold any bytes: half a character, several, none that is
    valid UTF-8. Two vocabularies are equal if their `fingerprint` is.
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        eos_ids: Iterable[int],
        special_ids: Iterable[int] = (),
        *,
        encode: Encode | None = None,
    ) -> None:
        self.tokens: tuple[bytes, ...] = tuple(tokens)
        self.eos_ids: tuple[int, ...] = tuple(dict.fromkeys(int(i) for i in eos_ids))
        self.special_ids: frozenset[int] = frozenset(int(i) for i in special_ids) | frozenset(self.eos_ids)
        self.encode: Encode | None = encode
        if not self.tokens:
            raise VocabularyError("a vocabulary needs at least one token")
        for index, token in enumerate(self.tokens):
            if not isinstance(token, bytes):
                raise VocabularyError(f"token {index} is {token!r}; every token must be bytes")
        for index in self.special_ids:
            if not 0 <= index < len(self.tokens):
                raise VocabularyError(f"special or end token {index} is not in 0..{len(self.tokens) - 1}")

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, *, size: int | None = None, eos_ids: Iterable[int] = ()) -> Vocabulary:
        """The vocabulary of a Hugging Face tokenizer: byte-level BPE, or SentencePiece with byte fallback.

        size:    rows of the model's logits, where they are padded above `len(tokenizer)`.
        eos_ids: end tokens besides `tokenizer.eos_token_id` (of the model's generation config).
        """
        ids = dict(tokenizer.get_vocab())
        added = _added_tokens(tokenizer)
        count = max([len(tokenizer), *(i + 1 for i in ids.values()), *(i + 1 for i in added)])
        if size is not None and size < count:
            raise VocabularyError(f"size={size} is smaller than the tokenizer's {count} tokens")
        tokens = [b""] * (size or count)
        special = set(getattr(tokenizer, "all_special_ids", None) or ())
        to_bytes = _token_decoder(tokenizer, ids)
        for text, index in ids.items():
            if index not in added:
                tokens[index] = to_bytes(text)
        for index, (content, is_special) in added.items():
            tokens[index] = content.encode()
            if is_special:
                special.add(index)
        ends = list(eos_ids)
        if getattr(tokenizer, "eos_token_id", None) is not None:
            ends.insert(0, tokenizer.eos_token_id)
        if not ends:
            raise VocabularyError("the tokenizer names no end token; give eos_ids=[...]")
        return cls(tokens, ends, special, encode=_encoder(tokenizer))

    def __len__(self) -> int:
        return len(self.tokens)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} tokens, eos_ids={list(self.eos_ids)}, {self.fingerprint[:12]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of tokens, end tokens and special tokens: the cache key. (Not of `encode`.)"""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(repr((self.eos_ids, sorted(self.special_ids))).encode())
        digest.update(np.array([len(token) for token in self.tokens], dtype=np.int64).tobytes())
        digest.update(b"".join(self.tokens))
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """How many tokens, those without text included: the width of the logits."""
        return len(self.tokens)

    @property
    def mask_width(self) -> int:
        """int32 words of a token mask."""
        return (len(self.tokens) + 31) // 32

    @cached_property
    def text_tokens(self) -> tuple[bytes, ...]:
        """`tokens`, with those that may never be written as text (special ones) empty."""
        return tuple(b"" if i in self.special_ids else token for i, token in enumerate(self.tokens))

    @cached_property
    def trie(self) -> TokenTrie:
        """All tokens that write text."""
        return TokenTrie.build(self.text_tokens, range(len(self.tokens)))

    @cached_property
    def slice_tries(self) -> tuple[TokenTrie, TokenTrie]:
        """(the tokens that slices know, those that are longer than SLICE_BYTES)"""
        short = [token if len(token) <= SLICE_BYTES else b"" for token in self.text_tokens]
        long = [token if len(token) > SLICE_BYTES else b"" for token in self.text_tokens]
        return TokenTrie.build(short, range(self.size)), TokenTrie.build(long, range(self.size))

    @cached_property
    def flat_texts(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(all bytes, starts): the text of token i is `bytes[starts[i]:starts[i + 1]]`, empty for special tokens."""
        starts = np.zeros(len(self.tokens) + 1, dtype=np.int64)
        np.cumsum([len(token) for token in self.text_tokens], out=starts[1:])
        return np.frombuffer(b"".join(self.text_tokens) or b"\0", dtype=np.uint8), starts

    @cached_property
    def child_index(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The children of the trie's nodes as a hash table, for `kernels.child_of`."""
        capacity = 1 << (2 * len(self.trie) + 1).bit_length()
        keys = np.full(capacity, kernel.EMPTY_KEY, dtype=np.int64)
        children = np.zeros(capacity, dtype=np.int32)
        kernel.index_children(self.trie.address, keys, children)
        return keys, children

    def cut(self, text: bytes) -> list[int]:
        """`text` in tokens: the tokenizer's if it is known, else the longest first, up to where none will do."""
        if self.encode is not None:
            tokens = list(self.encode(text.decode(errors="replace")))
            if b"".join([self.text_tokens[token] for token in tokens]) == text:
                return tokens
        return self.longest(text)

    def longest(self, text: bytes) -> list[int]:
        """`text` in tokens, the longest first; up to where none will do."""
        keys, children = self.child_index
        first, tokens = self.trie.first, self.trie.tokens
        found: list[int] = []
        offset = 0
        while offset < len(text):
            node, longest = -1, None
            for end in range(offset, len(text)):
                node = kernel.child_of(keys, children, node, text[end])
                if node < 0:
                    break
                if first[node] != first[node + 1]:
                    longest = (int(tokens[first[node]]), end + 1)
            if longest is None:
                break
            token, offset = longest
            found.append(token)
        return found

    @cached_property
    def slices(self) -> SliceStore:
        """What the tokens do inside lexemes, shared by all grammars of this vocabulary."""
        return SliceStore()

    @cached_property
    def whole_names(self) -> frozenset[str]:
        """The property names that single tokens write from the comma before them to their closing quotes."""
        found = set()
        for token in self.text_tokens:
            if b"," in token and token.count(b'"') > 1:
                for name in _NAME_AFTER_COMMA.findall(token):
                    with suppress(ValueError):  # no JSON string: no mask allows it
                        found.add(json.loads(name))
        return frozenset(found)

    @cached_property
    def missing_bytes(self) -> frozenset[int]:
        """Bytes that no token writes alone. A text that holds one may have no tokens at all."""
        return frozenset(range(256)) - {token[0] for token in self.text_tokens if len(token) == 1}

    @cached_property
    def eos_words(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """(index of each mask word that holds an end token, its bits)"""
        words: dict[int, int] = {}
        for index in self.eos_ids:
            words[index >> 5] = words.get(index >> 5, 0) | 1 << (index & 31)
        bits = np.array(list(words.values()), dtype=np.uint32).view(np.int32)
        return np.array(list(words), dtype=np.int64), bits


def _encoder(tokenizer: Any) -> Encode:
    """How the tokenizer cuts a text, by its compiled part alone where it has one: what is around that takes ten times
    as long for the short texts that are forced."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return lambda text: tokenizer.encode(text, add_special_tokens=False)

    def encode(text: str) -> list[int]:
        if backend.truncation is not None:
            backend.no_truncation()
        if backend.padding is not None:
            backend.no_padding()
        ids: list[int] = backend.encode(text, add_special_tokens=False).ids
        return ids

    return encode


def _added_tokens(tokenizer: Any) -> dict[int, tuple[str, bool]]:
    """id -> (text, special) of the tokens added to the tokenizer's own vocabulary."""
    decoder: Mapping[int, Any] = getattr(tokenizer, "added_tokens_decoder", None) or {}
    return {int(i): (str(token), bool(getattr(token, "special", False))) for i, token in decoder.items()}


def _token_decoder(tokenizer: Any, ids: Mapping[str, int]) -> Callable[[str], bytes]:
    """How this tokenizer writes bytes as token text: by its pipeline if it has one, else by the look of its tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    kinds: set[str] = set()
    if backend is not None:
        pipeline = json.loads(backend.to_str())
        for stage in ("decoder", "pre_tokenizer"):
            kinds |= _kinds(pipeline.get(stage))
        if (pipeline.get("model") or {}).get("byte_fallback"):
            kinds.add("ByteFallback")
    if "ByteLevel" in kinds:
        return _byte_level
    if kinds & {"ByteFallback", "Metaspace"} or "<0x0A>" in ids:
        return _sentence_piece
    if "WordPiece" in kinds:
        raise VocabularyError(
            "WordPiece tokenizers lose the spaces of a text; constraints need one that keeps every byte"
        )
    if any("Ġ" in text for text in ids):
        return _byte_level
    if any("▁" in text for text in ids):
        return _sentence_piece
    return str.encode


def _kinds(stage: Any) -> set[str]:
    """The types of a pipeline stage of a tokenizer and of all that is nested in it."""
    if isinstance(stage, dict):
        own = {stage["type"]} if isinstance(stage.get("type"), str) else set()
        return own.union(*(_kinds(value) for value in stage.values()))
    if isinstance(stage, list):
        return set().union(*(_kinds(value) for value in stage))
    return set()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 stands for itself, the other bytes for U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + k): byte for k, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()
_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def _byte_level(text: str) -> bytes:
    try:
        return bytes([_BYTE_OF[character] for character in text])
    except KeyError:
        return text.encode()  # a token from outside the alphabet stands for itself


def _sentence_piece(text: str) -> bytes:
    if byte := _BYTE_TOKEN.fullmatch(text):
        return bytes([int(byte[1], 16)])
    return text.replace("▁", " ").encode()
