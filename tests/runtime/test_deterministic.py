"""`deterministic=True`: bit for bit the same answers and scores, whatever runs beside, in whatever chunks and pages."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from grammars.spec import Regex
from runtime.api import CompletionOutput, GenerateRequest, SamplingParams, TokenLogprob
from runtime.config import EngineConfig
from runtime.engine import Engine
from runtime.errors import RequestError
from runtime.execution import invariant
from runtime.execution.invariant import BLOCK, InvariantRunner
from runtime.execution.model_runner import ModelRunner
from runtime.model.loader import load
from tests.runtime.model.families import FAMILIES, tiny_model
from tests.runtime.test_engine_parity import pool_bytes

QUICK = ("llama", "gemma2", "mixtral", "gpt_oss")
WIDE = {"llama": {"head_dim": 32}}
"""Heads as wide as the compiled kernels want."""
Bits = tuple[CompletionOutput, tuple[TokenLogprob | None, ...] | None]


def requests_of(seed: int) -> list[GenerateRequest]:
    rng = random.Random(seed)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, 259) for _ in range(count))

    beginnings = [tokens(33), tokens(16)]
    requests = []
    for index in range(12):
        prompt = (rng.choice(beginnings) if index % 2 else ()) + tokens(rng.randrange(1, 40))
        sampling = SamplingParams(
            max_tokens=10,
            temperature=rng.choice([0.0, 0.8]),
            top_p=rng.choice([1.0, 0.9]),
            seed=index,
            logprobs=rng.choice([None, 3]),
            prompt_logprobs=rng.choice([None, 2]),
        )
        constraint = Regex("[a-z]{2,20}") if index % 4 == 3 else None
        requests.append(GenerateRequest(prompt=prompt, sampling=sampling, constraint=constraint))
    return requests


def serve(path: str, requests: list[GenerateRequest], seed: int, **settings: Any) -> list[Bits]:
    """Answers in the order of `requests`, which arrive at random moments and in random order, and noise with them."""
    rng = random.Random(seed)
    with Engine(path, dtype="float32", num_threads=1, deterministic=True, **settings) as engine:
        order = rng.sample(range(len(requests)), len(requests))
        running = {}
        for index in order:
            running[index] = engine.submit(requests[index])
            if rng.random() < 0.5:
                noise = tuple(rng.randrange(3, 259) for _ in range(rng.randrange(1, 50)))
                neighbour = engine.submit(GenerateRequest(prompt=noise, sampling=SamplingParams(max_tokens=20)))
                if rng.random() < 0.5:
                    time.sleep(rng.random() * 0.01)
                    neighbour.abort()
        outputs = [running[index].result(120) for index in range(len(requests))]
        engine.check_invariants()
        return [(output.outputs[0], output.prompt_logprobs) for output in outputs]


@pytest.fixture(
    scope="module",
    params=[
        *QUICK,
        *(pytest.param(f, marks=pytest.mark.slow) for f in FAMILIES if f not in QUICK),
    ],
)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model(request.param, tmp_path_factory.mktemp(request.param), **WIDE.get(request.param, {}))


def test_no_bit_depends_on_the_schedule(path: str) -> None:
    requests = requests_of(0)
    alone = serve(path, requests, 0, max_num_seqs=1, enable_prefix_caching=False)
    schedules: list[dict[str, Any]] = [
        {"page_size": 1, "max_num_batched_tokens": 7},
        {"page_size": 16},
        {"page_size": 4, "max_num_batched_tokens": 40, "kv_cache_bytes": pool_bytes(path, 200, 4)},
    ]
    for seed, settings in enumerate(schedules):
        assert serve(path, requests, seed, **settings) == alone


def test_without_it_some_bits_do(tmp_path: Path) -> None:
    """The test above can fail."""
    path = tiny_model("llama", tmp_path, head_dim=32)
    requests = requests_of(0)
    found = []
    for settings in ({"max_num_seqs": 1, "enable_prefix_caching": False}, {"max_num_batched_tokens": 40}):
        with Engine(path, dtype="float32", num_threads=1, **settings) as engine:
            outputs = [one.result(60) for one in [engine.submit(request) for request in requests]]
            found.append([(output.outputs[0], output.prompt_logprobs) for output in outputs])
    assert found[0] != found[1]


def runner_of(path: str, **settings: Any) -> InvariantRunner:
    config = EngineConfig(model_path=path, dtype="float32", kv_cache_bytes=1 << 20, deterministic=True, **settings)
    model = load(config)
    return InvariantRunner(ModelRunner(model, config), model.module, model.vocab_size)


def test_blocks_have_one_row_where_rows_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner_of(tiny_model("llama", tmp_path / "llama")).block == BLOCK
    experts = tiny_model("mixtral", tmp_path / "mixtral")
    assert runner_of(experts).block == 1
    forward = ModelRunner.forward

    def mixing(self: ModelRunner, batch: Any) -> torch.Tensor:
        logits = forward(self, batch)
        return logits + 1e-7 * logits.mean()

    monkeypatch.setattr(ModelRunner, "forward", mixing)
    assert runner_of(tiny_model("llama", tmp_path / "other")).block == 1
    assert invariant.TRIALS > 1


def test_a_pool_without_room_for_a_block_is_refused(tmp_path: Path) -> None:
    path = tiny_model("llama", tmp_path)
    with pytest.raises(RequestError, match="needs a pool of 5 pages, and this one has 1"):
        Engine(path, deterministic=True, page_size=4, kv_cache_bytes=pool_bytes(path, 4, 4))
