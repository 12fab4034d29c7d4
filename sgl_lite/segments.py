"""Who wrote what of a state's text: the record that `show` and `to_html` draw.

In: text as it is written, with its place. Out: segments in the order of the text. Knows no nodes and no backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from runtime.api import GenerateRequest

Origin = Literal["program", "forced", "template", "model"]
"""forced: the program's text inside a constrain block, which had to conform. template: the chat template's."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a state's text from character `start` on.

    Of the model's: `name` of the variable, `meta` info, and the `request` that it answers (None for a select).
    """

    text: str
    origin: Origin
    start: int
    name: str | None = None
    meta: Mapping[str, Any] | None = None
    request: GenerateRequest | None = None


class Record:
    """The segments of one state. forks: its children, each group with the number of segments before it."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self.forks: list[tuple[int, tuple[Any, ...]]] = []

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    def __len__(self) -> int:
        return len(self._segments)

    def add(self, segment: Segment) -> None:
        """What was added at the end of the text."""
        if segment.text or segment.meta is not None:
            self._segments.append(segment)

    def template_wrote(self, before: str, after: str, start: int) -> None:
        """The chat template made `after` of `before`, whose characters from `start` on are an open message's content.

        If it rewrote what stands before, the record keeps what was there, followed by what it became.
        """
        content = before[start:].strip()
        at = after.find(content, start) if after.startswith(before[:start]) else -1
        if at < 0:
            same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(before))
            self.add(Segment(after[same:], "template", same))
            return
        head, tail = Segment(after[start:at], "template", start), Segment(after[at + len(content) :], "template", 0)
        place = next((i for i, one in enumerate(self._segments) if one.start >= start), len(self._segments))
        moved = [replace(one, start=one.start + len(head.text)) for one in self._segments[place:]]
        self._segments[place:] = [head, *moved] if head.text else moved
        self.add(replace(tail, start=at + len(content)))
