"""What one step computes: the only thing that scheduler and execution share besides token ids. No tensors.

Positions of one request, with half-open intervals:

    0 ............ start ............ start + len(token_ids)
    |  in the pool  |  this step computes  |
                         ^ logits_from: logits are returned for [logits_from, len(token_ids)), counted from `start`
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.api import SamplingParams


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """One request's share of a step.

    token_ids:   int64 [count], the tokens to compute, count >= 1.
    start:       position of the first; everything before it is in the pool.
    page_table:  int32 [ceil((start + count) / page_size)], pages that hold positions [0, start + count).
    logits_from: in [0, count]; count: no logits are wanted (a chunk of a longer prompt).
    samples:     whether the last token's logits are drawn from.
    """

    request_id: str
    token_ids: NDArray[np.int64]
    start: int
    page_table: NDArray[np.int32]
    logits_from: int
    samples: bool
    sampling: SamplingParams

    @property
    def count(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class ScheduledBatch:
    """One step, in the order in which rows of logits come back."""

    requests: tuple[ScheduledRequest, ...]

    @property
    def num_tokens(self) -> int:
        return sum(r.count for r in self.requests)
