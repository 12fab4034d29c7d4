"""The gate of a feed-forward layer: silu(gate) * up, of both in one tensor."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from runtime.kernels.triton.registered import op

_BLOCK = 1024


@triton.jit
def silu_multiply_kernel(gate_up, out, gate_up_row, out_row, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """A piece of a row a program."""
    row = tl.program_id(0).to(tl.int64)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < WIDTH
    gate = tl.load(gate_up + row * gate_up_row + at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * gate_up_row + WIDTH + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * out_row + at, (gate * tl.sigmoid(gate) * up).to(out.dtype.element_ty), mask=inside)


def _fake(gate_up: torch.Tensor) -> torch.Tensor:
    return torch.empty(gate_up.shape[0], gate_up.shape[1] // 2, dtype=gate_up.dtype, device=gate_up.device)


@op(fake=_fake)
def silu_multiply(gate_up: torch.Tensor) -> torch.Tensor:
    """gate_up [rows, 2 * n], dense in the last dimension -> silu(first half) * second half, [rows, n]."""
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    out = torch.empty(rows, width, dtype=gate_up.dtype, device=gate_up.device)
    silu_multiply_kernel[(rows, triton.cdiv(width, _BLOCK))](
        gate_up, out, gate_up.stride(0), out.stride(0), WIDTH=width, BLOCK=_BLOCK, num_warps=4
    )
    return out
