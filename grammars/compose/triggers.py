"""Free text up to the first of some trigger texts, as an automaton.

Aho and Corasick's automaton (*Efficient string matching*, 1975) for the triggers, run beside a check of UTF-8. What
follows a trigger is unknown here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD, LOCAL_MASK

_IDLE = 0
"""between two characters"""
_CONTINUED = {  # phase of UTF-8 -> (bytes that may come, the phase after them)
    1: [(0x80, 0xC0, 0)],
    2: [(0x80, 0xC0, 1)],
    3: [(0xA0, 0xC0, 1)],
    4: [(0x80, 0xA0, 1)],
    5: [(0x90, 0xC0, 2)],
    6: [(0x80, 0xC0, 2)],
    7: [(0x80, 0x90, 2)],
    _IDLE: [
        (0x00, 0x80, 0),
        (0xC2, 0xE0, 1),
        (0xE0, 0xE1, 3),
        (0xE1, 0xED, 2),
        (0xED, 0xEE, 4),
        (0xEE, 0xF0, 2),
        (0xF0, 0xF1, 5),
        (0xF1, 0xF4, 6),
        (0xF4, 0xF5, 7),
    ],
}
_MIDDLES = len(_CONTINUED) - 1
"""phases in the middle of a character"""


class TriggerAutomaton:
    """UTF-8 text in which no trigger occurs, or one does at its very end; after that nothing follows.

    must_trigger: accepting only behind a trigger; else also between any two characters before one.
    rests: how many bytes will have to follow each trigger; the witness counts them.

    A local is a node of the trie of triggers: the longest text at the end of what is written that begins a trigger. The
    last locals stand for the root in the middle of a character, one a phase.
    """

    remembers = False

    def __init__(self, triggers: Sequence[bytes], rests: Sequence[int], must_trigger: bool) -> None:
        texts = sorted({trigger[:end] for trigger in triggers for end in range(len(trigger) + 1)}, key=len)
        self._found = [[k for k, trigger in enumerate(triggers) if text.endswith(trigger)] for text in texts]
        self._found += [[] for _ in range(_MIDDLES)]
        self.start = 0
        self.table = _table(texts, self._found)
        self.exits = np.zeros(len(self.table), dtype=np.int32)
        self._accepting = [
            bool(found) or (not must_trigger and _phase(texts, local) == _IDLE)
            for local, found in enumerate(self._found)
        ]
        self._distance = self._distances(rests)

    def triggered(self, state: int) -> list[int]:
        """The triggers that the text ends with."""
        return self._found[state & LOCAL_MASK]

    def fill(self, local: int) -> None:
        """Nothing: all rows are filled."""

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        """Never asked: no row crosses."""
        return np.full(256, DEAD, dtype=np.int64)

    def remember(self, before: int, text: bytes, after: int) -> int:
        return after

    def may_end(self, local: int) -> bool:
        return self._accepting[local]

    def is_accepting(self, state: int) -> bool:
        return self._accepting[state & LOCAL_MASK]

    def min_bytes(self, state: int) -> int:
        return len(self.witness(state))

    def witness(self, state: int) -> bytes:
        """A completion that is shortest together with what must follow it."""
        local, text = state & LOCAL_MASK, bytearray()
        while not self._accepting[local]:
            following = self.table[local]
            live = np.flatnonzero(following != DEAD)
            byte = int(live[self._distance[following[live]].argmin()])
            text.append(byte)
            local = int(following[byte])
        return bytes(text)

    def slice_key(self, local: int) -> Hashable | None:
        return None

    def canonical_byte(self, local: int) -> int:
        return DEAD

    def _distances(self, rests: Sequence[int]) -> NDArray[np.int64]:
        """[locals] bytes to a text that is accepted, and from there to the end of all."""
        far = np.int64(1 << 40)
        ends = [min((rests[k] for k in found), default=0) for found in self._found]
        distance = np.where(self._accepting, np.array(ends, dtype=np.int64), far)
        while True:
            following = np.where(self.table == DEAD, far, distance[self.table])
            nearer = np.where(self._accepting, distance, np.minimum(distance, following.min(axis=1) + 1))
            if np.array_equal(nearer, distance):
                return distance
            distance = nearer


def _phase(texts: Sequence[bytes], local: int) -> int:
    """The phase of UTF-8 in which a local stands."""
    if local >= len(texts):
        return local - len(texts) + 1
    phase = _IDLE
    for byte in texts[local]:
        phase = next(after for low, high, after in _CONTINUED[phase] if low <= byte < high)
    return phase


def _table(texts: Sequence[bytes], found: Sequence[Sequence[int]]) -> NDArray[np.int32]:
    """The rows of all locals. texts: by node, shorter ones first, the root before all."""
    nodes = {text: node for node, text in enumerate(texts)}
    following = np.zeros((len(texts) + _MIDDLES, 256), dtype=np.int32)  # without regard to UTF-8
    fallback = [0] * len(texts)
    for node, text in enumerate(texts):
        if node:
            following[node] = following[fallback[node]]
        for byte in {other[len(text)] for other in texts if len(other) == len(text) + 1 and other.startswith(text)}:
            child = nodes[text + bytes((byte,))]
            fallback[child] = int(following[node, byte]) if node else 0
            following[node, byte] = child
    table = np.full_like(following, DEAD)
    for local in range(len(table)):
        if found[local]:
            continue
        for low, high, after in _CONTINUED[_phase(texts, local)]:
            span = following[local, low:high]
            root = len(texts) + after - 1 if after else 0
            table[local, low:high] = np.where(span == 0, root, span)
    return table
