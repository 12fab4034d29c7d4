"""Root-mean-square norm of rows: one read, one write, sums in float32."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from runtime.kernels.triton.registered import op


@triton.jit
def rms_norm_kernel(x, weight, out, x_row, out_row, epsilon, offset, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """One row a program."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < WIDTH
    number = tl.load(x + row * x_row + at, mask=inside, other=0.0).to(tl.float32)
    factor = tl.rsqrt(tl.sum(number * number) / WIDTH + epsilon)
    scale = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32) + offset
    tl.store(out + row * out_row + at, (number * factor * scale).to(out.dtype.element_ty), mask=inside)


def _fake(x: torch.Tensor, weight: torch.Tensor, epsilon: float, offset: float) -> torch.Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device=x.device)


@op(fake=_fake)
def rms_norm(x: torch.Tensor, weight: torch.Tensor, epsilon: float, offset: float) -> torch.Tensor:
    """x [rows, width], dense in the last dimension. offset: added to the weight (Gemma's is 1)."""
    rows, width = x.shape
    out = torch.empty(rows, width, dtype=x.dtype, device=x.device)
    block = triton.next_power_of_2(width)
    rms_norm_kernel[(rows,)](
        x, weight, out, x.stride(0), out.stride(0), epsilon, offset, WIDTH=width, BLOCK=block,
        num_warps=min(16, max(1, block // 512)),
    )  # fmt: skip
    return out
