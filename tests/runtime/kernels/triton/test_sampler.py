"""The device's sampler, in the interpreter, draws what the CPU's draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runtime.api import SamplingParams
from runtime.execution.device_sampler import DeviceSampler
from runtime.kernels.triton.draw_tokens import draw_tokens
from runtime.scheduler.batch import ScheduledBatch
from tests.runtime.execution.test_sampler import request
from tests.runtime.kernels.sampler_cases import check_against_the_cpu


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("vocab", [70, 5000])
def test_it_draws_what_the_cpu_draws(seed: int, vocab: int) -> None:
    check_against_the_cpu(seed, 8, vocab, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_more_draws(seed: int) -> None:
    check_against_the_cpu(100 + seed, 16, 300, "cpu")


def test_greedy_steps_have_no_parameters() -> None:
    check_against_the_cpu(5, 6, 4500, "cpu", greedy=True)


def test_draws_follow_the_distribution() -> None:
    """A number u in [0, 1) draws the token whose share of the line it falls on."""
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().repeat(20, 1)
    uniform = (torch.arange(20, dtype=torch.float64) + 0.5) / 20
    ones, zeros = torch.ones(20), torch.zeros(20)
    drawn = draw_tokens(logits, None, None, ones, torch.full((20,), -1, dtype=torch.int32), ones, zeros, uniform)
    assert drawn.bincount().tolist() == [2, 4, 6, 8]
    drawn = draw_tokens(logits, None, None, ones, torch.full((20,), 2, dtype=torch.int32), ones, zeros, uniform)
    assert (drawn >= 2).all() and abs(int((drawn == 3).sum()) - 4 / 7 * 20) < 2
    drawn = draw_tokens(logits, None, None, ones, torch.full((20,), 4, dtype=torch.int32), 0.6 * ones, zeros, uniform)
    assert drawn.unique().tolist() == [2, 3]


def test_rows_that_allow_everything_are_not_sent() -> None:
    """Whatever rows are: constrained from their first word on, only in a later one, or not at all."""
    masks = np.full((4, 3), -1, np.int32)
    logits = torch.zeros(4, 70)
    batch = ScheduledBatch(tuple(request(SamplingParams(temperature=0.0)) for _ in range(4)))
    sampler = DeviceSampler(70, [2])
    assert sampler.sample(logits, batch, masks).token_ids.tolist() == [0, 0, 0, 0]
    masks[1] = [0, 1 << 5, 0]
    logits[2, 40], masks[2, 1] = 1.0, ~(1 << 8)
    assert sampler.sample(logits, batch, masks).token_ids.tolist() == [0, 37, 0, 0]
    masks[[0, 3], 0] = 1 << 9
    assert sampler.sample(logits, batch, masks).token_ids.tolist() == [9, 37, 0, 9]


def test_a_mask_wins_over_a_suppressed_token() -> None:
    sampling = SamplingParams(temperature=1.0, min_tokens=5, max_tokens=9)
    only_the_end = np.zeros((1, 3), np.int32)
    only_the_end[0, 0] = 1 << 2
    found = DeviceSampler(70, [2]).sample(torch.randn(1, 70), ScheduledBatch((request(sampling),)), only_the_end)
    assert found.token_ids.tolist() == [2]
