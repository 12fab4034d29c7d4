"""Mask rows by state: equal rows stored once, memory bounded, the rows used last kept.

Automata and tokens are unknown here. `rows` may be read by any thread; everything else under the lock of `TokenMasks`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grammars.masks import kernels as kernel

Row = NDArray[np.int32]

_ENTRY_BYTES = 200
"""What an entry of `rows` takes besides the row"""


class RowMemo:
    """Two generations: when the young one has filled half the memory, it becomes the old one, and the old one goes.

    width: int32 words of a row. memory_bytes: what all rows together may take.
    """

    def __init__(self, width: int, memory_bytes: int) -> None:
        self.scratch: Row = np.zeros(width, dtype=np.int32)
        """where the caller makes a row before `keep`"""
        self.rows: dict[int, Row] = {}
        """the young generation; a miss is no proof: ask `find`"""
        self._old: dict[int, Row] = {}
        self._distinct: dict[int, Row] = {}
        self._limit = max(memory_bytes // 2, 64 * self.scratch.nbytes)

    @property
    def nbytes(self) -> int:
        """Bytes that the young generation takes."""
        return len(self._distinct) * self.scratch.nbytes + len(self.rows) * _ENTRY_BYTES

    def find(self, state: int) -> Row | None:
        """The row of `state`, if it is there; it is young again."""
        row = self.rows.get(state)
        if row is None and (row := self._old.get(state)) is not None:
            self._put(state, row)
        return row

    def keep(self, state: int) -> Row:
        """Keep a copy of `scratch` as the row of `state`."""
        return self._put(state, self.scratch)

    def _put(self, state: int, row: Row) -> Row:
        if self.nbytes >= self._limit:
            self._old, self.rows, self._distinct = self.rows, {}, {}
        digest = kernel.row_hash(row)
        same = self._distinct.get(digest)
        if same is None or not kernel.equal_rows(same, row):
            same = self._distinct[digest] = row.copy() if row is self.scratch else row
        self.rows[state] = same
        return same
