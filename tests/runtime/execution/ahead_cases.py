"""A step that is started before the tokens which it computes are read, on any device."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager

import numpy as np
import torch

from runtime.api import SamplingParams
from runtime.execution.model_runner import ModelRunner
from runtime.execution.sampler import Sampler
from runtime.scheduler.batch import ScheduledBatch, ScheduledRequest, TokenHistory

GREEDY = SamplingParams(temperature=0.0)
EDITED = SamplingParams(repetition_penalty=1.3, logit_bias={5: 2.0}, min_tokens=9, top_k=20, top_p=0.9, min_p=0.01)
ALLOWED = 96


def check_nothing_waits(runner: ModelRunner, sampler: Sampler, forbidden: AbstractContextManager[None]) -> None:
    """From a step's logits to the launch of the next step, the host reads nothing of what the device computes.

    forbidden: in which reading fails. The next step's logits are those of the same step with tokens from the host.
    """
    known = ScheduledBatch((_prompt(GREEDY, 0), _prompt(EDITED, 1)))
    masks = np.full((2, -(-sampler.vocab_size // 32)), -1, np.int32)
    masks[1, ALLOWED // 32 :] = 0
    following = ScheduledBatch(tuple(_after(request) for request in known.requests))
    logits = runner.forward(known)
    with forbidden:
        drawn = sampler.draw(logits, known, masks)
        ahead = runner.forward(following, drawn.token_ids)
    ahead = ahead.clone()
    tokens = drawn.read().token_ids
    assert tokens.shape == (2,) and tokens[1] < ALLOWED
    torch.testing.assert_close(ahead, runner.forward(following.with_tokens(tokens)), atol=1e-4, rtol=1e-4)


def _prompt(sampling: SamplingParams, number: int) -> ScheduledRequest:
    tokens = np.arange(3, 9, dtype=np.int64) + 20 * number
    pages = np.array([2 * number, 2 * number + 1], np.int32)
    return ScheduledRequest(str(number), tokens, 0, pages, 5, True, sampling, TokenHistory(tokens, 6, number))


def _after(request: ScheduledRequest) -> ScheduledRequest:
    """As `Scheduler.schedule_ahead` makes it."""
    return dataclasses.replace(request, token_ids=request.token_ids[-1:], start=6, logits_from=0)
