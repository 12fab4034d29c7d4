"""Memory in huge pages, where the system has them: for tensors that are read from end to end at every step.

With ordinary pages a step over a few hundred megabytes spends a tenth of its time looking up addresses, and a pool is
slow to be touched for the first time.
"""

from __future__ import annotations

import ctypes
import math
import mmap
from contextlib import suppress

import torch

_WORTH_IT = 4 << 20
"""Bytes below which ordinary memory is as good."""
_POPULATE_WRITE = 23
"""MADV_POPULATE_WRITE, of Linux 5.14 and later."""
_AT_ONCE = 4 << 20


def zeros(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros on the CPU that take memory when they are first touched, in huge pages if they are large."""
    size = math.prod(shape) * dtype.itemsize
    if size < _WORTH_IT or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(shape, dtype=dtype)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without huge pages: the memory is as good, only slower
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)


def populate(tensor: torch.Tensor) -> None:
    """Take a tensor's memory from the system now, without changing what is in it; other threads may use it meanwhile.

    Where the system cannot do that, memory is still taken when it is first touched.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    madvise = ctypes.CDLL(None).madvise
    begin, page = tensor.data_ptr(), mmap.PAGESIZE
    end = (begin + tensor.nbytes) // page * page
    for at in range(-(-begin // page) * page, end, _AT_ONCE):
        if madvise(ctypes.c_void_p(at), ctypes.c_size_t(min(_AT_ONCE, end - at)), _POPULATE_WRITE):
            return
