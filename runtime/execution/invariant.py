"""A runner and a sampler for which a row's bits do not depend on its company (`EngineConfig.deterministic`).

A matrix product with another number of rows may add up in another order, so a row's last bits depend on what else is in
the step, on how prompts are cut into chunks, and on what the cache holds. Here every forward has the same shape: a step
is cut into blocks of exactly as many rows, each a request of its own with one token, and the last block is filled up
with rows that nobody reads. `CpuAttention(alone=True)` then takes one query at a time, over keys in the text's order.

    rows of the step    | 0 ............. 15 | 16 ............. 31 | 32 .. 35, filled up |
    forwards                      1                     2                     3

Whether a row's place in a block, or its neighbours, leave a trace is tried when the engine is made. Where they do, and
where a model sends rows to experts (whose products have as many rows as happen to come), blocks have one row.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runtime.api import SamplingParams, TokenLogprob
from runtime.errors import RequestError
from runtime.scheduler.batch import SampledTokens, ScheduledBatch, ScheduledRequest, TokenHistory

BLOCK = 16
"""Rows of a forward. One row costs nearly as much as sixteen: both read all weights."""
TRIALS = 6


class InnerSampler(Protocol):
    def sample(
        self, logits: torch.Tensor, batch: ScheduledBatch, masks: NDArray[np.int32] | None = None
    ) -> SampledTokens: ...


class RowRunner(Protocol):
    """A `ModelRunner` whose attention takes one query at a time."""

    num_pages: int
    page_size: int

    def forward(self, batch: ScheduledBatch) -> torch.Tensor: ...

    def embed(self, token_ids: Sequence[int]) -> NDArray[np.float32]: ...


class InvariantRunner:
    """As the runner it is made from, with one page less: the rows that fill up blocks write to the last one."""

    def __init__(self, runner: RowRunner, module: nn.Module, vocab_size: int) -> None:
        least = -(-BLOCK // runner.page_size) + 1
        if runner.num_pages < least:
            raise RequestError(
                f"deterministic=True needs a pool of {least} pages, and this one has {runner.num_pages}; "
                "raise kv_cache_bytes"
            )
        if (device := next(module.parameters()).device).type != "cpu":
            raise RequestError(f"deterministic=True runs on the CPU, not on {device}; set device='cpu'")
        self._runner = runner
        self.page_size = runner.page_size
        self.num_pages = runner.num_pages - 1
        self._filler = _row(0, 0, [self.num_pages])
        self.block = BLOCK
        if _has_experts(module) or not self._rows_leave_no_trace(vocab_size):
            self.block = 1

    @torch.inference_mode()
    def forward(self, batch: ScheduledBatch) -> torch.Tensor:
        """See `ModelRunner.forward`. A row reads what rows before it, in this block or an earlier one, have written."""
        rows = [row for share in batch.requests for row in _rows_of(share, self.page_size)]
        logits = [self._forward_block(rows[begin : begin + self.block]) for begin in range(0, len(rows), self.block)]
        wanted = np.concatenate([np.arange(share.count) >= share.logits_from for share in batch.requests])
        return torch.cat(logits)[torch.from_numpy(wanted)]

    def embed(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """See `ModelRunner.embed`: a text is computed alone, so nothing leaves a trace."""
        return self._runner.embed(token_ids)

    def _forward_block(self, rows: Sequence[ScheduledRequest]) -> torch.Tensor:
        """Logits of these rows; the whole block's are computed, for the head is a product too."""
        filled = (*rows, *[self._filler] * (self.block - len(rows)))
        return self._runner.forward(ScheduledBatch(filled))[: len(rows)].clone()  # the next block may overwrite it

    def _rows_leave_no_trace(self, vocab_size: int) -> bool:
        """Whether the tokens of a text give the same bits at other places in a block, and before other tokens."""
        rng = random.Random(0)
        pages = range(-(-BLOCK // self.page_size))
        text = [_row(rng.randrange(vocab_size), position, pages) for position in range(BLOCK)]
        expected = self._forward_block(text)
        for _ in range(TRIALS):
            kept = rng.randrange(1, BLOCK + 1)
            other = text[:kept] + [_row(rng.randrange(vocab_size), position, pages) for position in range(kept, BLOCK)]
            order = rng.sample(range(BLOCK), BLOCK)
            found = self._forward_block([other[position] for position in order])
            if not torch.equal(found[[order.index(position) for position in range(kept)]], expected[:kept]):
                return False
        return True


class InvariantSampler:
    """As the sampler it is made from, which it asks for one row at a time."""

    def __init__(self, sampler: InnerSampler) -> None:
        self._sampler = sampler

    def draw(
        self, logits: torch.Tensor, batch: ScheduledBatch, masks: NDArray[np.int32] | None = None
    ) -> SampledTokens:
        token_ids: list[int] = []
        logprobs: list[TokenLogprob | None] = []
        scored: dict[str, tuple[TokenLogprob, ...]] = {}
        row = 0
        for share in batch.requests:
            for one in _rows_of(share, 1, share.logits_from):
                last = one.start + 1 == share.start + share.count
                one = dataclasses.replace(one, samples=share.samples and last)
                mask = masks[len(token_ids)][None] if masks is not None and one.samples else None
                sampled = self._sampler.sample(logits[row : row + 1], ScheduledBatch((one,)), mask)
                token_ids.extend(sampled.token_ids.tolist())
                logprobs.extend(sampled.logprobs)
                for name, values in sampled.scored.items():
                    scored[name] = scored.get(name, ()) + values
                row += 1
        return SampledTokens(np.array(token_ids, dtype=np.int64), tuple(logprobs), scored)


def _rows_of(share: ScheduledRequest, page_size: int, first: int = 0) -> Iterator[ScheduledRequest]:
    """Each token of a share, from its `first` on, as a request of its own, its logits wanted."""
    for offset in range(first, share.count):
        yield dataclasses.replace(
            share,
            token_ids=share.token_ids[offset : offset + 1],
            start=share.start + offset,
            page_table=share.page_table[: (share.start + offset) // page_size + 1],
            logits_from=0,
            samples=False,
        )


def _row(token_id: int, position: int, pages: Sequence[int]) -> ScheduledRequest:
    """One token of a text that lies in these pages."""
    tokens = np.array([token_id], dtype=np.int64)
    return ScheduledRequest(
        request_id="",
        token_ids=tokens,
        start=position,
        page_table=np.array(pages, dtype=np.int32),
        logits_from=0,
        samples=False,
        sampling=SamplingParams(),
        history=TokenHistory(tokens, 1, 0),
    )


def _has_experts(module: nn.Module) -> bool:
    return any(name.endswith("experts") for name, _ in module.named_modules())
