"""Penalties, biases and minimum lengths: a list of single logits to change, whatever the size of the vocabulary."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from runtime.kernels.triton.registered import op

_BLOCK = 256


@triton.jit(do_not_specialize=["count"])
def edit_kernel(logits, at, factor, amount, replace, count, BLOCK: tl.constexpr):
    """Some entries a program; no two of all have one place."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = i < count
    place = logits + tl.load(at + i, mask=inside, other=0)
    number = tl.load(place, mask=inside, other=0.0)
    by = tl.load(factor + i, mask=inside, other=1.0)
    number = tl.where(number > 0, number / by, number * by) + tl.load(amount + i, mask=inside, other=0.0)
    instead = tl.load(replace + i, mask=inside, other=0.0)
    tl.store(place, tl.where(instead < 0, instead, number), mask=inside)


@op(changes=("logits",))
def edit_logits(
    logits: torch.Tensor, at: torch.Tensor, factor: torch.Tensor, amount: torch.Tensor, replace: torch.Tensor
) -> None:
    """logits float32 [rows, vocab], contiguous; at: int64 [n], flat and without repeats; the rest float32 [n].

    A logit is divided by `factor` if it is positive, else multiplied; then `amount` is added. replace: below 0, what it
    becomes instead.
    """
    count = at.shape[0]
    edit_kernel[(triton.cdiv(count, _BLOCK),)](logits, at, factor, amount, replace, count, BLOCK=_BLOCK, num_warps=4)
