"""Attention of items: query rows of any requests over keys in pages. See `runtime.kernels.attention_items`.

The online softmax of FlashAttention over blocks of keys that are gathered by page. Heads of queries that share a head
of keys are packed into one tile with the rows (grouped-query attention), so keys are read once for all of them. Head
sizes need not be powers of two: a head of 576 is multiplied as 512 + 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl

from runtime.kernels.attention_items import NARROW_TILE
from runtime.kernels.triton.float8 import decode_e4m3
from runtime.kernels.triton.interpreted import dot_dtype, target_of
from runtime.kernels.triton.registered import op

LOG2_E = tl.constexpr(1.4426950408889634)
SMALLEST_DOT = 16


@triton.jit
def attend_kernel(
    query, keys, values, sinks, out, out_lse, items, rows, first, last, pages, scaling, softcap,
    query_row, query_head, key_slot, key_head, value_slot, value_head, out_row, out_head, lse_row,
    GROUP: tl.constexpr, PAGE_SIZE: tl.constexpr, KEY_DIM: tl.constexpr, VALUE_DIM: tl.constexpr,
    MAIN: tl.constexpr, REST: tl.constexpr, VALUES: tl.constexpr, TILE: tl.constexpr, KEYS: tl.constexpr,
    DIRECT: tl.constexpr, HAS_SINKS: tl.constexpr, CAPPED: tl.constexpr, LIMITED: tl.constexpr, FLOAT8: tl.constexpr,
    DOT: tl.constexpr,
):  # fmt: skip
    """One item and key head a program. LIMITED: whether rows may not see all keys before `last`.

    DIRECT: `out` is [T, heads, dim], final. Else parts [parts, heads, dim] in float32, and `out_lse` [parts, heads],
    in powers of 2.
    """
    item = items + tl.program_id(0) * 8
    head = tl.program_id(1)
    row_begin = tl.load(item)
    m_begin = tl.load(item + 1)
    m_end = tl.load(item + 2)
    pages += tl.load(item + 3)
    key_begin = tl.load(item + 4)
    key_end = tl.load(item + 5)
    part_begin = tl.load(item + 6)
    if m_begin >= m_end:  # an item that only fills the list
        return

    m = m_begin + tl.arange(0, TILE)
    live = m < m_end
    query_at_head = head * GROUP + m % GROUP
    row = tl.load(rows + row_begin + m // GROUP, mask=live, other=0)
    last_key = tl.load(last + row, mask=live, other=-1)
    first_key = tl.load(first + row, mask=live & LIMITED, other=0)
    main = tl.arange(0, MAIN)
    at = query + row.to(tl.int64) * query_row + query_at_head.to(tl.int64) * query_head
    q = tl.load(at[:, None] + main[None, :], mask=live[:, None] & (main < KEY_DIM)[None, :], other=0.0).to(DOT)
    q_rest = q
    if REST:
        rest = MAIN + tl.arange(0, REST)
        mask = live[:, None] & (rest < KEY_DIM)[None, :]
        q_rest = tl.load(at[:, None] + rest[None, :], mask=mask, other=0.0).to(DOT)
    keys += head * key_head
    values += head * value_head

    top = tl.full([TILE], float("-inf"), tl.float32)
    total = tl.zeros([TILE], tl.float32)
    mixed = tl.zeros([TILE, VALUES], tl.float32)
    seen_by_all = key_begin
    if not LIMITED:
        whole = tl.minimum(key_end, tl.min(tl.where(live, last_key, 1 << 30)) + 1) - key_begin
        seen_by_all = key_begin + tl.maximum(whole, 0) // KEYS * KEYS
        for begin in range(key_begin, seen_by_all, KEYS):
            top, total, mixed = _attend_block(
                q, q_rest, top, total, mixed, first_key, last_key, begin, key_end, keys, values, pages,
                scaling, softcap, key_slot, value_slot,
                PAGE_SIZE, KEY_DIM, VALUE_DIM, MAIN, REST, VALUES, KEYS, CAPPED, LIMITED, False, FLOAT8, DOT,
            )  # fmt: skip
    for begin in range(seen_by_all, key_end, KEYS):
        top, total, mixed = _attend_block(
            q, q_rest, top, total, mixed, first_key, last_key, begin, key_end, keys, values, pages,
            scaling, softcap, key_slot, value_slot,
            PAGE_SIZE, KEY_DIM, VALUE_DIM, MAIN, REST, VALUES, KEYS, CAPPED, LIMITED, True, FLOAT8, DOT,
        )  # fmt: skip

    if HAS_SINKS and DIRECT:
        sink = tl.load(sinks + query_at_head, mask=live, other=0.0).to(tl.float32) * LOG2_E
        total += tl.exp2(sink - top)
    mixed = mixed / tl.where(total > 0, total, 1.0)[:, None]
    out_at = row
    if not DIRECT:
        out_at = part_begin + m // GROUP
        tl.store(out_lse + out_at.to(tl.int64) * lse_row + query_at_head, top + tl.log2(total), mask=live)
    value = tl.arange(0, VALUES)
    out += out_at.to(tl.int64)[:, None] * out_row + query_at_head[:, None] * out_head + value[None, :]
    tl.store(out, mixed.to(out.dtype.element_ty), mask=live[:, None] & (value < VALUE_DIM)[None, :])


@triton.jit
def _attend_block(
    q, q_rest, top, total, mixed, first_key, last_key, begin, key_end, keys, values, pages,
    scaling, softcap, key_slot, value_slot,
    PAGE_SIZE: tl.constexpr, KEY_DIM: tl.constexpr, VALUE_DIM: tl.constexpr, MAIN: tl.constexpr, REST: tl.constexpr,
    VALUES: tl.constexpr, KEYS: tl.constexpr, CAPPED: tl.constexpr, LIMITED: tl.constexpr, MASKED: tl.constexpr,
    FLOAT8: tl.constexpr, DOT: tl.constexpr,
):  # fmt: skip
    """Takes keys [begin, begin + KEYS) into the running softmax. Not MASKED: every row sees them all."""
    at = begin + tl.arange(0, KEYS)
    inside = at < key_end
    slot = tl.load(pages + at // PAGE_SIZE, mask=inside, other=0).to(tl.int64) * PAGE_SIZE + at % PAGE_SIZE
    main = tl.arange(0, MAIN)
    # What lies beyond the last key belongs to others, and may be anything: 0 times infinity must not come of it.
    k = tl.load(
        keys + slot[:, None] * key_slot + main[None, :], mask=inside[:, None] & (main < KEY_DIM)[None, :], other=0
    )
    if FLOAT8:
        k = decode_e4m3(k)
    scores = tl.dot(q, tl.trans(k.to(DOT)), input_precision="tf32x3")
    if REST:
        rest = MAIN + tl.arange(0, REST)
        k = tl.load(
            keys + slot[:, None] * key_slot + rest[None, :], mask=inside[:, None] & (rest < KEY_DIM)[None, :], other=0
        )
        if FLOAT8:
            k = decode_e4m3(k)
        scores = tl.dot(q_rest, tl.trans(k.to(DOT)), scores, input_precision="tf32x3")
    if CAPPED:
        # tanh(x) = 1 - 2 / (1 + e^2x), right at both infinities.
        scores = scores * (scaling / softcap)
        scores = softcap * LOG2_E * (1.0 - 2.0 / (1.0 + tl.exp2(scores * (2.0 * LOG2_E))))
    else:
        scores = scores * (scaling * LOG2_E)
    if MASKED:
        visible = inside[None, :] & (at[None, :] <= last_key[:, None])
        if LIMITED:
            visible = visible & (at[None, :] >= first_key[:, None])
        scores = tl.where(visible, scores, float("-inf"))
    new_top = tl.maximum(top, tl.max(scores, 1))
    base = tl.where(new_top == float("-inf"), 0.0, new_top)
    weights = tl.exp2(scores - base[:, None])
    shrink = tl.exp2(top - base)
    value = tl.arange(0, VALUES)
    v = tl.load(
        values + slot[:, None] * value_slot + value[None, :],
        mask=inside[:, None] & (value < VALUE_DIM)[None, :],
        other=0,
    )
    if FLOAT8:
        v = decode_e4m3(v)
    mixed = tl.dot(weights.to(DOT), v.to(DOT), mixed * shrink[:, None], input_precision="tf32x3")
    return new_top, total * shrink + tl.sum(weights, 1), mixed


@dataclass(frozen=True, slots=True)
class Tiling:
    """How an item is computed. keys: in a block; warps, stages: of the software pipeline."""

    tile: int
    keys: int
    warps: int
    stages: int


def tiling(tile: int, key_dim: int, value_dim: int, itemsize: int, target: int, float8: bool = False) -> Tiling:
    """What fits registers and shared memory; itemsize: of the queries, in bytes. target: compute capability times ten.

    Not tuned on hardware yet; `benchmarks/triton_resources.py` shows what it takes. Loads of keys wait for loads of
    page numbers, so that it takes five stages to have two blocks of keys under way.
    """
    both = key_dim + value_dim
    keys = 64 if both <= 320 else 32 if both <= 512 else 16
    # Heads in two parts (192 is 128 + 64) spill with five stages; programs then hide the waiting from each other.
    stages = 4 if tile == NARROW_TILE and keys == 64 and head_parts(key_dim)[1] else 5
    if not 90 <= target < 120 and tile > NARROW_TILE:  # without wgmma, what is multiplied goes through registers
        keys, stages = min(keys, 32), 4 if float8 else 5
    keys, stages = (keys, stages) if itemsize <= 2 else (max(16, keys // 2), 2)
    return Tiling(tile, keys, 4 if tile == NARROW_TILE else 8, stages)


def head_parts(dim: int) -> tuple[int, int]:
    """Powers of two to multiply a head in, the second perhaps 0: 64 -> 64, 0; 80 -> 64, 16; 576 -> 512, 64."""
    if dim <= SMALLEST_DOT:
        return SMALLEST_DOT, 0
    main = 1 << (dim.bit_length() - 1)
    if dim == main:
        return main, 0
    rest = max(SMALLEST_DOT, triton.next_power_of_2(dim - main))
    return (2 * main, 0) if rest == main else (main, rest)


def constants(
    dtype: torch.dtype,
    group: int,
    key_dim: int,
    value_dim: int,
    tile: int,
    page_size: int,
    target: int,
    *,
    direct: bool = True,
    sinks: bool = False,
    capped: bool = False,
    limited: bool = False,
    float8: bool = False,
) -> dict[str, Any]:
    """What the kernel is compiled for. dtype: of the queries."""
    main, rest = head_parts(key_dim)
    how = tiling(tile, key_dim, value_dim, dtype.itemsize, target, float8)
    return {
        "GROUP": group,
        "PAGE_SIZE": page_size,
        "KEY_DIM": key_dim,
        "VALUE_DIM": value_dim,
        "MAIN": main,
        "REST": rest,
        "VALUES": max(SMALLEST_DOT, triton.next_power_of_2(value_dim)),
        "TILE": tile,
        "KEYS": how.keys,
        "DIRECT": direct,
        "HAS_SINKS": sinks,
        "CAPPED": capped,
        "LIMITED": limited,
        "FLOAT8": float8,
        "DOT": dot_dtype(dtype),
        "num_warps": how.warps,
        "num_stages": how.stages,
    }


@op(changes=("out", "lse"))
def attend_items(
    out: torch.Tensor,
    lse: torch.Tensor | None,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    sinks: torch.Tensor | None,
    items: torch.Tensor,
    rows: torch.Tensor,
    first: torch.Tensor,
    last: torch.Tensor,
    pages: torch.Tensor,
    tile: int,
    page_size: int,
    scaling: float,
    softcap: float,
    limited: bool,
) -> None:
    """query [T, heads, key_dim], keys and values [slots, kv_heads, *]: any strides, but dense in the last dimension.

    keys, values: as the queries, or uint8 holding e4m3. softcap: 0 for none. limited: whether rows may
    not see all keys before `last`.
    lse: None: `out` [T, heads, value_dim] is final. Else both are of parts: float32 [parts, heads, value_dim] and
    [parts, heads].
    """
    heads, key_dim = query.shape[1:]
    kv_heads, value_dim = values.shape[1:]
    compiled_for = constants(
        query.dtype, heads // kv_heads, key_dim, value_dim, tile, page_size, target_of(query.device),
        direct=lse is None, sinks=sinks is not None, capped=softcap > 0, limited=limited,
        float8=keys.dtype == torch.uint8,
    )  # fmt: skip
    attend_kernel[(items.shape[0], kv_heads)](
        query, keys, values, query if sinks is None else sinks, out, out if lse is None else lse,
        items, rows, first, last, pages, scaling, softcap,
        query.stride(0), query.stride(1), keys.stride(0), keys.stride(1), values.stride(0), values.stride(1),
        out.stride(0), out.stride(1), 0 if lse is None else lse.stride(0), **compiled_for,
    )  # fmt: skip
