"""What the radix tree knows the rows of images by: a negative number for each row of each image, given out once.

In: an image's full key. Out: the number of its first row; the others follow downwards. Exact, not a hash: two images
never have a number in common, and a number is never given out again. The table forgets the images used longest ago;
one that comes again then gets new numbers, and is computed again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

MAX_IMAGES = 1 << 16


class ImageKeys:
    """May be used from any thread."""

    def __init__(self, max_images: int = MAX_IMAGES) -> None:
        self._max_images = max_images
        self._first: OrderedDict[tuple[bytes, int], int] = OrderedDict()
        self._next = -1
        self._lock = threading.Lock()

    def of(self, key: bytes, num_rows: int) -> NDArray[np.int64]:
        """int64 [num_rows], all negative: what stands for the rows of this image in every prompt."""
        entry = (key, num_rows)
        with self._lock:
            first = self._first.pop(entry, None)
            if first is None:
                first = self._next
                self._next -= num_rows
            self._first[entry] = first
            if len(self._first) > self._max_images:
                self._first.popitem(last=False)
        return np.arange(first, first - num_rows, -1, dtype=np.int64)

    def forget(self, key: bytes) -> list[int]:
        """The image gets new numbers when it comes again: what is cached under its old ones is never found.

        Returns the numbers that its first row had.
        """
        with self._lock:
            return [self._first.pop(entry) for entry in list(self._first) if entry[0] == key]
