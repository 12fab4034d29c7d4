"""Memory in huge pages, where the system has them: for tensors that are read from end to end at every step.

With ordinary pages a step over a few hundred megabytes spends a tenth of its time looking up addresses, and a pool is
slow to be touched for the first time.
"""

from __future__ import annotations

import math
import mmap
from contextlib import suppress

import torch

_WORTH_IT = 4 << 20
"""Bytes below which ordinary memory is as good."""


def zeros(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros on the CPU that take memory when they are first touched, in huge pages if they are large."""
    size = math.prod(shape) * dtype.itemsize
    if size < _WORTH_IT or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.zeros(shape, dtype=dtype)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without huge pages: the memory is as good, only slower
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype).view(shape)
