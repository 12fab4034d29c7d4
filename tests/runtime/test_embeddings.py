"""Embeddings are the hidden states that transformers computes, whatever the family and whatever else runs."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from runtime.api import GenerateRequest, SamplingParams
from runtime.engine import Engine
from runtime.errors import PromptTooLongError, RequestError
from runtime.model.discovery import decoder
from tests.runtime.model.families import FAMILIES, tiny_model

QUICK = ("llama", "gemma3_text", "gpt2", "mixtral")
SLOW = [pytest.param(family, marks=pytest.mark.slow) for family in FAMILIES if family not in QUICK]


@pytest.mark.parametrize("family", [*QUICK, *SLOW])
def test_they_are_the_last_hidden_states(family: str, tmp_path: Path) -> None:
    path, rng = tiny_model(family, tmp_path), random.Random(1)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    with Engine(path, dtype="float32", kv_cache_bytes=8 << 20, num_threads=1) as engine:
        beside = engine.submit(
            GenerateRequest(prompt=(5, 6, 7), sampling=SamplingParams(max_tokens=60, temperature=0.0, ignore_eos=True))
        )
        for length in (1, 2, 17, 90):
            ids = tuple(rng.randrange(3, 259) for _ in range(length))
            with torch.inference_mode():
                states = decoder(model)(torch.tensor([ids]), use_cache=False).last_hidden_state
            found = engine.embed(ids)
            assert found.num_tokens == length
            assert np.allclose(found.vector, states[0, -1].numpy(), atol=2e-4)
        beside.result()
        engine.check_invariants()


def test_what_is_longer_than_a_step_is_refused() -> None:
    with Engine(kv_cache_bytes=8 << 20, num_threads=1, max_num_batched_tokens=64) as engine:
        assert engine.embed("Ada").vector.dtype == np.float32
        with pytest.raises(PromptTooLongError, match="65 tokens"):
            engine.embed((7,) * 65)
        with pytest.raises(RequestError, match="token id"):
            engine.embed((10**8,))
