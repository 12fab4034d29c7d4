"""Attention of many queries to the same keys, compiled: both products are done in panels.

    keys   [m, dim]  as a weight of m outputs:    scores = queries . keys^T
    values [m, dim]  as a weight of dim outputs:  out = softmax(scores) . values

In come queries, a pool and the slots that they see, all of them or each up to its own; out go rows of float32 with
their log-sum-exp. Arrays are float32, or uint16 for bfloat16. Query heads that share a head of keys are rows of one
product. Head sizes must be multiples of 32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from runtime.kernels.attend_single import side_by_side, softmax
from runtime.kernels.panels import ROWS_AT_ONCE, twelve_rows
from runtime.kernels.vector import LANES, fill, load, multiply, pointer_to, store
from runtime.kernels.words import INDEX, LINE

_compiled: Any = njit(nogil=True, cache=True, error_model="numpy")
_intrinsic: Any = intrinsic

_COLUMNS = 2 * LANES
_HALVES = ir.VectorType(ir.IntType(16), 2 * LANES)


@_compiled
def attend_shared(
    query: Any, stride: int, keys: Any, values: Any, slots: Any, causal: bool, scaling: float, out: Any, lse: Any
) -> None:
    """Query row r (at r * stride) sees all of `slots`, or if causal those up to its own, the last row's being the last;
    writes out and lse [rows, heads(, dim)], float32.

    keys, values: [slots, kv_heads, dim].
    """
    rows, num_heads, dim = out.shape
    num_kv_heads = keys.shape[1]
    group, count = num_heads // num_kv_heads, len(slots)
    whole = (count + _COLUMNS - 1) // _COLUMNS * _COLUMNS
    step = 4 // keys.itemsize
    key_panels = np.empty((whole // LANES, dim // step, LANES * step), keys.dtype)
    value_panels = np.empty((dim // LANES, whole // step, LANES * step), keys.dtype)
    asked = np.zeros((ROWS_AT_ONCE, dim), keys.dtype)
    pitch = whole + _COLUMNS  # of rows: were it a power of two, all of them would want the same lines of the cache
    scores = np.empty((ROWS_AT_ONCE, pitch), np.float32)
    weights = np.zeros((ROWS_AT_ONCE, pitch), keys.dtype)
    sums = np.empty((ROWS_AT_ONCE, _COLUMNS), np.float32)
    masses = np.empty(ROWS_AT_ONCE, np.float32)
    askers, places = np.empty(ROWS_AT_ONCE, np.int64), np.empty(ROWS_AT_ONCE, np.int64)
    all_lse = lse.reshape(rows * num_heads)
    for kv_head in range(num_kv_heads):
        _lay_out(keys, values, slots, kv_head * dim, key_panels, value_panels)
        row, head = 0, kv_head * group
        for first in range(0, rows * group, ROWS_AT_ONCE):
            together = min(ROWS_AT_ONCE, rows * group - first)
            for r in range(together):
                askers[r], places[r] = row, row * num_heads + head
                for d in range(0, dim, LANES):
                    store(asked, r * dim + d, load(query, row * stride + head * dim + d))
                head += 1
                if head == (kv_head + 1) * group:
                    row, head = row + 1, kv_head * group
            seen = _seen(count, rows, askers[together - 1], causal)
            covered = (seen + _COLUMNS - 1) // _COLUMNS * _COLUMNS
            lines = dim // step
            for panel in range(0, covered // LANES, 2):
                at = panel * lines * key_panels.shape[2]
                twelve_rows(asked, 0, dim, key_panels, at, lines, lines, scores, panel * LANES, pitch)
            for r in range(together):
                own = _seen(count, rows, askers[r], causal)
                all_lse[places[r]], masses[r] = softmax(scores, r, own, scaling, weights)
                for j in range((own + LANES - 1) // LANES * LANES, covered, LANES):
                    store(weights, r * pitch + j, fill(np.float32(0)))
            for column in range(0, dim, _COLUMNS):
                at = column // LANES * value_panels.shape[1] * value_panels.shape[2]
                apart = value_panels.shape[1]
                twelve_rows(weights, 0, pitch, value_panels, at, apart, covered // step, sums, 0, _COLUMNS)
                for r in range(together):
                    to = places[r] * dim + column
                    share = fill(np.float32(1) / masses[r])
                    store(out, to, multiply(load(sums, r * _COLUMNS), share))
                    store(out, to + LANES, multiply(load(sums, r * _COLUMNS + LANES), share))


@_compiled
def _seen(count: int, rows: int, row: int, causal: bool) -> int:
    """How many of `count` keys the row sees."""
    return count - (rows - 1 - row) if causal else count


@_compiled
def _lay_out(keys: Any, values: Any, slots: Any, offset: int, key_panels: Any, value_panels: Any) -> None:
    """A head of keys and of values in panels, filled up with the last: the softmax leaves these out."""
    dim = value_panels.shape[0] * LANES
    width = keys.shape[1] * dim
    step, whole = 4 // keys.itemsize, key_panels.shape[0] * LANES
    panel_size = key_panels.shape[1] * key_panels.shape[2]
    value_size = value_panels.shape[1] * value_panels.shape[2]
    places = np.empty(whole, np.int64)
    for j in range(whole):
        places[j] = slots[min(j, len(slots) - 1)] * width + offset
    for panel in range(key_panels.shape[0]):
        for d in range(0, dim, LANES * step):
            _turn(keys, places, panel * LANES, d, key_panels, panel * panel_size + d * LANES)
    for j in range(0, whole, step):
        for d in range(0, dim, LANES * step):
            to = d // LANES * value_size + j * LANES
            if step == 2:
                _interleave(values, places[j] + d, places[j + 1] + d, value_panels, to, to + value_size)
            else:
                store(value_panels, to, load(values, places[j] + d))


@_intrinsic
def _turn(typing: Any, keys: Any, places: Any, first: Any, offset: Any, panels: Any, to: Any) -> Any:
    """16 words of 16 keys, those at places[first:] + offset, to 16 lines: a square of words is transposed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        keys, places, first, offset, panels, to = arguments
        begin = pointer_to(context, builder, signature.args[1], places, first, INDEX)
        lines = []
        for i in range(LANES):
            place = builder.add(builder.load(builder.gep(begin, [INDEX(i)])), offset)
            lines.append(builder.load(pointer_to(context, builder, signature.args[0], keys, place, LINE), align=2))
        half = LANES // 2
        for _ in range(4):  # each time, line i and line i + 8 become neighbours, word by word
            mixed = []
            for i in range(half):
                for begins in (0, half):
                    lanes = [lane for d in range(begins, begins + half) for lane in (d, LANES + d)]
                    mixed.append(builder.shuffle_vector(lines[i], lines[i + half], LINE(lanes)))
            lines = mixed
        out = pointer_to(context, builder, signature.args[4], panels, to, LINE)
        for i, line in enumerate(lines):
            builder.store(line, builder.gep(out, [INDEX(i)]), align=2)
        return context.get_dummy_value()

    return types.void(keys, places, types.intp, types.intp, panels, types.intp), generate


@_intrinsic
def _interleave(typing: Any, values: Any, a: Any, b: Any, panels: Any, to: Any, after: Any) -> Any:
    """32 bfloat16 at a and at b as words (a[d], b[d]): the first 16 to `to`, the others to `after`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, a, b, panels, to, after = arguments
        pair = [
            builder.load(pointer_to(context, builder, signature.args[0], values, place, _HALVES), align=2)
            for place in (a, b)
        ]
        for line, place in zip(side_by_side(builder, pair[0], pair[1]), (to, after), strict=True):
            builder.store(line, pointer_to(context, builder, signature.args[3], panels, place, LINE), align=2)
        return context.get_dummy_value()

    index = types.intp
    return types.void(values, index, index, panels, index, index), generate
