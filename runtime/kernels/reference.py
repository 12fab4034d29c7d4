"""Attention by its definition, one request and one head group at a time: the oracle of every other kernel.

Works in the dtype it is told to (float64 for tests). Slow, and meant to be.
"""

from __future__ import annotations

import torch

from runtime.kernels.contract import AttentionLayer, RaggedBatch


class ReferenceAttention:
    """See `runtime.kernels.contract.Attention`."""

    def __init__(self, batch: RaggedBatch, dtype: torch.dtype = torch.float64) -> None:
        self._batch = batch
        self._dtype = dtype

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
        batch = self._batch
        out = torch.empty(query.shape[0], layer.num_heads, layer.value_dim, dtype=query.dtype, device=query.device)
        for i in range(batch.num_requests):
            rows = slice(int(batch.query_starts[i]), int(batch.query_starts[i + 1]))
            slots = torch.from_numpy(batch.slots(i, 0, int(batch.kv_lengths[i]))).to(query.device)
            out[rows] = self._one(layer, query[rows], keys[slots], values[slots], sinks, i).to(out.dtype)
        return out

    def _one(
        self,
        layer: AttentionLayer,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        sinks: torch.Tensor | None,
        request: int,
    ) -> torch.Tensor:
        batch, start = self._batch, int(self._batch.starts[request])
        q = query.transpose(0, 1).to(self._dtype)
        k = keys.transpose(0, 1).to(self._dtype).repeat_interleave(layer.group_size, 0)
        v = values.transpose(0, 1).to(self._dtype).repeat_interleave(layer.group_size, 0)
        scores = q @ k.transpose(1, 2) * layer.scaling
        if layer.softcap:
            scores = layer.softcap * torch.tanh(scores / layer.softcap)
        scores = scores.masked_fill(
            ~visible(
                layer.sliding_window,
                layer.chunk_size,
                start,
                q.shape[1],
                k.shape[1],
                spans=batch.spans_of(request),
                over_windows=batch.over_windows,
            ).to(q.device),
            float("-inf"),
        )
        if sinks is not None:
            column = sinks.to(self._dtype)[:, None, None].expand(-1, scores.shape[1], 1)
            weights = torch.cat([scores, column], dim=-1).softmax(-1)[..., :-1]
        else:
            weights = scores.softmax(-1)
        return (weights @ v).transpose(0, 1)


def visible(
    sliding_window: int | None,
    chunk_size: int | None,
    start: int,
    num_queries: int,
    num_keys: int,
    first_key: int = 0,
    spans: tuple[tuple[int, int], ...] = (),
    over_windows: bool = False,
) -> torch.Tensor:
    """bool [num_queries, num_keys]: which keys (from position `first_key`) each query (from `start`) sees.

    spans, over_windows: see `RaggedBatch`.
    """
    query = torch.arange(start, start + num_queries)[:, None]
    key = torch.arange(first_key, first_key + num_keys)[None]
    mask = key <= query
    together = torch.zeros_like(mask)
    for begin, end in spans:
        together |= (query >= begin) & (query < end) & (key >= begin) & (key < end)
    if not over_windows:
        mask |= together
    if sliding_window is not None:
        mask &= key > query - sliding_window
    if chunk_size is not None:
        mask &= key // chunk_size == query // chunk_size
    return mask | together if over_windows else mask
