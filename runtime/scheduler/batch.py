"""What one step computes: the only thing that scheduler and execution share besides token ids. No tensors.

Positions of one request, with half-open intervals:

    0 ............ start ............ start + count ............ len(history.token_ids)
    |  in the pool  |  this step computes  |  known, for later steps  |
                         ^ start + logits_from: rows of logits are returned for [start + logits_from, start + count)

The row at position `p` tells the token at `p + 1`. Where that token is known it is *scored* (prompt and forced
tokens, if log-probabilities were asked for); where it is not, `p` is the last position known and the token is *drawn*
(`samples`).

Sharing inside a step: a request may read pages that a request *before it in the batch* writes in the same step (two
prompts with one beginning, both new). So in every layer, keys and values are written to the pool before those pages
are read.

A step may be *started ahead*: before the tokens that it computes are known here, because the device has drawn them
already. It is scheduled twice, to be computed (`Scheduler.schedule_ahead`) and to be drawn from (`Scheduler.schedule`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from runtime.api import SamplingParams, TokenLogprob
from runtime.prompt_layout import ProcessedImage, PromptLayout


@dataclass(frozen=True, slots=True)
class TokenHistory:
    """All tokens known of one request when the step is made: what penalties and the random draw depend on.

    token_ids:  int64 [prompt + output], read only; its entries never change.
    num_prompt: how many of them are the prompt.
    seed:       of this request's draws. A draw is a function of (seed, step) alone, whatever else is in the batch.
    """

    token_ids: NDArray[np.int64]
    num_prompt: int
    seed: int

    @property
    def prompt_ids(self) -> NDArray[np.int64]:
        return self.token_ids[: self.num_prompt]

    @property
    def output_ids(self) -> NDArray[np.int64]:
        return self.token_ids[self.num_prompt :]

    @property
    def step(self) -> int:
        """How many output tokens there are: the index of the token that is drawn next."""
        return len(self.token_ids) - self.num_prompt


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """One request's share of a step.

    token_ids:   int64 [count], the tokens to compute, count >= 1.
    start:       position of the first; everything before it is in the pool.
    page_table:  int32 [ceil((start + count) / page_size)], pages that hold positions [0, start + count).
    logits_from: in [0, count]; count: no logits are wanted (a chunk of a longer prompt).
    samples:     whether a token is drawn from the last row. All other rows score the token that follows theirs.
    layout:      where images are in the prompt of a vision-language model; else None.
    """

    request_id: str
    token_ids: NDArray[np.int64]
    start: int
    page_table: NDArray[np.int32]
    logits_from: int
    samples: bool
    sampling: SamplingParams
    history: TokenHistory
    layout: PromptLayout | None = None

    @property
    def count(self) -> int:
        return len(self.token_ids)

    @property
    def num_scored(self) -> int:
        """Rows that score a known token: positions `start + logits_from + i` score `history.token_ids[that + 1]`."""
        return self.count - self.logits_from - self.samples


@dataclass(frozen=True, slots=True)
class ScheduledBatch:
    """One step, in the order in which rows of logits come back.

    upcoming: images that later steps will need, soonest first; named in steps that have images themselves.
    rows:     of a step that was started ahead: int64, the rows of its logits that are still wanted, one for each
              request with `samples`. None: the step is to be computed, and has the rows that it asks for.
    """

    requests: tuple[ScheduledRequest, ...]
    upcoming: tuple[ProcessedImage, ...] = ()
    rows: NDArray[np.int64] | None = None

    def with_tokens(self, drawn: NDArray[np.int64]) -> ScheduledBatch:
        """A step that was made ahead, now that the token is known that each request computes."""
        known = (replace(r, token_ids=drawn[i : i + 1]) for i, r in enumerate(self.requests))
        return replace(self, requests=tuple(known))

    @property
    def num_tokens(self) -> int:
        return sum(r.count for r in self.requests)

    @property
    def num_samples(self) -> int:
        return sum(r.samples for r in self.requests)


@dataclass(frozen=True, slots=True)
class SampledTokens:
    """What came of a step.

    token_ids: int64 [num_samples], one for each request with `samples`, in the order of the batch.
    logprobs:  one for each of them: the drawn token's, or None where `sampling.logprobs` is None.
    scored:    by request id, one for each scored row in order; only requests with such rows have an entry.
               A token of the prompt has `sampling.prompt_logprobs` alternatives, one of the output `sampling.logprobs`.
    """

    token_ids: NDArray[np.int64]
    logprobs: tuple[TokenLogprob | None, ...] = ()
    scored: dict[str, tuple[TokenLogprob, ...]] = field(default_factory=dict)

    def read(self) -> SampledTokens:
        """What a sampler draws may still be on its way from the device, and is read; this is there."""
        return self
