"""Parts of one row's attention, over different keys, become the row: weighted by their log-sum-exp."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from runtime.kernels.triton.attend import LOG2_E
from runtime.kernels.triton.registered import op


@triton.jit
def merge_kernel(
    out, parts, lse, sinks, row_parts, part_starts, out_row, out_head, part_row, part_head, lse_row,
    DIM: tl.constexpr, BLOCK: tl.constexpr, HAS_SINKS: tl.constexpr,
):  # fmt: skip
    """One row and head a program. A sink is a part without a value."""
    row = tl.program_id(0)
    head = tl.program_id(1)
    begin = tl.load(part_starts + row)
    end = tl.load(part_starts + row + 1)
    at = tl.arange(0, BLOCK)
    top = float("-inf")
    total = 0.0
    if HAS_SINKS:
        top = tl.load(sinks + head).to(tl.float32) * LOG2_E
        total = 1.0
    mixed = tl.zeros([BLOCK], tl.float32)
    for i in range(begin, end):
        part = tl.load(row_parts + i).to(tl.int64)
        score = tl.load(lse + part * lse_row + head)
        value = tl.load(parts + part * part_row + head * part_head + at, mask=at < DIM, other=0.0)
        new_top = tl.maximum(top, score)
        base = tl.where(new_top == float("-inf"), 0.0, new_top)
        shrink = tl.exp2(top - base)
        weight = tl.exp2(score - base)
        mixed = mixed * shrink + value * weight
        total = total * shrink + weight
        top = new_top
    mixed = mixed / tl.where(total > 0, total, 1.0)
    out += row.to(tl.int64) * out_row + head * out_head + at
    tl.store(out, mixed.to(out.dtype.element_ty), mask=at < DIM)


@op(changes=("out",))
def merge_parts(
    out: torch.Tensor,
    parts: torch.Tensor,
    lse: torch.Tensor,
    sinks: torch.Tensor | None,
    row_parts: torch.Tensor,
    part_starts: torch.Tensor,
) -> None:
    """out [T, heads, dim] of float32 parts [*, heads, dim] with lse [*, heads], in powers of 2.

    Row i has the parts row_parts[part_starts[i] : part_starts[i + 1]].
    """
    rows, heads, dim = out.shape
    merge_kernel[(rows, heads)](
        out, parts, lse, out if sinks is None else sinks, row_parts, part_starts,
        out.stride(0), out.stride(1), parts.stride(0), parts.stride(1), lse.stride(0),
        DIM=dim, BLOCK=triton.next_power_of_2(dim), HAS_SINKS=sinks is not None, num_warps=1 if dim <= 128 else 4,
    )  # fmt: skip
