"""Steps started before the last one's tokens are read: the same answers, nothing lost, and nobody waits too early."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pytest

from grammars.spec import Choice, Regex
from runtime.api import GenerateRequest, SamplingParams
from runtime.engine import Engine
from runtime.errors import RequestAborted, RequestError
from runtime.scheduler.batch import SampledTokens, ScheduledBatch
from tests.runtime.fake_engine import FakeModel, fake_engine
from tests.runtime.fake_model import FakeLogits, FakeRunner, FakeSampler

CONSTRAINTS = (None, None, None, Regex("[a-z]{3,9}"), Choice(['{"name": "Ada"}', '{"name": "Bob"}', "no"]))


class LateTokens:
    """Drawn tokens on their way: who computes with them does not wait, who reads them is written down."""

    def __init__(self, tokens: SampledTokens, events: list[str]) -> None:
        self.token_ids = tokens.token_ids
        self._tokens = tokens
        self._events = events

    def read(self) -> SampledTokens:
        self._events.append("read")
        return self._tokens


class LateSampler(FakeSampler):
    def __init__(self, vocab_size: int, events: list[str]) -> None:
        super().__init__(vocab_size)
        self.events = events

    def draw(self, logits: FakeLogits, batch: ScheduledBatch, masks: Any = None) -> Any:
        self.events.append("draw")
        return LateTokens(super().draw(logits, batch, masks), self.events)


class WatchedRunner(FakeRunner):
    def __init__(self, num_pages: int, page_size: int, events: list[str]) -> None:
        super().__init__(num_pages, page_size)
        self.events = events

    def forward(self, batch: ScheduledBatch, drawn: np.ndarray | None = None) -> FakeLogits:
        self.events.append("forward" if drawn is None else "ahead")
        return super().forward(batch, drawn)


def watched_engine(events: list[str], **settings: Any) -> Engine:
    plain = fake_engine(overlap=True, **settings)
    plain.shutdown()
    model, config = FakeModel(), plain.config
    runner = WatchedRunner(200, config.page_size, events)
    return Engine.from_parts(config, model, runner, LateSampler(model.vocab_size, events))  # type: ignore[arg-type]


def random_request(rng: random.Random) -> GenerateRequest:
    """Any mixture of what ends a text, restricts it, edits its logits, or asks for scores."""
    constraint = rng.choice(CONSTRAINTS)
    sampling = SamplingParams(
        max_tokens=rng.randrange(20, 40) if constraint else rng.randrange(30),
        temperature=rng.choice([0.0, 1.0]),
        seed=rng.randrange(100),
        n=rng.choice([1, 1, 1, 3]),
        stop=rng.choice([(), (), ("a", "th")]),
        stop_token_ids=rng.choice([(), (7, 8)]),
        ignore_eos=constraint is None and rng.random() < 0.5,
        logprobs=rng.choice([None] * 14 + [0]),
        prompt_logprobs=rng.choice([None] * 6 + [0]),
    )
    prompt = tuple([5, 6, 7, 8] * rng.randrange(8) + [rng.randrange(20)])
    return GenerateRequest(prompt=prompt, sampling=sampling, constraint=constraint, priority=rng.randrange(3))


def answers(requests: list[GenerateRequest], seed: int, **settings: Any) -> tuple[list[Any], Engine]:
    """What became of the requests, which come at random moments; some are aborted, and have but a beginning."""
    rng, found = random.Random(seed), []
    with fake_engine(**settings) as engine:
        running = []
        for one in requests:
            running.append(engine.submit(one))
            if rng.random() < 0.1:
                rng.choice(running).abort()
            if rng.random() < 0.3:
                time.sleep(rng.random() * 0.003)
            if rng.random() < 0.1:
                engine.check_invariants()
        for request in running:
            try:
                found.append((True, request.result(60)))
            except RequestAborted as aborted:
                found.append((False, aborted.output))
        until = time.monotonic() + 20
        while engine.stats()["running"] or engine.stats()["waiting"]:
            assert time.monotonic() < until
        engine.check_invariants()
        assert engine.flush_cache()
    return found, engine


@pytest.mark.parametrize(
    ("seed", "settings"),
    [
        (0, {}),
        (1, {"num_pages": 40, "max_num_seqs": 4}),
        (2, {"page_size": 1, "num_pages": 160, "max_num_batched_tokens": 9}),
        (3, {"jump_forward": False}),
        (4, {"num_pages": 36, "enable_prefix_caching": False, "schedule_policy": "fcfs"}),
    ],
)
def test_the_answers_of_an_engine_without(seed: int, settings: dict[str, Any]) -> None:
    rng = random.Random(seed)
    requests = [random_request(rng) for _ in range(120)]
    expected, _ = answers(requests, seed, overlap=False, **settings)
    found, engine = answers(requests, seed, overlap=True, **settings)
    runner = engine._loop._runner
    assert isinstance(runner, FakeRunner) and runner.num_ahead > 10
    ended = 0
    for (whole, ours), (other_whole, theirs) in zip(found, expected, strict=True):
        for one, other in zip(ours.outputs, theirs.outputs, strict=True):
            if whole and other_whole:
                ended += 1
                assert (one.text, one.token_ids, one.finish_reason, one.stop_reason, one.logprobs) == (
                    other.text, other.token_ids, other.finish_reason, other.stop_reason, other.logprobs
                )  # fmt: skip
            else:
                shorter = min(len(one.token_ids), len(other.token_ids))
                assert one.token_ids[:shorter] == other.token_ids[:shorter]
    assert ended > 100


def test_the_next_step_is_started_before_tokens_are_read() -> None:
    events: list[str] = []
    with watched_engine(events) as engine:
        sampling = SamplingParams(max_tokens=6, temperature=0.0, ignore_eos=True)
        engine.submit(GenerateRequest(prompt=(5, 6, 7), sampling=sampling)).result(10)
    assert events == ["forward", *["draw", "ahead", "read"] * 5, "draw", "read"]


def test_masks_are_made_while_the_step_runs_that_they_are_for() -> None:
    """A constraint without forced tokens keeps no step waiting; one with them has each computed with what it forces."""
    events: list[str] = []
    with watched_engine(events) as engine:
        sampling = SamplingParams(max_tokens=40)
        engine.submit(GenerateRequest(prompt=(5,), sampling=sampling, constraint=Regex("[a-z]{4}[0-9]"))).result(10)
        assert events[:4] == ["forward", "draw", "ahead", "read"] and "forward" not in events[1:]
        events.clear()
        choice = Choice(['{"name": "Ada"}', '{"name": "Bob"}'])
        engine.submit(GenerateRequest(prompt=(5,), sampling=sampling, constraint=choice)).result(10)
        assert "ahead" not in events


def test_overlap_is_for_the_gpu_and_not_for_equal_bits() -> None:
    with fake_engine() as engine:
        assert not engine._loop._overlap
    with pytest.raises(RequestError, match="leave overlap at None"):
        fake_engine(overlap=True, deterministic=True)
