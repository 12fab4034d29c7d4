"""Greedy output of the engine against `generate` of transformers, token for token, in float32."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from runtime.api import GenerateRequest, SamplingParams
from runtime.engine import Engine
from tests.runtime.model.families import EOS, FAMILIES, MORE_FAMILIES, tiny_model

LENGTH = 12
NUM_PROMPTS = 16


def prompts_of(seed: int) -> list[tuple[int, ...]]:
    """Half of them begin alike, in three families; the rest share nothing."""
    rng = random.Random(seed)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, 259) for _ in range(count))

    beginnings = [tokens(33), tokens(16), tokens(5)]
    return [
        (rng.choice(beginnings) if index % 2 else ()) + tokens(rng.randrange(1, 30)) for index in range(NUM_PROMPTS)
    ]


QUICK = ("llama", "qwen2", "qwen3", "mistral", "gemma2", "gemma3_text", "gpt_oss", "mixtral", "gpt2", "deepseek_v3")
SLOW = [pytest.param(family, marks=pytest.mark.slow) for family in {**FAMILIES, **MORE_FAMILIES} if family not in QUICK]


@pytest.fixture(scope="module", params=[*QUICK, *SLOW])
def expected(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[list[int]]]:
    """The model's path, and what transformers makes of each prompt, alone."""
    path = tiny_model(request.param, tmp_path_factory.mktemp(request.param))
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    outputs = []
    for prompt in prompts_of(0):
        with torch.inference_mode():
            ids = model.generate(
                torch.tensor([prompt]), do_sample=False, max_new_tokens=LENGTH, eos_token_id=EOS, pad_token_id=0
            )
        outputs.append(ids[0, len(prompt) :].tolist())
    return path, outputs


def greedy(prompt: tuple[int, ...]) -> GenerateRequest:
    return GenerateRequest(prompt=prompt, sampling=SamplingParams(temperature=0.0, max_tokens=LENGTH))


@pytest.mark.parametrize(
    "settings",
    [
        {"page_size": 16, "max_num_seqs": 1, "overlap": True},
        {"page_size": 1},
        {"page_size": 16, "max_num_batched_tokens": 24},
        {"page_size": 1, "small_pool": True},
        {"page_size": 16, "small_pool": True, "overlap": True},
    ],
    ids=["alone-ahead", "together-1", "chunked-16", "evicting-1", "evicting-16-ahead"],
)
def test_greedy_equals_generate(expected: tuple[str, list[list[int]]], settings: dict[str, Any]) -> None:
    path, outputs = expected
    settings = {"max_num_seqs": 16, "dtype": "float32", "num_threads": 1, **settings}
    if settings.pop("small_pool", False):
        settings["kv_cache_bytes"] = pool_bytes(
            path, tokens=160 + 10 * settings["page_size"], page_size=settings["page_size"]
        )
    with Engine(path, **settings) as engine:
        running = [engine.submit(greedy(prompt)) for prompt in prompts_of(0)]
        for request, tokens in zip(running, outputs, strict=True):
            assert list(request.result(60).outputs[0].token_ids) == tokens
        stats = engine.stats()
        engine.check_invariants()
        assert engine.flush_cache()
        assert stats["cache_hit_tokens"] > 0
        if "kv_cache_bytes" in settings:
            assert stats["evicted_pages"] > 0


def test_random_schedules_change_nothing(expected: tuple[str, list[list[int]]]) -> None:
    """Arrivals, forks of answers, aborted neighbours, preemption and eviction: the same tokens."""
    path, outputs = expected
    rng = random.Random(3)
    pool = pool_bytes(path, tokens=200, page_size=4)
    settings: dict[str, Any] = {"page_size": 4, "kv_cache_bytes": pool, "max_num_batched_tokens": 40}
    with Engine(path, dtype="float32", num_threads=1, **settings) as engine:
        running = []
        for prompt, tokens in zip(prompts_of(0), outputs, strict=True):
            cut = rng.randrange(len(tokens))
            noise = tuple(rng.randrange(3, 259) for _ in range(rng.randrange(1, 60)))
            noisy = SamplingParams(max_tokens=30, seed=1, ignore_eos=True)
            neighbour = engine.submit(GenerateRequest(prompt=noise, sampling=noisy))
            running.append((engine.submit(greedy(prompt)), tokens))
            running.append((engine.submit(greedy(prompt + tuple(tokens[:cut]))), tokens[cut:]))
            if rng.random() < 0.5:
                time.sleep(rng.random() * 0.02)
                neighbour.abort()
        for request, tokens in running:
            assert list(request.result(60).outputs[0].token_ids)[: len(tokens)] == tokens
        stats = engine.stats()
        assert stats["evicted_pages"] > 0 and stats["cache_hit_tokens"] > 0


def pool_bytes(path: str, tokens: int, page_size: int) -> int:
    """A pool of so many tokens."""
    with Engine(path, page_size=page_size, kv_cache_bytes=1 << 20, dtype="float32") as engine:
        return (1 << 20) * (tokens // page_size) // int(engine.stats()["pages"]) + 1024


def test_an_engine_knows_where_it_comes_from(tmp_path: Path) -> None:
    path = tiny_model("llama", tmp_path)
    with Engine(path) as engine:
        assert engine.model_name == path and engine.decode(engine.encode("Hello 你好")) == "Hello 你好"
