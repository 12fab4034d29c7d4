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

    Of the model's: `name` of the variable, `meta` info, and the `request` that it answers (None for a select), without
    its prompt: that is the text before, and long programs would keep it many times.
    """

    text: str
    origin: Origin
    start: int
    name: str | None = None
    meta: Mapping[str, Any] | None = None
    request: GenerateRequest | None = None


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """Here the state forked. children: interpreters."""

    children: tuple[Any, ...]


class Record:
    """What happened to the text of one state, in the order of the text. Iterating gives the segments alone."""

    def __init__(self) -> None:
        self.items: list[Segment | ForkPoint] = []

    def __iter__(self) -> Iterator[Segment]:
        return (one for one in self.items if isinstance(one, Segment))

    def add(self, one: Segment | ForkPoint) -> None:
        """What was added at the end of the text."""
        if isinstance(one, ForkPoint) or one.text or one.meta is not None:
            self.items.append(one)

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
        self._insert(Segment(after[start:at], "template", start))
        self.add(Segment(after[at + len(content) :], "template", at + len(content)))

    def _insert(self, segment: Segment) -> None:
        """Put a segment before those that stand at its place or behind it."""
        behind = next(
            (i for i, one in enumerate(self.items) if isinstance(one, Segment) and one.start >= segment.start),
            len(self.items),
        )
        moved = [
            replace(one, start=one.start + len(segment.text)) if isinstance(one, Segment) else one
            for one in self.items[behind:]
        ]
        self.items[behind:] = [segment, *moved] if segment.text else moved
