"""Where a text ends: stop strings and stop patterns. In: pieces of text. Out: text that may be shown, and the stop.

    0 ............ shown ............ held
    |  may be seen  |  may belong to a stop  |

The text ends at the first character at which some stop is complete; of several, the one that began first. So the end
does not depend on how the text was cut into tokens. Nothing inside or after a stop is ever shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import regex

from runtime.errors import RequestError

PATTERN_SECONDS = 0.25
"""How long one search of a stop pattern may take."""
LOOK_BACK = 64
"""Characters before the held text that a stop pattern may look at."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop in the text: [start, end) of the held part, and what was asked for."""

    start: int
    end: int
    asked: str


def compile_patterns(patterns: Sequence[str]) -> tuple[regex.Pattern[str], ...]:
    """RequestError for what is no pattern, or would end every text at once."""
    compiled = []
    for pattern in patterns:
        try:
            compiled.append(regex.compile(pattern))
        except regex.error as error:
            raise RequestError(f"stop_regex={pattern!r} is no regular expression: {error}") from error
        if compiled[-1].match("") is not None:
            raise RequestError(f"stop_regex={pattern!r} matches the empty text, so it would end every text at once")
    return tuple(compiled)


class StoppingText:
    """The text of one completion.

    include:  whether the stop itself is part of the text.
    may_end:  asked with the text that would result; a stop that it refuses is ordinary text. None allows all.
    """

    def __init__(
        self,
        strings: Sequence[str] = (),
        patterns: Sequence[regex.Pattern[str]] = (),
        include: bool = False,
        may_end: Callable[[str], bool] | None = None,
    ) -> None:
        self._strings = tuple(strings)
        self._patterns = tuple(patterns)
        self._include = include
        self._may_end = may_end
        self._pieces: list[str] = []
        self._held = ""
        self._before = ""
        """With patterns: the end of what is shown, for what a pattern looks back at."""

    @property
    def shown(self) -> str:
        """All text that may be seen so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def feed(self, piece: str, active: bool = True) -> str | None:
        """Add text. Returns the stop that ended it, if one did: the text is then final. active: whether to look."""
        if not active or not (self._strings or self._patterns):
            self._show(self._held + piece)
            self._held = ""
            return None
        fresh_from = len(self._held)
        self._held += piece
        for stop in self._stops(fresh_from):
            end = stop.end if self._include else stop.start
            if self._may_end is None or self._may_end(self.shown + self._held[:end]):
                self._show(self._held[:end])
                self._held = ""
                return stop.asked
        keep = self._first_possible()
        self._show(self._held[:keep])
        self._held = self._held[keep:]
        return None

    def finish(self) -> None:
        """No more text comes: what was held back is shown."""
        self._show(self._held)
        self._held = ""

    def _show(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            if self._patterns:
                self._before = (self._before + text)[-LOOK_BACK:]

    def _stops(self, fresh_from: int) -> Iterator[Stop]:
        """All stops complete in the held text and not before `fresh_from`: first end first, then first start."""
        found = {}
        for asked in self._strings:
            start = self._held.find(asked, max(0, fresh_from - len(asked) + 1))
            while start >= 0:
                found[start + len(asked), start] = asked
                start = self._held.find(asked, start + 1)
        text, base = self._before + self._held, len(self._before)
        for pattern in self._patterns:
            for end in range(base + fresh_from + 1, len(text) + 1):
                match = _search(pattern, text, base, end)
                if match is not None and match.end() == end:
                    found.setdefault((end - base, match.start() - base), pattern.pattern)
        for (end, start), asked in sorted(found.items()):
            yield Stop(start, end, asked)

    def _first_possible(self) -> int:
        """Where in the held text the first stop may begin that is not complete yet."""
        first = len(self._held)
        for asked in self._strings:
            for size in range(min(len(asked) - 1, len(self._held)), len(self._held) - first, -1):
                if self._held.endswith(asked[:size]):
                    first = len(self._held) - size
                    break
        text, base = self._before + self._held, len(self._before)
        for pattern in self._patterns:
            match = _search(pattern, text, base, len(text), partial=True)
            if match is not None:
                first = min(first, match.start() - base)
        return first


def _search(
    pattern: regex.Pattern[str], text: str, start: int, end: int, partial: bool = False
) -> regex.Match[str] | None:
    try:
        return pattern.search(text, start, end, partial=partial, timeout=PATTERN_SECONDS)
    except TimeoutError as error:
        raise RequestError(
            f"stop_regex={pattern.pattern!r} took more than {PATTERN_SECONDS} s at one token; write it without nested "
            "repetition"
        ) from error
