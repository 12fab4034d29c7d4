"""Ragged, chunked, paged and shared against the family's own full forward and `generate`, in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from runtime.config import EngineConfig
from runtime.execution import backends
from runtime.execution.model_runner import ModelRunner
from runtime.kernels import cpu_attention
from runtime.kernels.cpu_ops import CpuOps
from runtime.model.loader import load
from tests.runtime.execution.stepping import Hand, HandRequest
from tests.runtime.model.families import EOS, FAMILIES, MORE_FAMILIES, VOCAB_SIZE, tiny_model

PLAIN = {"llama": {}, "qwen2": {}, "mistral": {}, "arcee": {}, "smollm3": {}, "granite": {"residual_multiplier": 0.5}}
"""Families that are, or look like, plain decoders."""

KV_BYTES = 64 << 20
TOLERANCE = 1e-4
NEW_TOKENS = 12


@pytest.fixture(scope="module", params=[*FAMILIES, *(pytest.param(f, marks=pytest.mark.slow) for f in MORE_FAMILIES)])
def model_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model(request.param, tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("page_size", [1, 16])
def test_ragged_steps_equal_the_full_forward(model_path: str, page_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_attention, "MIN_SAVED_BYTES", 1)  # every shared page becomes a segment
    config = EngineConfig(model_path=model_path, page_size=page_size, kv_cache_bytes=KV_BYTES, dtype="float32")
    hand = Hand(ModelRunner(load(config), config))
    torch.manual_seed(1)
    trunk = _random_ids(37)
    first, second, third = hand.request(trunk), hand.request(_random_ids(23)), hand.request(_random_ids(5))
    hand.step((first, 20), (second, 7), (third, 4))  # chunks of prompts
    hand.step((first, 17), (second, 16), (third, 1))  # the rest, one of them alone in its request
    fourth = hand.fork(first, trunk[:34] + _random_ids(9))
    fifth = hand.fork(first, trunk[:36] + _random_ids(3))
    hand.step((fourth, len(fourth.tokens) - fourth.computed), (fifth, len(fifth.tokens) - fifth.computed))
    requests = [first, second, third, fourth, fifth]
    prompts = [list(request.tokens) for request in requests]
    hand.decode(requests, NEW_TOKENS)
    _compare(model_path, requests, prompts)


@pytest.mark.parametrize("family", PLAIN)
@pytest.mark.parametrize("compiled", [False, True])
def test_fused_decoders(family: str, compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With heads as wide as the compiled kernels want; the last requests are decoded alone, which is a path of its
    own.
    """
    monkeypatch.setattr(cpu_attention, "MIN_SAVED_BYTES", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(backends, "LOADED_WITHIN", None)
    if not compiled:
        monkeypatch.setattr(CpuOps, "_compile", lambda ops: None)
    path = tiny_model(family, tmp_path, head_dim=32, **PLAIN[family])
    config = EngineConfig(model_path=path, page_size=4, kv_cache_bytes=KV_BYTES, dtype="float32")
    runner = ModelRunner(load(config), config)
    assert (runner.decoder is not None) == (family in ("llama", "qwen2", "mistral"))
    if runner.decoder is not None:
        assert runner.decoder.takes_single() == compiled
    hand = Hand(runner)
    torch.manual_seed(2)
    trunk = _random_ids(30)
    first, second = hand.request(trunk), hand.request(_random_ids(9))
    hand.step((first, 30), (second, 8))
    hand.step((second, 1))
    third = hand.fork(first, trunk[:29] + _random_ids(5))
    hand.step((third, len(third.tokens) - third.computed))
    requests = [first, second, third]
    prompts = [list(request.tokens) for request in requests]
    hand.decode(requests[:2], NEW_TOKENS - 5)
    hand.decode(requests[2:], NEW_TOKENS)
    hand.decode(requests[:1], 5)
    hand.decode(requests[1:2], 5)
    _compare(path, requests, prompts)


def _random_ids(count: int) -> list[int]:
    return torch.randint(3, VOCAB_SIZE, (count,)).tolist()


def _compare(model_path: str, requests: list[HandRequest], prompts: list[list[int]]) -> None:
    reference = AutoModelForCausalLM.from_pretrained(model_path, attn_implementation="eager").eval()
    for request, prompt in zip(requests, prompts, strict=True):
        with torch.inference_mode():
            logits = reference(input_ids=torch.tensor([request.tokens]), use_cache=False).logits[0]
            generated = reference.generate(
                torch.tensor([prompt]), do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=None, pad_token_id=EOS
            )[0].tolist()
        torch.testing.assert_close(torch.stack(request.logits), logits.float(), atol=TOLERANCE, rtol=1e-4)
        assert request.tokens == generated
