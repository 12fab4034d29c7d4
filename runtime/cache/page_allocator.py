"""Which pages of the KV pool are free. In: how many are wanted. Out: page ids. Knows no tensors, tokens or owners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.errors import RuntimeFault

PageIds = NDArray[np.int32]


class PageAllocator:
    """A stack of free page ids in [0, num_pages). A page is free, or handed out exactly once."""

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages
        self._stack: PageIds = np.arange(num_pages - 1, -1, -1, dtype=np.int32)
        self._num_free = num_pages
        self._is_free = np.ones(num_pages, dtype=bool)

    @property
    def num_free(self) -> int:
        return self._num_free

    def allocate(self, count: int) -> PageIds:
        """int32 [count]. The caller has checked `num_free`."""
        if count > self._num_free:
            raise RuntimeFault(f"{count} pages wanted, {self._num_free} free")
        first = self._num_free - count
        pages = self._stack[first : self._num_free][::-1].copy()
        self._num_free = first
        self._is_free[pages] = False
        return pages

    def free(self, pages: PageIds) -> None:
        """Take back pages that `allocate` handed out, each once."""
        if len(pages) == 0:
            return
        if self._is_free[pages].any():
            raise RuntimeFault(f"pages freed twice: {pages[self._is_free[pages]].tolist()}")
        self._stack[self._num_free : self._num_free + len(pages)] = pages
        self._num_free += len(pages)
        self._is_free[pages] = True

    def check_invariants(self) -> None:
        """The stack holds exactly the pages marked free, each once."""
        stacked = np.sort(self._stack[: self._num_free])
        assert np.array_equal(stacked, np.flatnonzero(self._is_free)), "free stack and free marks disagree"
