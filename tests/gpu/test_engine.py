"""The engine on the GPU: the tokens that the CPU gives, with and without graphs; and no waiting within a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="triton is for Linux")

from runtime.api import GenerateRequest, SamplingParams
from runtime.config import EngineConfig
from runtime.engine import Engine
from runtime.execution.model_runner import ModelRunner
from runtime.kernels import attention_items
from runtime.model.loader import load
from tests.runtime.execution.ahead_cases import check_nothing_waits
from tests.runtime.execution.stepping import Hand
from tests.runtime.model.families import FAMILIES, tiny_model
from tests.runtime.test_engine_parity import greedy, prompts_of

pytestmark = pytest.mark.gpu


def tokens_of(path: str, device: str, **settings: Any) -> list[tuple[int, ...]]:
    settings = {"dtype": "float32", "max_num_seqs": 16, "kv_cache_bytes": 64 << 20, **settings}
    with Engine(path, device=device, **settings) as engine:
        running = [engine.submit(greedy(prompt)) for prompt in prompts_of(0)]
        found = [tuple(request.result(100).outputs[0].token_ids) for request in running]
        engine.check_invariants()
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "settings",
    [{}, {"overlap": False}, {"cuda_graphs": False}, {"page_size": 1, "max_num_batched_tokens": 24}],
    ids=str,
)
def test_the_tokens_of_the_cpu(
    family: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_items, "MIN_SAVED_TOKENS", 1)
    path = tiny_model(family, tmp_path)
    assert tokens_of(path, "cuda", **settings) == tokens_of(path, "cpu")


def test_seeded_draws_are_those_of_the_cpu(tmp_path: Path) -> None:
    path = tiny_model("llama", tmp_path)
    sampling = SamplingParams(temperature=1.0, top_p=0.95, top_k=50, seed=7, max_tokens=20, n=4)
    answers = []
    for device in ("cuda", "cpu"):
        with Engine(path, device=device, dtype="float32", kv_cache_bytes=64 << 20) as engine:
            found = engine.submit(GenerateRequest(prompt=(5, 6, 7), sampling=sampling)).result(100)
            answers.append([tuple(output.token_ids) for output in found.outputs])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("cuda_graphs", [True, False])
def test_a_forward_never_waits_for_the_device(cuda_graphs: bool, tmp_path: Path) -> None:
    config = EngineConfig(
        model_path=tiny_model("llama", tmp_path), device="cuda", kv_cache_bytes=64 << 20, cuda_graphs=cuda_graphs
    )
    runner = ModelRunner(load(config), config)
    assert (runner.graphs is not None) == cuda_graphs
    hand = Hand(runner)
    requests = [hand.request(range(3, 40)), hand.request(range(9, 15))]
    for count in (5, 1, 1):  # the first two compile what is not compiled yet
        hand.step(*((request, count) for request in requests if request.computed + count <= len(request.tokens)))
    with waiting_is_an_error():
        hand.step((requests[0], 1))
        hand.step((requests[0], 4))


@pytest.mark.parametrize("cuda_graphs", [True, False])
def test_nothing_waits_between_two_steps(cuda_graphs: bool, tmp_path: Path) -> None:
    config = EngineConfig(
        model_path=tiny_model("llama", tmp_path), device="cuda", dtype="float32", page_size=4,
        kv_cache_bytes=64 << 20, cuda_graphs=cuda_graphs,
    )  # fmt: skip
    model = load(config)
    runner = ModelRunner(model, config)
    sampler = runner.backend.sampler(model.vocab_size, [2])
    check_nothing_waits(runner, sampler, nullcontext())  # compiles what is not compiled yet
    check_nothing_waits(runner, sampler, waiting_is_an_error())


def test_a_model_that_waits_runs_without_graphs_and_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EngineConfig(model_path=tiny_model("llama", tmp_path), device="cuda", kv_cache_bytes=64 << 20)
    decode = ModelRunner._decode

    def waits(self: ModelRunner, input_ids: torch.Tensor, *arguments: Any) -> torch.Tensor:
        input_ids.sum().item()
        return decode(self, input_ids, *arguments)

    monkeypatch.setattr(ModelRunner, "_decode", waits)
    runner = ModelRunner(load(config), config)
    assert runner.graphs is None
    hand = Hand(runner)
    request = hand.request(range(3, 40))
    for count in (5, 1, 20):
        hand.step((request, count))
    monkeypatch.undo()
    assert ModelRunner(load(config), config).graphs is not None


def test_others_may_record_graphs_outside_of_inference_mode(tmp_path: Path) -> None:
    config = EngineConfig(model_path=tiny_model("llama", tmp_path), device="cuda", kv_cache_bytes=64 << 20)
    runner = ModelRunner(load(config), config)
    assert runner.graphs is not None
    graph, total = torch.cuda.CUDAGraph(), torch.zeros(1, device="cuda")
    with torch.cuda.graph(graph):
        total += 1
    graph.replay()
    assert total.item() == 1


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_pool_takes_what_is_left_of_its_share(tmp_path: Path) -> None:
    path = tiny_model("llama", tmp_path)
    with Engine(path, device="cuda", gpu_memory_utilization=0.5) as engine:
        free, total = torch.cuda.mem_get_info()
        assert free >= 0.4 * total and engine.stats()["pages"] > 0


def test_a_pool_of_eight_bit_floats(tmp_path: Path) -> None:
    path = tiny_model("llama", tmp_path)
    assert len(tokens_of(path, "cuda", kv_cache_dtype="fp8")) == len(prompts_of(0))
