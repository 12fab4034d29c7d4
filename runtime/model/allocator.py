"""How the C library's allocator is told to treat memory that a step frees: to keep it for the next one.

By itself it gives large blocks back to the system at once, which clears them page by page when the next step asks for
as many; and each thread has a heap of its own, so that what one frees is of no use to another. Where the library is not
glibc, nothing is changed.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_KEPT = 128 << 20
_ON_THE_HEAP = 32 << 20
"""The largest that glibc allows: blocks of more bytes are the system's."""


def keep_freed_memory() -> None:
    """For this whole process, and from now on."""
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_ARENA_MAX, 1)
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _ON_THE_HEAP)
