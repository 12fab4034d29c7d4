"""One of a list of words as the value of a string.

In: words. Out: `WordValues`, as `escapes` reads it, of one class. The words are a sorted list; what has been read is
the slice of those that begin like it, so a million words cost no automaton.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from grammars.automaton import DEAD
from grammars.json_schema.escapes import NO_CLASS, Row, Spread

_AHEAD_BYTES, _AHEAD_STATES = 16, 200
"""How far, and how many, `spread` goes on from one state"""


class Part(NamedTuple):
    """The words `low` to `high` (not included) in order: those that begin with the `depth` bytes read."""

    low: int
    high: int
    depth: int


class WordValues:
    """A state is a part of the words. There is a word, and none holds a lone surrogate."""

    is_plain = False
    start = 0

    def __init__(self, words: Sequence[str]) -> None:
        self._words = sorted(word.encode() for word in words)
        self._lengths = np.array([len(word) for word in self._words], np.int64)
        self._parts = [Part(0, len(self._words), 0)]
        self._ids = {self._parts[0]: 0}
        if len(self._words) == 1:
            self._ids.clear()
            self._parts.clear()
            self._intern(Part(0, 1, 0))
        self._few: dict[int, tuple[int, dict[int, int]]] = {}
        self._spread: set[int] = set()
        """those that have come up in `spread`"""

    def few(self, state: int) -> tuple[int, dict[int, int]]:
        found = self._few.get(state)
        if found is None:
            _, high, depth = self._parts[state]
            first = self._parts[state].low + self._ends(state)
            nexts = {}
            while first < high:
                byte = self._words[first][depth]
                end = bisect_right(self._words, byte, first, high, key=itemgetter(depth))
                nexts[byte] = self._intern(Part(first, end, depth + 1))
                first = end
            found = self._few[state] = (DEAD, nexts)
        return found

    def spread(self, state: int) -> Spread:
        """The words that are left, a few bytes of each: a token takes several."""
        found, queue, furthest = Spread([], []), deque((state,)), self._parts[state].depth + _AHEAD_BYTES
        left = _AHEAD_STATES
        while queue and left > 0:
            here = queue.popleft()
            low, high, depth = self._parts[here]
            self._spread.add(here)
            if high - low == 1:
                text = self._words[low][depth:]
                found.chains.append((here, text, DEAD))
                self._spread.update(range(here, here + len(text) + 1))
                left -= len(text)
                continue
            nexts = self.few(here)[1]
            found.few.append((here, DEAD, nexts))
            queue.extend([q for q in nexts.values() if q not in self._spread and self._parts[q].depth < furthest])
            left -= 1
        return found

    def together(self, state: int) -> None:
        """None: each row is work of its own."""

    def row(self, state: int) -> Row:
        _, nexts = self.few(state)
        row = np.full(256, DEAD, np.int32)
        row[list(nexts)] = list(nexts.values())
        return row

    def class_of(self, state: int) -> int:
        return 0 if self._ends(state) else NO_CLASS

    def bound(self, state: int) -> int:
        low, high, depth = self._parts[state]
        return int(self._lengths[low:high].min()) - depth

    def slice_key(self, state: int) -> None:
        """None: nothing here is wide."""

    def _ends(self, state: int) -> bool:
        """Whether the first word of the part has been read in full."""
        low, _, depth = self._parts[state]
        return len(self._words[low]) == depth

    def _intern(self, part: Part) -> int:
        state = self._ids.get(part)
        if state is None:
            state = len(self._parts)
            low, high, depth = part
            last = len(self._words[low]) if high - low == 1 else depth  # the states of one word follow each other
            line = [Part(low, high, at) for at in range(depth, last + 1)]
            self._ids.update(zip(line, range(state, state + len(line)), strict=True))
            self._parts += line
        return state
