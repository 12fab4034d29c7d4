"""The engine on Triton's kernels, in the interpreter: the same greedy tokens as on the CPU's."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grammars.spec import Regex
from runtime.api import GenerateRequest, SamplingParams
from runtime.config import EngineConfig
from runtime.engine import Engine
from runtime.errors import RequestError
from runtime.execution.cuda_graphs import Run
from runtime.execution.model_runner import ModelRunner
from runtime.kernels import attention_items
from runtime.model.loader import load
from runtime.scheduler.batch import ScheduledBatch
from tests.runtime.execution.ahead_cases import check_nothing_waits
from tests.runtime.execution.stepping import Hand
from tests.runtime.model.families import tiny_model

QUICK = {"llama": 1, "gpt_oss": 2}
"""Families with how many of their layers: a plain decoder; sinks and windows."""
OTHERS = ("llama", "gemma2", "gpt_oss", "deepseek_v3", "gpt2", "qwen3", "mixtral", "llama4_text")
"""Softcaps; values narrower than keys; no rotary positions; norms of heads; experts; chunks."""


@pytest.fixture(autouse=True)
def every_shared_page_is_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_items, "MIN_SAVED_TOKENS", 1)
    monkeypatch.setattr(attention_items, "MIN_SPLIT", 16)


def requests_of(seed: int) -> list[GenerateRequest]:
    """Three that begin alike and one that does not; one has a constraint, one is drawn at random."""
    rng = random.Random(seed)
    trunk, other = [tuple(rng.randrange(3, 259) for _ in range(n)) for n in (26, 9)]
    greedy = {"temperature": 0.0, "max_tokens": 3, "ignore_eos": True}
    return [
        GenerateRequest(prompt=trunk, sampling=SamplingParams(**greedy)),
        GenerateRequest(prompt=trunk + other[:3], sampling=SamplingParams(**greedy, repetition_penalty=1.2)),
        GenerateRequest(
            prompt=trunk + other, sampling=SamplingParams(temperature=0.0, max_tokens=5), constraint=Regex("[a-f]{4}")
        ),
        GenerateRequest(prompt=other, sampling=SamplingParams(temperature=0.8, top_p=0.9, seed=3, max_tokens=3)),
    ]


def tokens_of(path: str, **settings: Any) -> list[tuple[int, ...]]:
    with Engine(path, dtype="float32", page_size=4, num_threads=1, kv_cache_bytes=1 << 20, **settings) as engine:
        running = [engine.submit(request) for request in requests_of(0)]
        found = [tuple(request.result(200).outputs[0].token_ids) for request in running]
        engine.check_invariants()
    return found


@pytest.mark.parametrize("family", QUICK)
def test_the_same_tokens_as_on_the_cpu(family: str, tmp_path: Path) -> None:
    layer_types = {"layer_types": ["sliding_attention", "full_attention"]} if family == "gpt_oss" else {}
    path = tiny_model(family, tmp_path, num_hidden_layers=QUICK[family], **layer_types)
    found = tokens_of(path, attention_backend="triton", overlap=True)
    assert found == tokens_of(path, attention_backend="cpu")


def test_chunks_of_prompts(tmp_path: Path) -> None:
    """Steps of which nobody wants logits, between others."""
    path = tiny_model("llama", tmp_path, num_hidden_layers=1)
    found = tokens_of(path, attention_backend="triton", max_num_batched_tokens=8)
    assert found == tokens_of(path, attention_backend="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("family", OTHERS)
def test_whole_tiny_models(family: str, tmp_path: Path) -> None:
    path = tiny_model(family, tmp_path)
    assert tokens_of(path, attention_backend="triton") == tokens_of(path, attention_backend="cpu")


def replaying(run: Run) -> tuple[torch.Tensor, Callable[[], None]]:
    """As a CUDA graph: what it reads and writes stays where it was."""
    logits = run()

    def replay() -> None:
        logits.copy_(run())

    return logits, replay


@pytest.mark.parametrize("family", ["llama", pytest.param("gemma2", marks=pytest.mark.slow)])
def test_steps_by_graph_are_the_same(family: str, tmp_path: Path) -> None:
    """Logits of replayed steps of every form, filled up with dummies, are those of steps without graphs.

    Also where the tokens are on the device only.
    """
    config = EngineConfig(
        model_path=tiny_model(family, tmp_path, **({"num_hidden_layers": 1} if family == "llama" else {})),
        attention_backend="triton",
        dtype="float32",
        page_size=4,
        kv_cache_bytes=1 << 20,
    )
    runner = ModelRunner(load(config), config)
    graphs = runner.record(4, 64, replaying)
    assert {key.form for key in graphs.keys} == {"direct", "merged", "tree"}
    rng = random.Random(1)
    trunk, short, long = ([rng.randrange(3, 259) for _ in range(count)] for count in (20, 3, 45))
    for prompts in ([short], [short, short[:2], long], [trunk, trunk + short, trunk + short[:2], short]):
        hand = Hand(runner)
        requests = [hand.request(prompts[0])]
        hand.step((requests[0], len(prompts[0])))
        for prompt in prompts[1:]:
            requests.append(hand.fork(requests[0], prompt))
            hand.step((requests[-1], len(prompt) - requests[-1].computed))
        hand.decode(requests, 1)
        expected = [request.logits.pop() for request in requests]
        for request in requests:
            request.computed -= 1
        taken: list[bool] = []
        runner.graphs = Recording(graphs.forward, taken)  # type: ignore[assignment]
        hand.step(*((request, 1) for request in requests))
        runner.graphs = None
        assert taken == [True]
        for request, logits in zip(requests, expected, strict=True):
            torch.testing.assert_close(request.logits[-1], logits, atol=1e-4, rtol=1e-4)


@dataclass
class Recording:
    """Graphs that write down whether they took a step."""

    inner: Callable[..., torch.Tensor | None]
    taken: list[bool]

    def forward(self, batch: ScheduledBatch, drawn: torch.Tensor | None) -> torch.Tensor | None:
        found = self.inner(batch)
        self.taken.append(found is not None)
        if found is not None:
            tokens = np.array([int(request.token_ids[0]) for request in batch.requests])
            known = found.clone()
            found = self.inner(batch.with_tokens(np.zeros_like(tokens)), torch.from_numpy(tokens))
            assert found is not None and torch.equal(found, known)
        return found


def test_a_pool_of_eight_bit_floats(tmp_path: Path) -> None:
    """Twice the pages (here four times: the model is of float32), and an answer near enough to be the same at first."""
    path = tiny_model("llama", tmp_path, num_hidden_layers=1)
    exact = EngineConfig(model_path=path, dtype="float32", attention_backend="triton", kv_cache_bytes=1 << 20)
    runners = [
        ModelRunner(load(config), config)
        for config in (exact, EngineConfig(**{**_fields(exact), "kv_cache_dtype": "fp8"}))
    ]
    assert runners[1].num_pages == 4 * runners[0].num_pages
    logits = []
    for runner in runners:
        hand = Hand(runner)
        request = hand.request(range(3, 20))
        hand.step((request, 12))
        hand.step((request, 5))
        logits.append(torch.stack(request.logits))
    assert ((logits[0] - logits[1]).norm() / logits[0].norm()) < 0.1
    assert not torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("by_graph", [False, True])
def test_nothing_waits_between_two_steps(by_graph: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_model("llama", tmp_path, num_hidden_layers=1)
    config = EngineConfig(
        model_path=path, attention_backend="triton", dtype="float32", page_size=4, kv_cache_bytes=1 << 20
    )
    model = load(config)
    runner = ModelRunner(model, config)
    runner.graphs = runner.record(2, 64, replaying) if by_graph else None
    check_nothing_waits(runner, runner.backend.sampler(model.vocab_size, [2]), forbidden_reads(monkeypatch))


@contextmanager
def forbidden_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What would wait for a GPU fails if this package or the model's code asks for it (the interpreter may).

    Of arrays for the device, `runtime.execution.staging` alone has the host's side.
    """
    reads = ("item", "tolist", "numpy", "cpu", "nonzero", "__bool__", "__int__", "__float__", "__index__", "__array__")

    def watched(name: str) -> Callable[..., Any]:
        original = getattr(torch.Tensor, name)

        def read(self: torch.Tensor, *arguments: Any, **named: Any) -> Any:
            caller = sys._getframe(1).f_globals["__name__"]
            if caller.startswith(("runtime.", "transformers.")) and caller != "runtime.execution.staging":
                raise AssertionError(f"{caller} calls {name} of a tensor")
            return original(self, *arguments, **named)

        return read

    with monkeypatch.context() as patch:
        for name in reads:
            patch.setattr(torch.Tensor, name, watched(name))
        yield


def _fields(config: EngineConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__slots__}


def test_what_cannot_run_says_so(tmp_path: Path) -> None:
    path = tiny_model("llama", tmp_path)
    with pytest.raises(RequestError, match="deterministic=True needs attention_backend='cpu'"):
        Engine(path, attention_backend="triton", deterministic=True)
    with pytest.raises(RequestError, match="needs attention_backend='triton'"):
        Engine(path, kv_cache_dtype="fp8")
    with pytest.raises(RequestError, match="attention_backend='cuda' must be one of"):
        EngineConfig(attention_backend="cuda")  # type: ignore[arg-type]
