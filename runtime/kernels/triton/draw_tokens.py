"""From rows of logits to tokens: mask, temperature, min-p, top-k, top-p and the draw, in one kernel.

Greedy rows take one pass over their logits, rows drawn from the whole distribution three. A threshold (top-k, top-p) is
found by bisection among the values that occur, which is exact, about 15 passes; they find the row in the L2 cache.
The rules are `runtime.execution.sampler`'s: ties with the last one kept are kept, and a draw inverts the distribution
function at a number that the host made from the request's seed and step.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from runtime.kernels.triton.registered import op

_BLOCK = 4096
_NEGLIGIBLE = tl.constexpr(100.0)
"""Logits so far below the largest have no weight in float32."""


@triton.jit
def draw_kernel(
    logits, masks, mask_rows, temperature, top_k, top_p, min_p, uniform, out, logits_row, masks_row,
    VOCAB: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr, RANDOM: tl.constexpr,
):  # fmt: skip
    """One row a program. MASKED, RANDOM: whether any row is."""
    row = tl.program_id(0)
    logits += row.to(tl.int64) * logits_row
    mask_row = -1
    if MASKED:
        mask_row = tl.load(mask_rows + row)
        masks += mask_row.to(tl.int64) * masks_row
    heat = 0.0
    if RANDOM:
        heat = tl.load(temperature + row)
    heat = tl.where(heat > 0, heat, 1.0)

    top = float("-inf")
    token = tl.zeros([], tl.int32)
    for begin in range(0, VOCAB, BLOCK):
        x = _block(logits, masks, mask_row, heat, begin, VOCAB, BLOCK, MASKED)
        largest, where = tl.max(x, 0, return_indices=True, return_indices_tie_break_left=True)
        token = tl.where(largest > top, begin + where, token)
        top = tl.maximum(top, largest)

    if RANDOM:  # noqa: SIM102  (known at compile time, and the condition inside it is not)
        if tl.load(temperature + row) > 0:
            least = top - _NEGLIGIBLE
            share = tl.load(min_p + row)
            if share > 0:
                least = tl.maximum(least, top + tl.log(share))
            wanted = tl.load(top_k + row)
            if (wanted > 0) & (wanted < VOCAB):
                least = _largest_reaching(
                    logits, masks, mask_row, heat, top, least, wanted.to(tl.float32), VOCAB, BLOCK, MASKED, False
                )
            mass = _mass(logits, masks, mask_row, heat, top, least, VOCAB, BLOCK, MASKED)
            share = tl.load(top_p + row)
            if share < 1:
                least = _largest_reaching(
                    logits, masks, mask_row, heat, top, least, (mass * share).to(tl.float32), VOCAB, BLOCK, MASKED, True
                )
                mass = _mass(logits, masks, mask_row, heat, top, least, VOCAB, BLOCK, MASKED)
            target = tl.load(uniform + row) * mass
            token = _at(logits, masks, mask_row, heat, top, least, target, VOCAB, BLOCK, MASKED)
    tl.store(out + row, token.to(tl.int64))


@triton.jit
def _block(logits, masks, mask_row, heat, begin, VOCAB: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr):
    """Logits over temperature, -inf where a token is masked."""
    at = begin + tl.arange(0, BLOCK)
    x = tl.load(logits + at, mask=at < VOCAB, other=float("-inf")) / heat
    if MASKED:
        constrained = (at < VOCAB) & (mask_row >= 0)
        word = tl.load(masks + at // 32, mask=constrained, other=-1)
        x = tl.where(((word >> (at % 32)) & 1) != 0, x, float("-inf"))
    return x


@triton.jit
def _mass(
    logits, masks, mask_row, heat, top, least, VOCAB: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr
):  # fmt: skip
    """Of all tokens from `least` up, relative to the likeliest; float64, added up as `_at` does."""
    mass = tl.zeros([], tl.float64)
    for begin in range(0, VOCAB, BLOCK):
        x = _block(logits, masks, mask_row, heat, begin, VOCAB, BLOCK, MASKED)
        mass += tl.sum(tl.where(x >= least, tl.exp(x - top), 0.0)).to(tl.float64)
    return mass


@triton.jit
def _at(
    logits, masks, mask_row, heat, top, least, target, VOCAB: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr
):  # fmt: skip
    """The first token at which the mass of the tokens up to it exceeds `target`."""
    token = -1
    before = tl.zeros([], tl.float64)
    for begin in range(0, VOCAB, BLOCK):
        if token < 0:
            x = _block(logits, masks, mask_row, heat, begin, VOCAB, BLOCK, MASKED)
            weights = tl.where(x >= least, tl.exp(x - top), 0.0)
            after = before + tl.sum(weights).to(tl.float64)
            if after > target:
                reached = tl.cumsum(weights, 0).to(tl.float64) + before
                count = tl.sum((reached <= target).to(tl.int32))
                # Two ways to add up may differ in the last bit; a token without weight must not come of it.
                last = tl.max(tl.where(weights > 0, tl.arange(0, BLOCK), -1))
                token = begin + tl.minimum(count, last)
            before = after
    return token


@triton.jit
def _largest_reaching(
    logits, masks, mask_row, heat, top, least, wanted,
    VOCAB: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr, BY_MASS: tl.constexpr,
):  # fmt: skip
    """The largest logit such that there are `wanted` tokens (or their mass) from it up; `least` if there are fewer.

    Invariant: `low` reaches it, nothing above `high` does, and `high` is a logit that occurs.
    """
    low = least
    high = top
    reached, lowest, _ = _count_from(logits, masks, mask_row, heat, top, least, VOCAB, BLOCK, MASKED, BY_MASS)
    if reached < wanted:
        high = low
    else:
        low = lowest
    while low < high:
        middle = low + (high - low) * 0.5
        middle = tl.where(middle > low, middle, high)
        reached, lowest, below = _count_from(logits, masks, mask_row, heat, top, middle, VOCAB, BLOCK, MASKED, BY_MASS)
        enough = reached >= wanted
        low = tl.where(enough, lowest, low)
        high = tl.where(enough, high, below)
    return low


@triton.jit
def _count_from(
    logits, masks, mask_row, heat, top, from_value,
    VOCAB: tl.constexpr, BLOCK: tl.constexpr, MASKED: tl.constexpr, BY_MASS: tl.constexpr,
):  # fmt: skip
    """Of logits >= from_value: their number or mass, and the smallest; and the largest of the others."""
    reached = 0.0
    lowest = float("inf")
    below = float("-inf")
    for begin in range(0, VOCAB, BLOCK):
        x = _block(logits, masks, mask_row, heat, begin, VOCAB, BLOCK, MASKED)
        counted = x >= from_value
        weights = tl.where(counted, 1.0, 0.0)
        if BY_MASS:
            weights = tl.where(counted, tl.exp(x - top), 0.0)
        reached += tl.sum(weights)
        lowest = tl.minimum(lowest, tl.min(tl.where(counted, x, float("inf"))))
        below = tl.maximum(below, tl.max(tl.where(counted, float("-inf"), x)))
    return reached, lowest, below


def _fake(logits: torch.Tensor, *arguments: object) -> torch.Tensor:
    return torch.empty(logits.shape[0], dtype=torch.int64, device=logits.device)


@op(fake=_fake)
def draw_tokens(
    logits: torch.Tensor,
    masks: torch.Tensor | None,
    mask_rows: torch.Tensor | None,
    temperature: torch.Tensor | None,
    top_k: torch.Tensor | None,
    top_p: torch.Tensor | None,
    min_p: torch.Tensor | None,
    uniform: torch.Tensor | None,
) -> torch.Tensor:
    """logits float32 [rows, vocab], dense in the last dimension -> int64 [rows].

    masks: int32 [*, ceil(vocab / 32)], bit 1 = allowed; mask_rows: int32 [rows], which of them is each row's, or -1.
    temperature, top_p, min_p: float32 [rows]; top_k: int32; uniform: float64, in [0, 1). Temperature 0: the likeliest.
    All None: for every row.
    """
    rows, vocab = logits.shape
    out = torch.empty(rows, dtype=torch.int64, device=logits.device)
    draw_kernel[(rows,)](
        logits, logits if masks is None else masks, logits if mask_rows is None else mask_rows,
        *(logits if p is None else p for p in (temperature, top_k, top_p, min_p, uniform)),
        out, logits.stride(0), 0 if masks is None else masks.stride(0),
        VOCAB=vocab, BLOCK=min(_BLOCK, triton.next_power_of_2(vocab)),
        MASKED=masks is not None, RANDOM=temperature is not None, num_warps=8,
    )  # fmt: skip
    return out
