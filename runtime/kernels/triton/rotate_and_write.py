"""Rotary positions of queries and keys, and keys and values into the pool, from merged projections in one pass."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from runtime.kernels.triton.float8 import encode_e4m3
from runtime.kernels.triton.registered import op

_BLOCK = 2048
"""Pairs of elements that one program turns at most."""


@triton.jit
def rotate_and_write_kernel(
    qkv, cos, sin, slots, query, keys, values,
    qkv_row, cos_row, query_row, key_slot, key_head, value_slot, value_head,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, HALF: tl.constexpr, SOME_HEADS: tl.constexpr, BLOCK: tl.constexpr,
    FLOAT8: tl.constexpr,
):  # fmt: skip
    """Some heads of one token a program; of all heads, the first are queries, then come keys, then values."""
    row = tl.program_id(0).to(tl.int64)
    head = (tl.program_id(1) * SOME_HEADS + tl.arange(0, SOME_HEADS))[:, None]
    at = tl.arange(0, BLOCK)[None, :]
    inside = (head < HEADS + 2 * KV_HEADS) & (at < HALF)
    source = qkv + row * qkv_row + head * (2 * HALF) + at
    low = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    high = tl.load(source + HALF, mask=inside, other=0.0).to(tl.float32)
    angle = row * cos_row + at
    cos_low = tl.load(cos + angle, mask=at < HALF, other=0.0).to(tl.float32)
    cos_high = tl.load(cos + angle + HALF, mask=at < HALF, other=0.0).to(tl.float32)
    sin_low = tl.load(sin + angle, mask=at < HALF, other=0.0).to(tl.float32)
    sin_high = tl.load(sin + angle + HALF, mask=at < HALF, other=0.0).to(tl.float32)
    is_query = head < HEADS
    is_value = head >= HEADS + KV_HEADS
    new_low = tl.where(is_value, low, low * cos_low - high * sin_low)
    new_high = tl.where(is_value, high, high * cos_high + low * sin_high)
    to_query = query + row * query_row + head * (2 * HALF) + at
    tl.store(to_query, new_low.to(query.dtype.element_ty), mask=inside & is_query)
    tl.store(to_query + HALF, new_high.to(query.dtype.element_ty), mask=inside & is_query)
    if FLOAT8:
        new_low = encode_e4m3(new_low)
        new_high = encode_e4m3(new_high)
    slot = tl.load(slots + row).to(tl.int64)
    to_key = keys + slot * key_slot + (head - HEADS) * key_head + at
    is_key = inside & (head >= HEADS) & (head < HEADS + KV_HEADS)
    tl.store(to_key, new_low.to(keys.dtype.element_ty), mask=is_key)
    tl.store(to_key + HALF, new_high.to(keys.dtype.element_ty), mask=is_key)
    to_value = values + slot * value_slot + (head - HEADS - KV_HEADS) * value_head + at
    tl.store(to_value, new_low.to(values.dtype.element_ty), mask=inside & is_value)
    tl.store(to_value + HALF, new_high.to(values.dtype.element_ty), mask=inside & is_value)


def _fake(
    qkv: torch.Tensor, cos: object, sin: object, slots: object, keys: torch.Tensor, values: object
) -> torch.Tensor:
    kv_heads, dim = keys.shape[1:]
    return torch.empty(qkv.shape[0], qkv.shape[1] // dim - 2 * kv_heads, dim, dtype=qkv.dtype, device=qkv.device)


@op(changes=("keys", "values"), fake=_fake)
def rotate_and_write(
    qkv: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    slots: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
) -> torch.Tensor:
    """qkv [rows, (heads + 2 * kv_heads) * dim]; cos, sin [rows, dim]; keys, values [slots, kv_heads, dim].

    Returns rotated queries [rows, heads, dim]. keys, values: a float dtype, or uint8 for e4m3.
    """
    rows, (kv_heads, dim) = qkv.shape[0], keys.shape[1:]
    all_heads = qkv.shape[1] // dim
    query = torch.empty(rows, all_heads - 2 * kv_heads, dim, dtype=qkv.dtype, device=qkv.device)
    block = triton.next_power_of_2(dim // 2)
    some = min(triton.next_power_of_2(all_heads), max(1, _BLOCK // block))
    rotate_and_write_kernel[(rows, triton.cdiv(all_heads, some))](
        qkv, cos, sin, slots, query, keys, values, qkv.stride(0), cos.stride(0), query.stride(0),
        keys.stride(0), keys.stride(1), values.stride(0), values.stride(1),
        HEADS=all_heads - 2 * kv_heads, KV_HEADS=kv_heads, HALF=dim // 2, SOME_HEADS=some, BLOCK=block,
        FLOAT8=keys.dtype == torch.uint8, num_warps=4,
    )  # fmt: skip
    return query
