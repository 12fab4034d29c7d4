"""Arrays with room that takes no memory before it is used."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def roomy(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """An array of zeros whose pages the system hands out one by one, as they are written.

    `np.empty` asks for pages of 2 MB where an array is large: it may wait long for one, and takes it whole.
    """
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    return np.frombuffer(mmap.mmap(-1, max(size, 1), **private), dtype=dtype, count=int(np.prod(shape))).reshape(shape)
