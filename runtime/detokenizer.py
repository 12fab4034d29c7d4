"""From token ids to text, one token at a time. In: ids. Out: whole characters, as soon as they are whole.

The text is the bytes of the tokens, one after the other, read as UTF-8: what the tokenizer's own decode gives after a
prompt (so a leading space is kept), and the same text that a constraint was checked on. Knows no stops and no
requests.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence, Set

_UTF8 = codecs.getincrementaldecoder("utf-8")


class Detokenizer:
    """tokens: the bytes of every token id. hidden: ids that write no text (special tokens, if they are skipped)."""

    __slots__ = ("_decoder", "_hidden", "_tokens")

    def __init__(self, tokens: Sequence[bytes], hidden: Set[int] = frozenset()) -> None:
        self._tokens = tokens
        self._hidden = hidden
        self._decoder = _UTF8(errors="replace")

    def append(self, token_id: int) -> str:
        """The characters that this token completes; bytes of an unfinished one are held back."""
        if token_id in self._hidden or token_id >= len(self._tokens):
            return ""
        return self._decoder.decode(self._tokens[token_id])

    def finish(self) -> str:
        """What was held back, as replacement characters."""
        return self._decoder.decode(b"", final=True)


def decode(tokens: Sequence[bytes], token_ids: Sequence[int], hidden: Set[int] = frozenset()) -> str:
    """The whole text at once; equal to the pieces of a `Detokenizer`."""
    known = len(tokens)
    return b"".join(tokens[i] for i in token_ids if i not in hidden and i < known).decode("utf-8", "replace")
