"""Attention of one step on a CPU, in compiled kernels where there are some, else in torch's own.

In comes a step's `RaggedBatch`, then one `attend` a layer (`runtime.kernels.contract.Attention`). How the work is cut
is `attention_plan`'s, the products are `cpu_products`'; here they are put together. Plans depend on how far a layer
sees, and are made once a step for each such reach.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.kernels.attention_plan import (
    AttentionPlan,
    Block,
    DecodeGroup,
    Segment,
    limits_nothing,
    plan_attention,
)
from runtime.kernels.contract import AttentionLayer, RaggedBatch
from runtime.kernels.cpu_ops import CpuOps
from runtime.kernels.cpu_products import (
    Part,
    add_sinks,
    attend_all,
    attend_causal,
    attend_masked,
    attend_padded,
    joined,
    merge,
    score_dtype,
)
from runtime.kernels.reference import visible

Index = slice | torch.Tensor
Reach = tuple[int | None, int | None]
"""Sliding window and chunk size of a layer."""
EVERYTHING: Reach = (1 << 40, None)
"""Sees as far as no limit does; but what has a limit is not cut into segments."""
MIN_SAVED_BYTES = 1 << 20
"""A segment or a block is worth its calls, and a merge, if it spares a layer at least so many bytes of keys and values
from being read again. A fourth of it where kernels are torch's: there, what is read again is copied first.
"""


class CpuAttention:
    """See `runtime.kernels.contract.Attention`."""

    def __init__(self, batch: RaggedBatch, ops: CpuOps, alone: bool = False) -> None:
        """alone: each row's bits depend on its own keys only; every request must have one row then."""
        self._batch = batch
        self._ops = ops
        self._alone = alone
        self._plans: dict[tuple[Reach, int], _Plan] = {}
        self._total: Part | None = None
        """Where parts are merged, kept from layer to layer: fresh memory would have to be cleared by the system."""

    def attend(
        self,
        layer: AttentionLayer,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        token_bytes = layer.num_kv_heads * (layer.key_dim + layer.value_dim) * keys.itemsize
        if not _compiled(self._ops, layer, query, keys, values):
            token_bytes *= 4
        plan = self._plan((layer.sliding_window, layer.chunk_size), max(1, MIN_SAVED_BYTES // token_bytes))
        if plan.whole is not None and sinks is None:
            return plan.whole.attend(layer, query, keys, values)[0].to(query.dtype)
        shape = (query.shape[0], layer.num_heads, layer.value_dim)
        merges = bool(plan.more) or sinks is not None
        out, lse = self._memory(shape, score_dtype(query.dtype)) if merges else (query.new_empty(shape), None)
        for piece in plan.own:
            part, part_lse = piece.attend(layer, query[piece.rows], keys, values)
            out[piece.rows] = part.to(out.dtype)
            if lse is not None:
                lse[piece.rows] = part_lse.to(lse.dtype)
        if lse is None:
            return out
        for shared in plan.more:
            self._merge((out, lse), shared.rows, shared.attend(layer, query[shared.rows], keys, values))
        if sinks is not None:
            add_sinks((out, lse), sinks)
        return out.to(query.dtype, copy=True)

    def only(self, rows: torch.Tensor) -> CpuAttention | None:
        """The attention of some of the step's queries, if they are few: at most one a request."""
        batch = self._batch
        if batch.spans or self._alone or len(rows) > batch.num_requests:
            return None
        chosen = rows.numpy()
        requests = np.searchsorted(batch.query_starts, chosen, side="right") - 1
        tables = tuple(batch.page_tables[i] for i in requests)
        starts = batch.new_positions[chosen]
        return CpuAttention(RaggedBatch(starts, np.ones_like(starts), tables, batch.page_size), self._ops)

    def _memory(self, shape: tuple[int, int, int], dtype: torch.dtype) -> Part:
        if self._total is None or self._total[0].shape != shape:
            self._total = (torch.empty(shape, dtype=dtype), torch.empty(shape[:2], dtype=dtype))
        return self._total

    def _merge(self, total: Part, rows: Index, part: Part) -> None:
        if self._ops.merges(total[0]):
            self._ops.merge(*total, rows, *part)
        else:
            merge(total, rows, part)

    def _plan(self, reach: Reach, min_saved: int) -> _Plan:
        plan = self._plans.get((reach, min_saved))
        if plan is None:
            if reach != (None, None) and limits_nothing(self._batch, *reach):
                plan = self._plan((None, None), min_saved)
            else:
                limits = EVERYTHING if self._alone and reach == (None, None) else reach
                pieces = plan_attention(self._batch, *limits, min_saved)
                plan = _Plan(pieces, reach, int(self._batch.query_starts[-1]), self._ops, self._alone)
            self._plans[reach, min_saved] = plan
        return plan


class _Plan:
    """An `AttentionPlan` with its indices as torch takes them.

    own:   pieces that hold each row once, each with keys of that row's own.
    more:  pieces with further keys of rows, to be merged with what these got from their own.
    whole: the only piece, if it has all rows in order.
    """

    def __init__(self, plan: AttentionPlan, reach: Reach, num_rows: int, ops: CpuOps, alone: bool) -> None:
        self.own: list[_Padded | _Causal | _Masked] = [_Padded.of(group, ops, alone) for group in plan.decodes]
        self.more = [_Shared.of(segment, ops) for segment in plan.segments]
        for block in plan.blocks:
            if reach != (None, None):
                self.own.append(_Masked.of(block, reach))
            elif not block.spans:
                self.own.append(_Causal.of(block, ops))
            else:
                self._add_spans(block, ops)
        is_one = len(self.own) == 1 and not self.more and self.own[0].rows == slice(0, num_rows)
        self.whole = self.own[0] if is_one else None

    def _add_spans(self, block: Block, ops: CpuOps) -> None:
        """Where images see each other, what is cached and what is new are apart."""
        cached = block.start - block.first_key
        if cached:
            self.more.append(_Shared.of(Segment(np.arange(block.begin, block.end), block.slots[:cached]), ops))
        new = dataclasses.replace(block, first_key=block.start, slots=block.slots[cached:])
        self.own.append(_Masked.of(new, (None, None)))


@dataclass(frozen=True, slots=True)
class _Shared:
    """Rows that all see the same slots whole."""

    rows: Index
    slots: NDArray[np.int64]
    index: Index
    ops: CpuOps

    @classmethod
    def of(cls, segment: Segment, ops: CpuOps) -> _Shared:
        return cls(_index(segment.rows), segment.slots, _index(segment.slots), ops)

    def attend(self, layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Part:
        if _compiled(self.ops, layer, query, keys, values):
            return self.ops.attend_shared(query, keys, values, self.slots, layer.scaling)
        return attend_all(layer, query, _take(keys, self.index), _take(values, self.index))


@dataclass(frozen=True, slots=True)
class _Padded:
    """Rows with slots of their own each. alone: no product has several rows."""

    rows: Index
    num_rows: int
    slots: Index
    bias: torch.Tensor | None
    group: DecodeGroup
    ops: CpuOps
    alone: bool

    @classmethod
    def of(cls, group: DecodeGroup, ops: CpuOps, alone: bool) -> _Padded:
        bias = None
        num_rows, longest = group.slots.shape
        if group.lengths.min() < longest:
            padding = np.arange(longest) >= group.lengths[:, None]
            bias = torch.from_numpy(np.where(padding, np.float32("-inf"), np.float32(0)))[:, None, None]
        return cls(_index(group.rows), num_rows, _index(group.slots.reshape(-1)), bias, group, ops, alone)

    def attend(self, layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Part:
        if _compiled(self.ops, layer, query, keys, values):
            own = np.arange(self.num_rows)
            group = self.group
            return self.ops.attend_single(
                query, own, keys, values, group.slots, group.lengths, layer.scaling, query.dtype
            )
        if self.alone:
            return joined([self._attend_one(layer, query, row, keys, values) for row in range(self.num_rows)])
        shape = (self.num_rows, -1)
        own_keys, own_values = (
            _take(keys, self.slots).unflatten(0, shape),
            _take(values, self.slots).unflatten(0, shape),
        )
        return attend_padded(layer, query, own_keys, own_values, self.bias)

    def _attend_one(
        self, layer: AttentionLayer, query: torch.Tensor, row: int, keys: torch.Tensor, values: torch.Tensor
    ) -> Part:
        slots = torch.from_numpy(self.group.slots[row, : self.group.lengths[row]])
        return attend_padded(layer, query[row : row + 1], keys[slots][None], values[slots][None], None)


@dataclass(frozen=True, slots=True)
class _Causal:
    """Rows of one request, each of which sees its keys up to its own. before: those that were cached; new: the rows'
    own."""

    rows: slice
    slots: NDArray[np.int64]
    before: Index | None
    new: Index
    ops: CpuOps

    @classmethod
    def of(cls, block: Block, ops: CpuOps) -> _Causal:
        cached = block.start - block.first_key
        before = _index(block.slots[:cached]) if cached else None
        return cls(slice(block.begin, block.end), block.slots, before, _index(block.slots[cached:]), ops)

    def attend(self, layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Part:
        if _compiled(self.ops, layer, query, keys, values):
            return self.ops.attend_shared(query, keys, values, self.slots, layer.scaling, causal=True)
        part = attend_causal(layer, query, _take(keys, self.new), _take(values, self.new))
        if self.before is None:
            return part
        out, lse = attend_all(layer, query, _take(keys, self.before), _take(values, self.before))
        dtype = score_dtype(query.dtype)
        total = (out.to(dtype, copy=True), lse.to(dtype, copy=True))
        merge(total, slice(None), part)
        return total


@dataclass(frozen=True, slots=True)
class _Masked:
    """Rows of one request that see some of the slots."""

    rows: slice
    slots: Index
    mask: torch.Tensor

    @classmethod
    def of(cls, block: Block, reach: Reach) -> _Masked:
        count = block.end - block.begin
        mask = visible(*reach, block.start, count, len(block.slots), block.first_key, block.spans, block.over_windows)
        return cls(slice(block.begin, block.end), _index(block.slots), mask)

    def attend(self, layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Part:
        return attend_masked(layer, query, _take(keys, self.slots), _take(values, self.slots), self.mask)


def _compiled(
    ops: CpuOps, layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> bool:
    """Whether there are compiled kernels for it."""
    return layer.softcap is None and ops.attends_single(query, keys, values)


def _index(numbers: NDArray[np.int64]) -> Index:
    """A slice where the numbers follow each other (then taking them copies nothing), else a tensor."""
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first == len(numbers) - 1 and bool((np.diff(numbers) == 1).all()):
        return slice(first, last + 1)
    return torch.from_numpy(np.ascontiguousarray(numbers))


def _take(pool: torch.Tensor, index: Index) -> torch.Tensor:
    return pool[index] if isinstance(index, slice) else pool.index_select(0, index)
