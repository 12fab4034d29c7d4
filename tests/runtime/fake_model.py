"""A model whose next token is a hash of all tokens before it, with a KV pool that remembers what was written where.

The hash of a position is computed from the hash that lies *in the pool* at the position before it. So a wrong page, a
page given to two owners, or one evicted too early changes the output, and the output of a right run is
`expected_output`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime.api import SamplingParams, TokenLogprob
from runtime.scheduler.batch import SampledTokens, ScheduledBatch, ScheduledRequest

MASK = (1 << 64) - 1


def absorb(state: int, token: int) -> int:
    state = (state ^ (token + 0x9E3779B97F4A7C15)) * 0xBF58476D1CE4E5B9 & MASK
    return state ^ (state >> 29)


def draw(state: int, seed: int, step: int, vocab_size: int, greedy: bool, allowed: Sequence[int] | None = None) -> int:
    mixed = absorb(state, 0 if greedy else 1 + seed * 1000003 + step)
    tokens = range(vocab_size) if allowed is None else allowed
    return tokens[absorb(mixed, 7) % len(tokens)]


def score(state: int, token: int) -> float:
    return -(absorb(state, token) % 10_000) / 1000


def expected_output(prompt: Sequence[int], sampling: SamplingParams, vocab_size: int, seed: int = 0) -> list[int]:
    """What a run of `prompt` alone gives, without end of text, stops and constraints."""
    state, output = 0, []
    for token in prompt:
        state = absorb(state, token)
    for step in range(sampling.max_tokens):
        output.append(draw(state, seed, step, vocab_size, sampling.temperature < 1e-6))
        state = absorb(state, output[-1])
    return output


def expected_scores(tokens: Sequence[int], start: int) -> list[float]:
    """Scores of tokens[start:]."""
    state, scores = 0, []
    for index, token in enumerate(tokens):
        if index >= start:
            scores.append(score(state, token))
        state = absorb(state, token)
    return scores


@dataclass
class FakeLogits:
    states: list[list[int]]
    """For each request of the batch the hashes of its rows."""


class FakeRunner:
    """The contract of `ModelRunner`."""

    def __init__(self, num_pages: int, page_size: int) -> None:
        self.num_pages, self.page_size = num_pages, page_size
        self.pool = [0] * (num_pages * page_size)
        self.num_computed = 0
        self.num_steps = 0
        self.num_ahead = 0
        """Steps whose tokens were not yet known to the scheduler."""

    def forward(self, batch: ScheduledBatch, drawn: np.ndarray | None = None) -> FakeLogits:
        self.num_steps += 1
        if drawn is not None:
            self.num_ahead += 1
            batch = batch.with_tokens(drawn)
        return FakeLogits([self._forward_one(request) for request in batch.requests])

    def _slot(self, request: ScheduledRequest, position: int) -> int:
        return int(request.page_table[position // self.page_size]) * self.page_size + position % self.page_size

    def _forward_one(self, request: ScheduledRequest) -> list[int]:
        assert request.count >= 1 and len(request.page_table) == -(-(request.start + request.count) // self.page_size)
        state = self.pool[self._slot(request, request.start - 1)] if request.start else 0
        rows, tokens = [], request.history.token_ids
        for offset, token in enumerate(request.token_ids.tolist()):
            assert request.start + offset == len(tokens) or token == tokens[request.start + offset]
            state = absorb(state, token)
            self.pool[self._slot(request, request.start + offset)] = state
            if offset >= request.logits_from:
                rows.append(state)
        self.num_computed += request.count
        return rows


class FakeSampler:
    """The contract of `Sampler`."""

    def __init__(self, vocab_size: int, seed: int = 0) -> None:
        self.vocab_size = vocab_size

    def draw(self, logits: FakeLogits, batch: ScheduledBatch, masks: np.ndarray | None = None) -> SampledTokens:
        drawn, logprobs, scored = [], [], {}
        states = iter(logits.states if batch.rows is None else [logits.states[row] for row in batch.rows])
        for request in batch.requests:
            rows = next(states) if batch.rows is None or request.samples else []
            assert len(rows) == request.count - request.logits_from
            tokens = request.history.token_ids
            first = request.start + request.logits_from + 1
            scores = [
                TokenLogprob(int(tokens[first + i]), score(rows[i], int(tokens[first + i])))
                for i in range(request.num_scored)
            ]
            if scores:
                scored[request.request_id] = tuple(scores)
            if request.samples:
                allowed = None if masks is None else self._allowed(masks[len(drawn)])
                step = request.history.step
                greedy = request.sampling.temperature < 1e-6
                token = draw(rows[-1], request.history.seed, step, self.vocab_size, greedy, allowed)
                drawn.append(token)
                wanted = request.sampling.logprobs is not None
                logprobs.append(TokenLogprob(token, score(rows[-1], token)) if wanted else None)
        return SampledTokens(np.array(drawn, dtype=np.int64), tuple(logprobs), scored)

    def _allowed(self, row: np.ndarray) -> list[int]:
        bits = np.unpackbits(row.view(np.uint8), bitorder="little")[: self.vocab_size]
        return np.flatnonzero(bits).tolist()
