"""Drives a `ModelRunner` by hand: requests with page tables, computed in steps of any make-up."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from runtime.api import SamplingParams
from runtime.execution.model_runner import ModelRunner
from runtime.kernels.cpu_ops import CpuOps
from runtime.scheduler.batch import ScheduledBatch, ScheduledRequest, TokenHistory


def wait_until_compiled(ops: CpuOps) -> None:
    """Until the compiled kernels are used, or five minutes."""
    end = time.monotonic() + 300
    while not ops.ready and time.monotonic() < end:
        time.sleep(0.05)
    assert ops.ready


@dataclass
class HandRequest:
    """A request with its pages; `computed` positions are in the pool."""

    tokens: list[int]
    pages: list[int]
    computed: int = 0
    logits: list[torch.Tensor] = field(default_factory=list)
    """One row for each computed position."""


class Hand:
    """Gives out pages in random order and computes steps. All logits are kept on the requests."""

    def __init__(self, runner: ModelRunner, seed: int = 0) -> None:
        self.runner = runner
        self._free = list(range(runner.num_pages))
        random.Random(seed).shuffle(self._free)

    def request(self, tokens: Sequence[int]) -> HandRequest:
        return HandRequest(list(tokens), [])

    def fork(self, parent: HandRequest, tokens: Sequence[int]) -> HandRequest:
        """A request that shares the parent's full pages as far as the tokens agree and are computed."""
        size = self.runner.page_size
        same = 0
        while same < min(parent.computed, len(tokens) - 1) and parent.tokens[same] == tokens[same]:
            same += 1
        pages = same // size
        return HandRequest(list(tokens), parent.pages[:pages], pages * size, parent.logits[: pages * size])

    def step(self, *shares: tuple[HandRequest, int]) -> None:
        """Computes the next `count` positions of each request in one forward."""
        size = self.runner.page_size
        scheduled = []
        for request, count in shares:
            end = request.computed + count
            while len(request.pages) * size < end:
                request.pages.append(self._free.pop())
            scheduled.append(
                ScheduledRequest(
                    request_id=str(id(request)),
                    token_ids=np.array(request.tokens[request.computed : end], dtype=np.int64),
                    start=request.computed,
                    page_table=np.array(request.pages, dtype=np.int32),
                    logits_from=0,
                    samples=False,
                    sampling=SamplingParams(),
                    history=TokenHistory(np.array(request.tokens, dtype=np.int64), len(request.tokens), 0),
                )
            )
        rows = self.runner.forward(ScheduledBatch(tuple(scheduled))).clone()  # the next step may overwrite them
        assert rows.shape[0] == sum(count for _, count in shares)
        assert rows.dtype == torch.float32
        for request, count in shares:
            request.logits.extend(rows[:count])
            rows = rows[count:]
            request.computed += count

    def decode(self, requests: Sequence[HandRequest], steps: int) -> None:
        """Greedy decoding of requests whose prompts are computed."""
        for _ in range(steps):
            for request in requests:
                request.tokens.append(int(request.logits[-1].argmax()))
            self.step(*((request, 1) for request in requests))
