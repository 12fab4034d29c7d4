"""The memory of all past tokens: for every attention layer one tensor of keys and one of values.

In come the layers' shapes and a size in bytes; a step writes rows by slot and kernels read them by slot. The pool
does not know which slots are in use, nor by whom: that is the page allocator's.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch

from runtime.errors import RequestError
from runtime.kernels import huge_pages
from runtime.kernels.contract import AttentionLayer

_POPULATED = 1 << 30
"""Bytes up to which memory is taken at once; above, as it is used, so that a large pool costs nothing unused."""


class KVPool:
    """`keys[i]`: [num_pages * page_size, kv_heads, key_dim] of the layers with index i; `values[i]`: the same with
    value_dim.

    Layers may differ in heads and sizes; those that share keys and values have one index. Every slot starts as zeros,
    so that a kernel may read what it then masks.
    """

    def __init__(
        self,
        layers: Sequence[AttentionLayer],
        num_pages: int,
        page_size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.num_pages = num_pages
        self.page_size = page_size
        slots = num_pages * page_size
        places = _places(layers)
        self.keys = _per_layer([(slots, layer.num_kv_heads, layer.key_dim) for layer in places], dtype, device)
        self.values = _per_layer([(slots, layer.num_kv_heads, layer.value_dim) for layer in places], dtype, device)
        self._populated = device.type != "cpu" or self.num_bytes > _POPULATED

    def stacked(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Keys and values of all layers as [layers, slots, kv_heads, dim]. Only where all layers have one shape."""
        return _stack_of(self.keys), _stack_of(self.values)

    def populate(self) -> None:
        """Have a thread take the pool's memory from the system, so that steps need not wait for it. Not again if it was
        done before."""
        if not self._populated:
            self._populated = True
            threading.Thread(target=self._populate, name="sgl-lite-pool", daemon=True).start()

    @property
    def num_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))

    def _populate(self) -> None:
        for tensor in (*self.keys, *self.values):
            huge_pages.populate(tensor)


def _stack_of(views: list[torch.Tensor]) -> torch.Tensor:
    first = views[0]
    return first.as_strided((len(views), *first.shape), (first.numel(), *first.stride()))


def _places(layers: Sequence[AttentionLayer]) -> list[AttentionLayer]:
    """One layer for each index, in order."""
    first: dict[int, AttentionLayer] = {}
    for layer in layers:
        first.setdefault(layer.index, layer)
    return [first[index] for index in sorted(first)]


def _per_layer(shapes: list[tuple[int, ...]], dtype: torch.dtype, device: torch.device) -> list[torch.Tensor]:
    """Layers of one shape lie in one tensor, one after another."""
    if len(set(shapes)) == 1:
        return list(_zeros((len(shapes), *shapes[0]), dtype, device).unbind(0))
    return [_zeros(shape, dtype, device) for shape in shapes]


def bytes_per_token(layers: Sequence[AttentionLayer], dtype: torch.dtype) -> int:
    """What one position takes over all layers."""
    return sum(layer.num_kv_heads * (layer.key_dim + layer.value_dim) for layer in _places(layers)) * dtype.itemsize


def pages_in(num_bytes: int, layers: Sequence[AttentionLayer], page_size: int, dtype: torch.dtype) -> int:
    """How many pages fit. RequestError if it is none."""
    page_bytes = bytes_per_token(layers, dtype) * page_size
    if num_bytes < page_bytes:
        raise RequestError(
            f"kv_cache_bytes={num_bytes} holds no page: one of {page_size} tokens takes {page_bytes} bytes"
        )
    return num_bytes // page_bytes


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    if device.type == "cpu":
        return huge_pages.zeros(shape, dtype)
    return torch.zeros(shape, dtype=dtype, device=device)
