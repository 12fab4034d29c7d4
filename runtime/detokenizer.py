"""From token ids to text, one token at a time. In: ids. Out: whole characters, as soon as they are whole.

The text is the bytes of the tokens, one after the other, read as UTF-8: what the tokenizer's own decode gives after a
prompt (so a leading space is kept), and the same text that a constraint was checked on. A tokenizer whose tokens are
no bytes (WordPiece) is asked to decode windows of a few tokens instead. Knows no stops and no requests.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Sequence, Set
from functools import cached_property
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

import grammars

TokenIds: TypeAlias = Sequence[int] | NDArray[np.int64]

_UTF8 = codecs.getincrementaldecoder("utf-8")
CONTEXT = 6
"""Tokens of the prompt that a window begins with."""
PATIENCE = 8
"""Tokens after which what looks like an unfinished character is taken as it is: no character has so many bytes."""


class Detokenizer(Protocol):
    def append(self, token_id: int) -> str:
        """The characters that this token completes; what is not whole yet is held back."""
        ...

    def finish(self) -> str:
        """What was held back, as replacement characters."""
        ...


class ByteDetokenizer:
    """tokens: the bytes of every token id. hidden: ids that write no text (special tokens, if they are skipped)."""

    __slots__ = ("_decoder", "_hidden", "_tokens")

    def __init__(self, tokens: Sequence[bytes], hidden: Set[int] = frozenset()) -> None:
        self._tokens = tokens
        self._hidden = hidden
        self._decoder = _UTF8(errors="replace")

    def append(self, token_id: int) -> str:
        if token_id in self._hidden or token_id >= len(self._tokens):
            return ""
        return self._decoder.decode(self._tokens[token_id])

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


class WindowDetokenizer:
    """Shows what decoding a window with the new token gives beyond decoding it without."""

    def __init__(self, decode: Callable[[Sequence[int]], str], prompt_ids: TokenIds) -> None:
        self._decode = decode
        self._window = [int(token_id) for token_id in prompt_ids[-CONTEXT:]]
        self._num_shown = len(self._window)
        """Tokens of the window whose text is shown."""

    def append(self, token_id: int) -> str:
        self._window.append(token_id)
        text = self._unshown()
        if text.endswith("\ufffd") and len(self._window) - self._num_shown < PATIENCE:
            return ""
        self._window = self._window[-CONTEXT:]
        self._num_shown = len(self._window)
        return text

    def finish(self) -> str:
        return self._unshown()

    def _unshown(self) -> str:
        return self._decode(self._window)[len(self._decode(self._window[: self._num_shown])) :]


class TokenTexts:
    """Makes detokenizers for one tokenizer."""

    def __init__(self, tokenizer: Any, make_vocabulary: Callable[[], grammars.Vocabulary]) -> None:
        self._tokenizer = tokenizer
        self._make_vocabulary = make_vocabulary

    @cached_property
    def _vocabulary(self) -> grammars.Vocabulary | None:
        try:
            return self._make_vocabulary()
        except grammars.VocabularyError:
            return None  # constraints are refused with this error; text needs no bytes

    def detokenizer(self, prompt_ids: TokenIds, skip_special: bool) -> Detokenizer:
        """For the tokens after a prompt."""
        if self._vocabulary is not None:
            return ByteDetokenizer(self._vocabulary.tokens, self._hidden(skip_special))
        return WindowDetokenizer(lambda ids: self._decode(ids, skip_special), prompt_ids)

    def decode(self, token_ids: Sequence[int], skip_special: bool = True) -> str:
        """The whole text at once, without a prompt before it."""
        if self._vocabulary is None:
            return self._decode(token_ids, skip_special)
        tokens, hidden = self._vocabulary.tokens, self._hidden(skip_special)
        known = len(tokens)
        return b"".join(tokens[i] for i in token_ids if i not in hidden and i < known).decode("utf-8", "replace")

    def _hidden(self, skip_special: bool) -> Set[int]:
        assert self._vocabulary is not None
        return self._vocabulary.special_ids if skip_special else frozenset()

    def _decode(self, token_ids: Sequence[int], skip_special: bool) -> str:
        text = self._tokenizer.decode(
            list(token_ids), skip_special_tokens=skip_special, clean_up_tokenization_spaces=False
        )
        return str(text)
