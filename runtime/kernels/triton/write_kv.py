"""Keys and values of a step's tokens go into the pool, rounded to what the pool holds."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from runtime.kernels.triton.float8 import encode_e4m3
from runtime.kernels.triton.registered import op

_BLOCK = 4096
"""Elements that one program moves at most."""


@triton.jit
def write_kernel(
    source, pool, slots, source_row, source_head, pool_slot, pool_head,
    HEADS: tl.constexpr, DIM: tl.constexpr, SOME_HEADS: tl.constexpr, BLOCK: tl.constexpr, FLOAT8: tl.constexpr,
):  # fmt: skip
    """Some heads of one token a program."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * SOME_HEADS + tl.arange(0, SOME_HEADS)
    at = tl.arange(0, BLOCK)
    slot = tl.load(slots + row).to(tl.int64)
    inside = (head < HEADS)[:, None] & (at < DIM)[None, :]
    source += row * source_row + head.to(tl.int64)[:, None] * source_head + at[None, :]
    number = tl.load(source, mask=inside, other=0.0)
    if FLOAT8:
        number = encode_e4m3(number.to(tl.float32))
    pool += slot * pool_slot + head[:, None] * pool_head + at[None, :]
    tl.store(pool, number.to(pool.dtype.element_ty), mask=inside)


@op(changes=("keys", "values"))
def write_kv(
    keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> None:
    """key, value [rows, kv_heads, *], any strides but dense in the last, to keys, values [slots, kv_heads, *] at slots.

    keys, values: a float dtype, or uint8 for e4m3.
    """
    for pool, source in ((keys, key), (values, value)):
        rows, heads, dim = source.shape
        block = triton.next_power_of_2(dim)
        some = min(triton.next_power_of_2(heads), max(1, _BLOCK // block))
        write_kernel[(rows, triton.cdiv(heads, some))](
            source, pool, slots, source.stride(0), source.stride(1), pool.stride(0), pool.stride(1),
            HEADS=heads, DIM=dim, SOME_HEADS=some, BLOCK=block, FLOAT8=pool.dtype == torch.uint8, num_warps=4,
        )  # fmt: skip
