"""Mask rows by state: few words packed, equal long rows stored once, memory bounded, the rows used last kept.

Automata and tokens are unknown here. `rows` may be read by any thread; everything else under the lock of `TokenMasks`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grammars.masks import kernels as kernel

Row = NDArray[np.int32]

Packed = NDArray[np.int32]
"""A row, [width], or its few words that are not 0, [2, n]"""

_ENTRY_BYTES = 200
"""What an entry of `rows` takes besides the row"""
_FEW_WORDS = 256
"""Rows with more words than this are not packed"""


def write_row(packed: Packed, row: Row) -> None:
    """Make `row` the one that is kept."""
    if packed.ndim == 2:
        kernel.unpack(packed, row)
    else:
        row[:] = packed


class RowMemo:
    """Two generations: when the young one has filled half the memory, it becomes the old one, and the old one goes.

    width: int32 words of a row. memory_bytes: what all rows together may take.
    """

    def __init__(self, width: int, memory_bytes: int) -> None:
        self.scratch: Row = np.zeros(width, dtype=np.int32)
        """where the caller makes a row before `keep`"""
        self.rows: dict[int, Packed] = {}
        """the young generation; a miss is no proof: ask `find`"""
        self._old: dict[int, Packed] = {}
        self._distinct: dict[int, Row] = {}
        self._bytes = 0
        """of the distinct and the packed rows that are young"""
        self._limit = max(memory_bytes // 2, 64 * self.scratch.nbytes)

    @property
    def nbytes(self) -> int:
        """Bytes that the young generation takes."""
        return self._bytes + len(self.rows) * _ENTRY_BYTES

    def find(self, state: int) -> Packed | None:
        """The row of `state`, if it is there; it is young again."""
        row = self.rows.get(state)
        if row is None and (row := self._old.get(state)) is not None:
            self._put(state, row)
        return row

    def keep(self, state: int) -> Packed:
        """Keep a copy of `scratch` as the row of `state`."""
        packed = kernel.pack(self.scratch, min(_FEW_WORDS, len(self.scratch) // 8))
        return self._put(state, packed if len(packed) else self.scratch)

    def share(self, state: int, row: Packed) -> Packed:
        """Keep the row of another state as that of `state` too."""
        self.rows[state] = row
        return row

    def _put(self, state: int, row: Packed) -> Packed:
        if self._bytes + len(self.rows) * _ENTRY_BYTES >= self._limit:
            self._old, self.rows, self._distinct, self._bytes = self.rows, {}, {}, 0
        if row.ndim == 2:
            self._bytes += row.nbytes
            self.rows[state] = row
            return row
        digest = kernel.row_hash(row)
        same = self._distinct.get(digest)
        if same is None or not kernel.equal_rows(same, row):
            same = self._distinct[digest] = row.copy() if row is self.scratch else row
            self._bytes += row.nbytes
        self.rows[state] = same
        return same
