"""Thoughts apart from answers, as the text comes. In: pieces of an answer. Out: its thoughts, and the pieces that
another reader makes of the rest.

White space around thoughts, and before the answer that follows them, belongs to neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sgl_lite.reasoning import ReasoningFormat
from sgl_lite.server.tools import Piece, Reader


@dataclass(frozen=True, slots=True)
class ThoughtPiece:
    text: str


class ReasoningReader:
    """begun: whether the prompt ends with the mark that begins thoughts. inner: reads what follows them."""

    def __init__(self, marks: ReasoningFormat, begun: bool, inner: Reader) -> None:
        self._marks, self._inner = marks, inner
        self._rest = ""
        self._state = "thinking" if begun else "start"
        self._thought = False

    def feed(self, text: str, end: bool) -> Iterator[Piece | ThoughtPiece]:
        """What the new text adds. end: there is no more."""
        self._rest += text
        if self._state == "start":
            self._start(end)
        if self._state == "thinking":
            yield from self._thinking(end)
        if self._state == "answer" and self._thought:
            self._rest = self._rest.lstrip()
            self._thought = not self._rest
        if self._state == "answer":
            rest, self._rest = self._rest, ""
            yield from self._inner.feed(rest, end)

    def _start(self, end: bool) -> None:
        """Thoughts begin with their mark, or there are none."""
        begin, text = self._marks.begin, self._rest.lstrip()
        if text.startswith(begin):
            self._rest, self._state = text[len(begin) :], "thinking"
        elif end or not begin.startswith(text):
            self._state = "answer"

    def _thinking(self, end: bool) -> Iterator[ThoughtPiece]:
        thought, mark, answer = self._rest.partition(self._marks.end)
        if mark:
            self._rest, self._state = answer, "answer"
            yield from self._give(thought.rstrip())
            self._thought = True
            return
        held = 0 if end else self._held(thought)
        whole = thought[: len(thought) - held].rstrip()
        self._rest = thought[len(whole) :]
        yield from self._give(whole)

    def _give(self, text: str) -> Iterator[ThoughtPiece]:
        text = text if self._thought else text.lstrip()
        if text:
            self._thought = True
            yield ThoughtPiece(text)

    def _held(self, text: str) -> int:
        """Characters at the end that may begin the mark."""
        mark = self._marks.end
        return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0)
