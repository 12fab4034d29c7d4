"""Small arrays of a step travel to the device together: one piece of pinned memory, one copy, no waiting.

What the device has drawn travels back the same way, while it goes on to something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_ALIGNMENT = 16
"""Bytes on which every array begins, so that kernels are compiled for one alignment only."""


Capacities = dict[str, tuple[tuple[int, ...], Any]]
"""Shape and numpy dtype of arrays, by name."""


def send(arrays: Mapping[str, NDArray[Any]], device: torch.device) -> dict[str, torch.Tensor]:
    """The same arrays on the device. The copy is in the current stream; the arrays may change after the call."""
    if not arrays:
        return {}
    offsets = _offsets(arrays)
    packed, memory = packed_bytes(offsets.total, device)
    _pack(arrays, offsets.begins, memory)
    on_device = packed.to(device, non_blocking=True)
    return {name: _view(on_device, offsets.begins[name], array) for name, array in arrays.items()}


def fetch(tensor: torch.Tensor) -> Callable[[], NDArray[Any]]:
    """Starts to copy a tensor to the host; the result waits for that, and not for what is launched after this call."""
    memory, arrived = tensor, None
    if tensor.device.type == "cuda":
        memory = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        memory.copy_(tensor, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record()

    def read() -> NDArray[Any]:
        if arrived is not None:
            arrived.synchronize()
        return memory.numpy()

    return read


class Mailbox:
    """Arrays at fixed places on the device, each with a largest size, filled anew before every step.

    What a captured graph reads. Arrays are sent whole, but the one named last only as far as it is used.
    """

    def __init__(self, capacities: Capacities, memory: torch.Tensor) -> None:
        """Arrays that are shorter than their capacity are filled up with zeros.

        memory: uint8, `size_of` the capacities or more, on the device. Mailboxes that are filled and read one at a time
        may share it.
        """
        self._full = {name: np.zeros(shape, dtype) for name, (shape, dtype) in capacities.items()}
        self._offsets = _offsets(self._full)
        self._memory = memory
        self._last = list(capacities)[-1]
        self.tensors = {n: _view(self._memory, self._offsets.begins[n], a) for n, a in self._full.items()}

    @staticmethod
    def size_of(capacities: Capacities) -> int:
        """In bytes."""
        return _offsets({name: np.zeros(shape, dtype) for name, (shape, dtype) in capacities.items()}).total

    def holds(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Whether none is longer than its place."""
        return all(len(array) <= len(self._full[name]) for name, array in arrays.items())

    def put(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Every array of the capacities, with at most as many entries."""
        used = self._offsets.begins[self._last] + arrays[self._last].nbytes
        packed, memory = packed_bytes(used, self._memory.device)
        memory[:] = 0
        _pack(arrays, self._offsets.begins, memory)
        self._memory[:used].copy_(packed, non_blocking=True)


class _Offsets:
    def __init__(self, begins: dict[str, int], total: int) -> None:
        self.begins = begins
        self.total = total


def packed_bytes(size: int, device: torch.device) -> tuple[torch.Tensor, NDArray[np.uint8]]:
    """Memory on the host, and the same as an array, pinned if it is for a GPU: torch keeps such memory until copies
    out of it are done.
    """
    memory = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    return memory, memory.numpy()


def _offsets(arrays: Mapping[str, NDArray[Any]]) -> _Offsets:
    begins, end = {}, 0
    for name, array in arrays.items():
        begins[name] = end
        end += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    return _Offsets(begins, end)


def _pack(arrays: Mapping[str, NDArray[Any]], begins: Mapping[str, int], memory: NDArray[np.uint8]) -> None:
    for name, array in arrays.items():
        flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        memory[begins[name] : begins[name] + len(flat)] = flat


def _view(memory: torch.Tensor, begin: int, array: NDArray[Any]) -> torch.Tensor:
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    return memory[begin : begin + array.nbytes].view(dtype).view(array.shape)
