"""Answers the attention calls of one forward from the pages of a KV pool.

In come queries, keys and values of a layer as a model makes them; out goes the attention's output. Keys and values are
written before any are read, so requests of one step may share what one of them writes.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from runtime.cache.kv_pool import KVPool
from runtime.execution.backends import Backend
from runtime.kernels.contract import Attention, AttentionLayer


class PagedStep:
    """Answers a step's attention calls: writes keys and values into the pool, then attends over it."""

    def __init__(self, pool: KVPool, slots: torch.Tensor, attention: Attention, backend: Backend) -> None:
        self._pool = pool
        self._backend = backend
        self._slots = slots
        self._attention = attention

    def attend(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None,
        sliding_window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        layer = cast(AttentionLayer, module.paged_attention)
        keys, values = self._pool.keys[layer.index], self._pool.values[layer.index]
        self._backend.write(keys, values, self._slots, key[0].transpose(0, 1), value[0].transpose(0, 1))
        return self._attention.attend(layer, query[0].transpose(0, 1), keys, values, sinks)[None]

    def attend_merged(
        self,
        layer: AttentionLayer,
        qkv: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        rows: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """See `runtime.model.dense_decoder.MergedAttention`."""
        keys, values = self._pool.keys[layer.index], self._pool.values[layer.index]
        query = self._backend.ops.rotate_and_write(qkv, cos, sin, self._slots, keys, values)
        if rows is None:
            return self._attention.attend(layer, query, keys, values, None).flatten(1)
        if not len(rows):
            return query[rows].flatten(1)
        attention = self._attention.only(rows)
        if attention is None:
            return self._attention.attend(layer, query, keys, values, None).flatten(1)[rows]
        return attention.attend(layer, query[rows], keys, values, None).flatten(1)
