"""Tokens of a text that grows: the tokenizer's own of the whole text, at the cost of what is new.

In: a text, and the tokens of a text before it. Out: exactly `tokenizer.encode(text)`.

A text is cut between two words, `letter | space letter`. No token spans such a place, so both sides have the same
tokens alone as together; this is checked of every tokenizer before it is relied on (`Retokenizer.is_local`). Others are
asked for the whole text each time. Knows no program and no model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import Any

from sgl_lite.backends.base import TokenizedText

_CUT = re.compile(r"(?<=[A-Za-z]) (?=[A-Za-z])")
MARGIN = 32
"""Characters at the end of a text that are tokenised again, so that what is added cannot change what is before them."""
_SEARCHED = 4096
_SPACE_SIGNS = " ▁Ġ"
_LOOKS_BACK = re.compile(r"\(\?<[=!]|\\[bBAGKZz]|(?<!\[)(?<!\\)[\^$]")
"""What makes a pattern see more than what comes after the place where it is tried."""


class Retokenizer:
    """encode: (text, special tokens at its beginning) -> token ids, of the whole text."""

    def __init__(self, tokenizer: Any, encode: Callable[[str, bool], Sequence[int]]) -> None:
        self._encode = encode
        self.is_local = _is_local(tokenizer, encode)

    def tokenized(self, text: str, special_tokens: bool, before: TokenizedText | None = None) -> TokenizedText:
        """Tokens of `text`. before: those of any text; the more the two begin alike, the less is computed."""
        kept: tuple[int, ...] = ()
        known = 0
        alike = before is not None and before.special_tokens == special_tokens
        if before is not None and alike and text.startswith(before.text[: before.known]):
            kept, known = before.ids[: before.known_ids], before.known
        cut = self._cut(text, known)
        if cut is None:
            ids = self._tail(text, known, special_tokens)
            return TokenizedText(text, kept + ids, special_tokens, known, len(kept))
        head = kept + self._tail(text[:cut], known, special_tokens)
        return TokenizedText(text, head + self._tail(text, cut, special_tokens), special_tokens, cut, len(head))

    def _tail(self, text: str, start: int, special_tokens: bool) -> tuple[int, ...]:
        return tuple(self._encode(text[start:], special_tokens and start == 0))

    def _cut(self, text: str, known: int) -> int | None:
        """The last place behind `known` where `text` may be cut, whatever is added to it."""
        end = len(text) - MARGIN
        if not self.is_local or end <= known:
            return None
        places = list(_CUT.finditer(text, max(known + 1, end - _SEARCHED), end))
        return places[-1].start() if places else None


def _is_local(tokenizer: Any, encode: Callable[[str, bool], Sequence[int]]) -> bool:
    """Whether texts may be cut between words."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        return False
    parts = json.loads(fast.to_str())
    if _LOOKS_BACK.search("\n".join(_patterns(parts["pre_tokenizer"]) + _patterns(parts["normalizer"]))):
        return False
    if any(map(_takes_spaces, parts["added_tokens"])) or any(map(_spans_words, tokenizer.get_vocab())):
        return False
    return all(_holds(encode, left, right) for left, right in product(_LEFT, _RIGHT))


def _spans_words(token: str) -> bool:
    return any(a.isascii() and a.isalpha() and b in _SPACE_SIGNS for a, b in pairwise(token))


def _takes_spaces(added: dict[str, Any]) -> bool:
    """Whether a word that is an added token takes the space next to it along."""
    content = added["content"]
    return (added["rstrip"] and content[-1:].isalpha()) or (added["lstrip"] and content[:1].isalpha())


def _patterns(part: Any) -> list[str]:
    """The regular expressions in a part of a tokenizer."""
    if isinstance(part, dict):
        own = [part["Regex"]] if isinstance(part.get("Regex"), str) else []
        return own + [pattern for value in part.values() for pattern in _patterns(value)]
    return [pattern for value in part for pattern in _patterns(value)] if isinstance(part, list) else []


def _holds(encode: Callable[[str, bool], Sequence[int]], left: str, right: str) -> bool:
    return all(
        [*encode(left, special), *encode(right, False)] == list(encode(left + right, special))
        for special in (False, True)
    )


_LEFT = ("a", "The name", "don't", "x.Y", "café 12\n\tab", '{"key": [1, 2]} ok', "  two  spaces A", "ÜBER'LL")
_RIGHT = (" b", " Words go on", " a\n b", " can't 3.5 x", " Z{}\n\n  end", " naïve 漢字 word", " I'm")
"""Both sides of cuts, as texts of all kinds have them."""
