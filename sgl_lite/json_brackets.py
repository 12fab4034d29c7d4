"""Which brackets and strings a piece of JSON text leaves open. Knows no grammar; it does not validate."""

from __future__ import annotations

from dataclasses import dataclass, field

_MIRROR = {"{": "}", "[": "]", '"': '"'}


@dataclass(slots=True)
class JsonBrackets:
    """Fed with text, keeps the open `{`, `[` and `"`, outermost first."""

    open: list[str] = field(default_factory=list)
    escaped: bool = False

    def feed(self, text: str) -> int | None:
        """Read `text`. The number of characters up to where everything was closed, if it was: reading ends there."""
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
            elif char in "}]" and self.open:
                self.open.pop()
            else:
                continue
            if not self.open:
                return index + 1
        return None

    def closers(self) -> str:
        """What closes all that is open: `{[` gives `]}`."""
        return "".join(_MIRROR[bracket] for bracket in reversed(self.open))


def opening_of(text: str) -> JsonBrackets | None:
    """The open brackets of a text that by itself opens a JSON value; None if it does not begin one, or ends it too."""
    if not text or text[0] not in _MIRROR:
        return None
    brackets = JsonBrackets()
    if brackets.feed(text) is not None or brackets.escaped:
        return None
    return brackets
