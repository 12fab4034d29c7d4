"""A step without memory for it: the same logits, in order, from smaller steps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from runtime.api import SamplingParams
from runtime.execution.halving import forward_in_halves
from runtime.scheduler.batch import ScheduledBatch
from tests.runtime.execution.test_sampler import request


def step(counts: list[int], logits_from: list[int]) -> ScheduledBatch:
    requests = []
    for name, (count, first) in enumerate(zip(counts, logits_from, strict=True)):
        whole = request(SamplingParams(), prompt=tuple(range(100 * name, 100 * name + count)), rows=count)
        requests.append(dataclasses.replace(whole, request_id=str(name), logits_from=first))
    return ScheduledBatch(tuple(requests))


class Small:
    """A device with memory for so many tokens; a token's logit is its id, and positions must come in order."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.steps: list[int] = []

    def forward(self, batch: ScheduledBatch, drawn: torch.Tensor | None = None) -> torch.Tensor:
        if batch.num_tokens > self.room:
            raise torch.OutOfMemoryError("no memory")
        assert drawn is None
        self.steps.append(batch.num_tokens)
        for share in batch.requests:
            np.testing.assert_array_equal(share.token_ids % 100, np.arange(share.start, share.start + share.count))
        rows = [share.token_ids[share.logits_from :] for share in batch.requests]
        return torch.from_numpy(np.concatenate(rows))[:, None].float()


@pytest.mark.parametrize("room", [1, 2, 3, 5, 8, 100])
def test_the_same_rows_in_the_same_order(room: int) -> None:
    batch = step([1, 7, 3, 1], [0, 6, 1, 1])
    device = Small(room)
    found = forward_in_halves(device.forward, batch)
    assert found[:, 0].tolist() == Small(100).forward(batch)[:, 0].tolist() == [0, 106, 201, 202]
    assert sum(device.steps) == 12 and max(device.steps) <= room


def test_halves_of_a_step_that_was_started_ahead() -> None:
    """Its tokens are on the device only; the halves have them on the host."""
    known = step([1, 1, 1], [0, 0, 0])
    unknown = known.with_tokens(np.full(3, 77))
    device = Small(2)
    found = forward_in_halves(device.forward, unknown, torch.tensor([0, 100, 200]))
    assert found[:, 0].tolist() == [0, 100, 200] and device.steps == [1, 2]


def test_what_cannot_be_halved_fails() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        forward_in_halves(Small(0).forward, step([4], [3]))
