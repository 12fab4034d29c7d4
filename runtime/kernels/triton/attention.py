"""Attention of one step on a GPU: `AttentionItems` on the device, then one `attend` a layer.

Everything that differs from step to step lies in tensors, so that a captured CUDA graph works on whatever they hold
when it is replayed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from runtime.kernels.attention_items import NARROW_TILE, AttentionShape
from runtime.kernels.contract import AttentionLayer
from runtime.kernels.triton.attend import attend_items
from runtime.kernels.triton.merge_parts import merge_parts


@dataclass(frozen=True, slots=True)
class DeviceItems:
    """`AttentionItems` as int32 tensors. num_parts: room for parts; 0: each row has one (`direct`)."""

    narrow: torch.Tensor
    wide: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor
    rows: torch.Tensor
    row_parts: torch.Tensor
    part_starts: torch.Tensor
    num_parts: int


class TritonAttention:
    """See `runtime.kernels.contract.Attention`."""

    def __init__(self, items: Mapping[AttentionShape, DeviceItems], pages: torch.Tensor, page_size: int) -> None:
        """items: for the shape of every layer. pages: int32, all page tables in a row."""
        self._items = items
        self._pages = pages
        self._page_size = page_size

    def only(self, rows: torch.Tensor) -> None:
        return None

    def attend(
        self,
        layer: AttentionLayer,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        query = query if query.stride(-1) == 1 else query.contiguous()
        shape = AttentionShape.of(layer, query.element_size())
        items = self._items[shape]
        rows = query.shape[0]
        out = query.new_empty(rows, layer.num_heads, layer.value_dim)
        limited = layer.sliding_window is not None or layer.chunk_size is not None
        parts, lse = out, None
        if items.num_parts:
            parts = query.new_empty(items.num_parts, layer.num_heads, layer.value_dim, dtype=torch.float32)
            lse = query.new_empty(items.num_parts, layer.num_heads, dtype=torch.float32)
        for tile, listed in ((shape.wide_tile, items.wide), (NARROW_TILE, items.narrow)):
            if listed.shape[0]:
                attend_items(
                    parts, lse, query, as_bytes(keys), as_bytes(values), None if items.num_parts else sinks, listed,
                    items.rows, items.first, items.last, self._pages, tile, self._page_size, layer.scaling,
                    layer.softcap or 0.0, limited,
                )  # fmt: skip
        if lse is not None:
            merge_parts(out, parts, lse, sinks, items.row_parts, items.part_starts)
        return out


def as_bytes(pool: torch.Tensor) -> torch.Tensor:
    """Kernels take e4m3 as bytes."""
    return pool.view(torch.uint8) if pool.dtype == torch.float8_e4m3fn else pool
