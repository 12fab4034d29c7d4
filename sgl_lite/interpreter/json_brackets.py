"""Which brackets and strings a piece of JSON text leaves open. Knows no grammar; it does not validate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_MIRROR = {"{": "}", "[": "]", '"': '"'}


@dataclass(slots=True)
class JsonBrackets:
    """Fed with text, keeps the open `{`, `[` and `"`, outermost first."""

    open: list[str] = field(default_factory=list)
    escaped: bool = False

    def feed(self, text: str) -> int | None:
        """Read `text`. The number of characters up to where everything was closed, if it was: reading ends there.

        A bracket that closes another one than the innermost is no JSON: reading ends there too, with None.
        """
        for index, char in enumerate(text):
            if self.open and self.open[-1] == '"':
                if self.escaped:
                    self.escaped = False
                elif char == "\\":
                    self.escaped = True
                elif char == '"':
                    self.open.pop()
            elif char in _MIRROR:
                self.open.append(char)
            elif char in "}]":
                if not self.open or _MIRROR[self.open.pop()] != char:
                    return None
            else:
                continue
            if not self.open:
                return index + 1
        return None

    def closers(self) -> str:
        """What closes all that is open: `{[` gives `]}`."""
        return "".join(_MIRROR[bracket] for bracket in reversed(self.open))


def closing_length(open_brackets: Sequence[str], text: str) -> int | None:
    """How many characters of `text` it takes to close all brackets; None if it does not.

    What was written since they were opened may have closed the innermost of them: as many as possible count as open.
    """
    for depth in range(len(open_brackets), 0, -1):
        length = JsonBrackets(list(open_brackets[:depth])).feed(text)
        if length is not None:
            return length
    return None


def opening_of(text: str) -> JsonBrackets | None:
    """The open brackets of a text that by itself opens a JSON value; None if it does not begin one, or ends it too."""
    if not text or text[0] not in _MIRROR:
        return None
    brackets = JsonBrackets()
    if brackets.feed(text) is not None or brackets.escaped:
        return None
    return brackets
