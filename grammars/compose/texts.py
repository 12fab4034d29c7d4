"""One of a set of texts, as an automaton: `Literal` and `Choice` of plain texts, however many.

The texts are sorted once. A state is a range of them and how many bytes of them are written; ranges are cut, and their
rows made, when they are first reached.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grammars.automaton import DEAD, LOCAL_MASK, UNFILLED

_ROWS_AT_ONCE = 64


class TextsAutomaton:
    """The language is `texts`, not empty. All locals, one context."""

    def __init__(self, texts: Iterable[str | bytes]) -> None:
        written = sorted({text.encode() if isinstance(text, str) else text for text in texts})
        self._texts = written
        self._joined = np.frombuffer(b"".join(written) or b"\0", dtype=np.uint8)
        self._starts = np.zeros(len(written) + 1, dtype=np.int64)
        np.cumsum([len(text) for text in written], out=self._starts[1:])
        self._ranges = np.zeros((16, 3), dtype=np.int64)
        """[capacity, 3] of each local: texts lo..hi, bytes written"""
        self._ranges[0] = (0, len(written), 0)
        self._count = 1
        self.start = 0
        self.table = np.full((16, 256), UNFILLED, dtype=np.int32)
        self.exits = np.zeros(16, dtype=np.int32)

    def fill(self, local: int) -> None:
        """Fill the row, and some rows that it leads to."""
        while True:
            done, self._count = _fill(
                self._joined, self._starts, self._ranges, self.table, local, self._count, _ROWS_AT_ONCE
            )
            if done:
                return
            self._grow()

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        """Never asked: no row crosses."""
        return np.full(256, DEAD, dtype=np.int64)

    remembers = False

    def remember(self, before: int, text: bytes, after: int) -> int:
        return after

    def is_accepting(self, state: int) -> bool:
        return self.min_bytes(state) == 0

    def min_bytes(self, state: int) -> int:
        lo, hi, written = self._ranges[state & LOCAL_MASK]
        # Sorted: the text that ends here, if there is one, comes first.
        if self._starts[lo + 1] - self._starts[lo] == written:
            return 0
        return int(np.diff(self._starts[lo : hi + 1]).min()) - int(written)

    def witness(self, state: int) -> bytes:
        lo, hi, written = (int(value) for value in self._ranges[state & LOCAL_MASK])
        shortest = lo + int(np.diff(self._starts[lo : hi + 1]).argmin())
        return self._texts[shortest][written:]

    def may_end(self, local: int) -> bool:
        """Whether a state with that local can be accepting."""
        return self.is_accepting(local)

    def slice_key(self, local: int) -> Hashable | None:
        return None

    def canonical_byte(self, local: int) -> int:
        return DEAD

    def _grow(self) -> None:
        self.table = np.concatenate([self.table, np.full_like(self.table, UNFILLED)])
        self.exits = np.zeros(len(self.table), dtype=np.int32)
        self._ranges = np.concatenate([self._ranges, np.zeros_like(self._ranges)])


@njit(
    "Tuple((boolean, int64))"
    "(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[:, ::1], int32[:, ::1], int64, int64, int64)",
    cache=True,
)
def _fill(joined, starts, ranges, table, local, count, rows):  # type: ignore[no-untyped-def]
    """Fill `table[local]` and up to `rows` of the rows made on the way.

    Gives (done, the number of locals). Not done: a table is too small for one more row; grow them and call again.
    """
    asked = local
    following = count
    for _ in range(rows):
        if table[local, 0] == UNFILLED:
            lo, hi, written = ranges[local]
            if count + min(256, hi - lo) > len(table):
                return local != asked, count
            table[local, :] = DEAD
            if starts[lo + 1] - starts[lo] == written:
                lo += 1
            while lo < hi:
                byte = joined[starts[lo] + written]
                # Where the next byte begins, by bisection.
                low, high = lo + 1, hi
                while low < high:
                    middle = (low + high) >> 1
                    if joined[starts[middle] + written] == byte:
                        low = middle + 1
                    else:
                        high = middle
                ranges[count, 0], ranges[count, 1], ranges[count, 2] = lo, low, written + 1
                table[local, byte] = count
                count += 1
                lo = low
        if following == count:
            break
        local = following
        following += 1
    return True, count
