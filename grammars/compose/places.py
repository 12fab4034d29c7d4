"""The graphs of `Sequence`, `Choice`, `Repeat` and `Tagged`: which part may follow which.

In: the automata of the parts. Out: `grammars.compose.composed.Places`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from grammars.automaton import ByteAutomaton
from grammars.compose.triggers import TriggerAutomaton
from grammars.errors import ConstraintSyntaxError
from grammars.masks.transitions import Transitions


class SequencePlaces:
    """Place k is the k-th part."""

    def __init__(self, parts: Sequence[ByteAutomaton]) -> None:
        self._parts = [Transitions(part) for part in parts]
        self._endings = [b""]
        """[k] a shortest text of the last k parts"""
        for part in reversed(self._parts):
            self._endings.append(part.witness(part.automaton.start) + self._endings[-1])

    def first(self) -> Iterable[int]:
        return (0,)

    def part(self, place: int) -> Transitions:
        return self._parts[place]

    def after(self, place: int, state: int) -> Iterable[int]:
        return (place + 1,) if place + 1 < len(self._parts) else ()

    def is_last(self, place: int, state: int) -> bool:
        return place + 1 == len(self._parts)

    def ending(self, place: int, state: int) -> bytes:
        return self._parts[place].witness(state) + self._endings[len(self._parts) - 1 - place]


class ChoicePlaces:
    """Place k is the k-th option."""

    def __init__(self, options: Sequence[ByteAutomaton]) -> None:
        self._parts = [Transitions(option) for option in options]

    def first(self) -> Iterable[int]:
        return range(len(self._parts))

    def part(self, place: int) -> Transitions:
        return self._parts[place]

    def after(self, place: int, state: int) -> Iterable[int]:
        return ()

    def is_last(self, place: int, state: int) -> bool:
        return True

    def ending(self, place: int, state: int) -> bytes:
        return self._parts[place].witness(state)


class RepeatPlaces:
    """Place 2k is the k-th text of the part, place 2k + 1 the separator behind it.

    Without a bound, all counts from `least` on are one place. The empty repetition is up to the caller.
    """

    def __init__(self, part: ByteAutomaton, separator: ByteAutomaton, least: int, most: int | None) -> None:
        self._part, self._separator = Transitions(part), Transitions(separator)
        self._least, self._most = max(1, least), most
        once = self._part.witness(part.start)
        self._once_more = self._separator.witness(separator.start) + once
        self._once = once

    def first(self) -> Iterable[int]:
        return (0,)

    def part(self, place: int) -> Transitions:
        return self._separator if place & 1 else self._part

    def after(self, place: int, state: int) -> Iterable[int]:
        count = place >> 1  # texts before this one
        if not place & 1:
            return () if count + 1 == self._most else (place + 1,)
        return (2 * (count + 1) if self._most is not None else 2 * min(count + 1, self._least),)

    def is_last(self, place: int, state: int) -> bool:
        return not place & 1 and (place >> 1) + 1 >= self._least

    def ending(self, place: int, state: int) -> bytes:
        left = max(0, self._least - (place >> 1) - 1)
        if not place & 1:
            return self._part.witness(state) + self._once_more * left
        return self._separator.witness(state) + self._once + self._once_more * max(0, left - 1)


class TaggedPlaces:
    """Place 0 is text before the first tag where there must be one, place 1 any other text, place 2 + k tag k.

    A tag's automaton is its content and its end; its beginning is what the text ends with.
    """

    def __init__(
        self, begins: Sequence[str], tags: Sequence[ByteAutomaton], at_least_one: bool, stop_after_first: bool
    ) -> None:
        if any(not begin for begin in begins):
            raise ConstraintSyntaxError("a Tag needs a `begin` that is not empty")
        self._tags = [Transitions(tag) for tag in tags]
        self._rest = [tag.witness(tag.automaton.start) for tag in self._tags]
        self._at_least_one, self._stop = at_least_one, stop_after_first
        texts = [begin.encode() for begin in begins]
        rests = [len(rest) for rest in self._rest]
        self._triggers = (TriggerAutomaton(texts, rests, True), TriggerAutomaton(texts, rests, False))
        self._texts = [Transitions(trigger) for trigger in self._triggers]

    def first(self) -> Iterable[int]:
        return (0,) if self._at_least_one else (1,)

    def part(self, place: int) -> Transitions:
        return self._texts[place] if place < 2 else self._tags[place - 2]

    def after(self, place: int, state: int) -> Iterable[int]:
        if place < 2:
            return [2 + tag for tag in self._triggers[place].triggered(state)]
        return () if self._stop else (1,)

    def is_last(self, place: int, state: int) -> bool:
        return place >= 2 or (place == 1 and not self._triggers[1].triggered(state))

    def ending(self, place: int, state: int) -> bytes:
        if place >= 2:
            return self._tags[place - 2].witness(state)
        text = self._triggers[place].witness(state)
        end = self._texts[place].advance_text(state, text)
        triggered = self._triggers[place].triggered(end)
        return text + min((self._rest[tag] for tag in triggered), key=len, default=b"")
