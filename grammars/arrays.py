"""What is done with arrays in several places."""

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


def distinct_columns(rows: NDArray[Any]) -> tuple[list[tuple[int, ...]], list[int]]:
    """(the columns that differ, in the order in which they come, for each column of `rows` the place of its own)

    `np.unique` sorts columns, which takes ten times as long.
    """
    columns = np.ascontiguousarray(rows.T)
    contents: list[Any] = columns.view(np.dtype((np.void, columns[0].nbytes))).reshape(-1).tolist()
    places: dict[bytes, int] = {}
    which = [places.setdefault(content, len(places)) for content in contents]
    return [tuple(np.frombuffer(content, rows.dtype).tolist()) for content in places], which
