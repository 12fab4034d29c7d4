"""What every attention kernel is told: the facts of a layer and the facts of a step. No model, no scheduler.

Keys and values of all past tokens lie in a pool, one tensor `[slots, kv_heads, dim]` a layer for each. A position `p`
of a request lies in slot `page_table[p // page_size] * page_size + p % page_size`. A step's queries lie one after
another, request by request:

    request      0                1        2
    queries   |  0 .. counts[0]  |  ...   |  ...  |        rows [query_starts[i], query_starts[i + 1])
    position  starts[i] + j for query row query_starts[i] + j; it sees keys at positions [0, starts[i] + j]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """What stays the same for one attention module.

    index:          its place in the pool; one for all layers that share keys and values.
    name:           the module's path in the model.
    scaling:        factor on the scores.
    sliding_window: w: a query at position p sees keys in (p - w, p]; None: all.
    chunk_size:     c: a query at position p sees keys from (p // c) * c on; None: all.
    softcap:        scores become softcap * tanh(score / softcap).
    has_sinks:      the call brings one learned score a head that takes part in the softmax and has no value.
    """

    index: int
    name: str
    num_heads: int
    num_kv_heads: int
    key_dim: int
    value_dim: int
    scaling: float
    sliding_window: int | None = None
    chunk_size: int | None = None
    softcap: float | None = None
    has_sinks: bool = False

    @property
    def group_size(self) -> int:
        """Query heads that share one head of keys and values."""
        return self.num_heads // self.num_kv_heads


@dataclass(frozen=True)
class RaggedBatch:
    """The requests of one step, on the host.

    starts:      int64 [n], first position that each request computes.
    counts:      int64 [n], how many it computes, at least 1.
    page_tables: n arrays int32, each of at least ceil((start + count) / page_size) pages.
    spans:       for each request, runs [begin, end) of positions whose queries also see what comes after them in their
                 run; rising, apart. Every run that the step reaches into, it computes to its end. (): none at all.
    over_windows: within their run, queries of spans see through sliding windows too.
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    page_tables: tuple[NDArray[np.int32], ...]
    page_size: int
    spans: tuple[tuple[tuple[int, int], ...], ...] = ()
    over_windows: bool = False

    def spans_of(self, request: int) -> tuple[tuple[int, int], ...]:
        """Those that have queries in this step."""
        if not self.spans:
            return ()
        first, last = int(self.starts[request]), int(self.kv_lengths[request])
        return tuple((begin, end) for begin, end in self.spans[request] if begin < last and end > first)

    @property
    def num_requests(self) -> int:
        return len(self.starts)

    @cached_property
    def query_starts(self) -> NDArray[np.int64]:
        """int64 [n + 1]: rows of request i are [query_starts[i], query_starts[i + 1])."""
        return np.concatenate(([0], np.cumsum(self.counts)))

    @cached_property
    def kv_lengths(self) -> NDArray[np.int64]:
        return self.starts + self.counts

    @cached_property
    def pages(self) -> NDArray[np.int64]:
        """int64 [n, longest]: the page tables side by side, filled up with zeros."""
        pages = np.zeros((self.num_requests, max(map(len, self.page_tables))), dtype=np.int64)
        for row, table in zip(pages, self.page_tables, strict=True):
            row[: len(table)] = table
        return pages

    @cached_property
    def new_positions(self) -> NDArray[np.int64]:
        """Of all query rows."""
        return np.arange(int(self.query_starts[-1])) + np.repeat(self.starts - self.query_starts[:-1], self.counts)

    def new_slots(self) -> NDArray[np.int64]:
        """Where the keys and values of all query rows belong."""
        pages, places = np.divmod(self.new_positions, self.page_size)
        requests = np.repeat(np.arange(self.num_requests), self.counts)
        found: NDArray[np.int64] = self.pages[requests, pages] * self.page_size + places
        return found

    def slots(self, request: int, begin: int, end: int) -> NDArray[np.int64]:
        """Slots of the positions [begin, end) of one request."""
        size = self.page_size
        first = begin // size
        pages = self.page_tables[request][first : -(-end // size)].astype(np.int64)
        if size == 1:
            return pages
        slots = (pages[:, None] * size + np.arange(size)).reshape(-1)
        return slots[begin - first * size : end - first * size]


class Attention(Protocol):
    """Attention of one step: made from its `RaggedBatch`, called once a layer, dropped after it."""

    def attend(
        self,
        layer: AttentionLayer,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """query [rows, heads, key_dim], any strides; keys and values: the layer's pool, in which this step's own are
        already written. Returns [rows, heads, value_dim] in the query's dtype."""
        ...

    def only(self, rows: torch.Tensor) -> Attention | None:
        """The attention of these queries alone, int64 and rising, or None where it would be no less work."""
        ...
