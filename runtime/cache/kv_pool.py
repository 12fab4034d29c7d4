"""The memory of all past tokens: for every attention layer one tensor of keys and one of values.

In come the layers' shapes and a size in bytes; a step writes rows by slot and kernels read them by slot. The pool
does not know which slots are in use, nor by whom: that is the page allocator's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from runtime.errors import RequestError
from runtime.kernels.contract import AttentionLayer


class KVPool:
    """`keys[i]`: [num_pages * page_size, kv_heads, key_dim] of layer i; `values[i]`: the same with value_dim.

    Layers may differ in heads and sizes. Every slot starts as zeros, so that a kernel may read what it then masks.
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
        self.keys = [_zeros((slots, layer.num_kv_heads, layer.key_dim), dtype, device) for layer in layers]
        self.values = [_zeros((slots, layer.num_kv_heads, layer.value_dim), dtype, device) for layer in layers]

    @property
    def num_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))

    def write(self, layer: int, slots: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
        """Puts key [rows, kv_heads, key_dim] and value [rows, kv_heads, value_dim], any strides, at slots [rows]."""
        keys, values = self.keys[layer], self.values[layer]
        keys.index_copy_(0, slots, key.to(keys.dtype))
        values.index_copy_(0, slots, value.to(values.dtype))


def bytes_per_token(layers: Sequence[AttentionLayer], dtype: torch.dtype) -> int:
    """What one position takes over all layers."""
    return sum(layer.num_kv_heads * (layer.key_dim + layer.value_dim) for layer in layers) * dtype.itemsize


def pages_in(num_bytes: int, layers: Sequence[AttentionLayer], page_size: int, dtype: torch.dtype) -> int:
    """How many pages fit. RequestError if it is none."""
    page_bytes = bytes_per_token(layers, dtype) * page_size
    if num_bytes < page_bytes:
        raise RequestError(
            f"kv_cache_bytes={num_bytes} holds no page: one of {page_size} tokens takes {page_bytes} bytes"
        )
    return num_bytes // page_bytes


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros that take memory only when they are first touched (on a CPU, by the operating system's own zero pages)."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    flat = torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8))
    return flat.view(dtype).view(shape)
