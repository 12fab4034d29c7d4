"""The texts of a regular language that have so many characters, as an automaton over UTF-8 bytes.

In: a language, the least and the greatest count of characters. Out: `CountedValues`, as `escapes` reads it, of one
class. A state is a state of the language beside a count, so a row of the language is worked out once for all counts.
The count includes the character that has begun.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD, SLICE_BYTES
from grammars.json_schema.escapes import NO_CLASS, Row, Spread, Together
from grammars.json_schema.language_values import language_slice
from grammars.regex import Language

_TOGETHER = 8
"""Counts of characters that are numbered, and whose rows are made, together: a token takes a few."""


class CountedValues:
    """See the module docstring. `most` None: no bound; then characters are counted up to `least`."""

    is_plain = False
    start = 0

    def __init__(self, language: Language, least: int, most: int | None) -> None:
        self._language = language
        self._least, self._most = least, most
        self._last = least if most is None else most
        self._furthest = language.furthest
        self._blocks: list[tuple[int, int]] = []
        """state // _TOGETHER -> state of the language, count // _TOGETHER"""
        self._numbers: dict[tuple[int, int], NDArray[np.int32]] = {}
        """the states of each block, DEAD for those without a completion"""
        self._nexts: dict[int, tuple[list[int], NDArray[np.intp]]] = {}
        self._block(language.start, 0)

    def _parts(self, state: int) -> tuple[int, int]:
        """The state of the language, and the count."""
        block, place = divmod(state, _TOGETHER)
        q, block = self._blocks[block]
        return q, block * _TOGETHER + place

    def row(self, state: int) -> Row:
        states, rows, _ = self.together(state)
        return rows[int(np.searchsorted(states, state))] if state in states else np.full(256, DEAD, np.int32)

    def few(self, state: int) -> None:
        """None: these rows are wide."""

    def spread(self, state: int) -> Spread:
        """Nothing: these rows are wide."""
        return Spread([], [])

    def together(self, state: int) -> Together:
        """Those of the counts around."""
        q, block = self._blocks[state // _TOGETHER]
        states = self._block(q, block)
        alive = np.flatnonzero(states != DEAD)
        counts = alive + block * _TOGETHER
        inside = self._language.pending(q) > 0
        after = counts if inside else np.minimum(counts + 1, self._last)
        targets, places = self._next(q)
        nexts = np.full((len(counts), len(targets)), DEAD, np.int32)
        for k, target in enumerate(targets[1:], 1):
            both = np.concatenate([self._block(target, block), self._block(target, block + 1)])
            nexts[:, k] = both[after - block * _TOGETHER]
        if not inside and self._most is not None:
            nexts[counts == self._most] = DEAD
        ends = (counts >= self._least) & self._language.is_accepting(q)
        return Together(states[alive], nexts[:, places], ends)

    def class_of(self, state: int) -> int:
        q, count = self._parts(state)
        return 0 if count >= self._least and self._language.is_accepting(q) else NO_CLASS

    def slice_key(self, state: int) -> Hashable | None:
        """A greatest count does not matter to a slice if all that it may lead to can be completed well before."""
        q, count = self._parts(state)
        behaviour = language_slice(self._language, q)
        if behaviour is None:
            return None
        left = None if self._most is None else self._most - count
        if left is not None and self._furthest is not None:
            left = min(left, SLICE_BYTES + self._furthest + 1)
        return "counted", behaviour, max(0, self._least - count), left

    def bound(self, state: int) -> int:
        q, count = self._parts(state)
        return max(self._language.min_bytes(q), max(0, self._least - count) + self._language.pending(q))

    def _next(self, q: int) -> tuple[list[int], NDArray[np.intp]]:
        """(DEAD and the states of the language after `q`, for each byte the place of its own among them)"""
        found = self._nexts.get(q)
        if found is None:
            targets, places = np.unique(np.append(self._language.row(q), np.int32(DEAD)), return_inverse=True)
            found = self._nexts[q] = targets.tolist(), places[:-1]
        return found

    def _block(self, q: int, block: int) -> NDArray[np.int32]:
        """The states of `q` beside the counts of a block."""
        found = self._numbers.get((q, block))
        if found is None:
            counts = np.arange(block * _TOGETHER, (block + 1) * _TOGETHER, dtype=np.int32)
            first = len(self._blocks) * _TOGETHER - int(counts[0])
            found = self._numbers[q, block] = np.where(self._alive(q, counts), counts + np.int32(first), np.int32(DEAD))
            self._blocks.append((q, block))
        return found

    def _alive(self, q: int, counts: NDArray[np.int32]) -> NDArray[np.bool_]:
        """For each count whether `q` can be completed beside it."""
        alive = counts <= self._last
        shortest = self._language.shortest(q)
        if shortest is not None and counts[0] + shortest >= self._least:
            return alive if self._most is None else alive & (counts + shortest <= self._most)
        for place in np.flatnonzero(alive).tolist():
            count = int(counts[place])
            most = None if self._most is None else self._most - count
            alive[place] = self._language.goes_on(q, max(0, self._least - count), most)
        return alive
