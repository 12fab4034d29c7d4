"""Attention facts found without weights, and what the guard refuses."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from runtime.errors import UnsupportedModelError
from runtime.model.attention import ATTENTION_NAME
from runtime.model.discovery import discover, freeze_rope
from tests.runtime.model.families import FAMILIES, MORE_FAMILIES, REFUSED, random_model, tiny_config

SHARING = ("gemma3n_text", "gemma4_text")
"""Families whose last two layers attend over the keys of others."""


@pytest.mark.parametrize("family", [*FAMILIES, *MORE_FAMILIES])
def test_every_family_shows_all_its_layers(family: str) -> None:
    config = tiny_config(family)
    layers = discover(config, family)
    shared = 2 if family in SHARING else 0
    own = config.num_hidden_layers - shared
    assert [layer.index for layer in layers[:own]] == list(range(own))
    assert all(layer.index < own for layer in layers[own:])
    assert len({layer.name for layer in layers}) == len(layers) == config.num_hidden_layers


@pytest.mark.parametrize("family", REFUSED)
def test_state_outside_attention_is_refused_by_name_and_reason(family: str) -> None:
    with pytest.raises(
        UnsupportedModelError, match=f"{family}: .*(attention calls|outside attention|no attention interface)"
    ):
        discover(tiny_config(family), family)


def test_facts_of_layers_that_differ() -> None:
    gemma = discover(tiny_config("gemma2"), "gemma2")
    assert [layer.sliding_window for layer in gemma] == [6, None, 6, None]
    assert {layer.softcap for layer in gemma} == {5.0}
    assert {layer.chunk_size for layer in discover(tiny_config("llama4_text"), "llama4")} == {8, None}
    assert {layer.has_sinks for layer in discover(tiny_config("gpt_oss"), "gpt_oss")} == {True}
    mla = discover(tiny_config("deepseek_v3"), "deepseek")[0]
    assert (mla.num_kv_heads, mla.key_dim, mla.value_dim) == (4, 16, 12)
    assert len({layer.key_dim for layer in discover(tiny_config("gemma4_text"), "gemma4")}) == 2


def test_the_attention_name_is_ours_alone() -> None:
    assert "flash" not in ATTENTION_NAME


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
        {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * 8,
            "long_factor": [3.0] * 8,
            "factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    ],
    ids=lambda rope: str(rope["rope_type"]),
)
def test_frozen_rope_ignores_long_neighbours(rope: dict[str, object]) -> None:
    config = tiny_config("llama", rope_parameters=rope, max_position_embeddings=64)
    model = random_model(config)
    reference = AutoModelForCausalLM.from_config(config).eval()
    reference.load_state_dict(model.state_dict())
    freeze_rope(model, 200)
    long, short = torch.arange(3, 203)[None], torch.arange(3, 13)[None]
    with torch.inference_mode():
        alone = model(short, use_cache=False).logits
        torch.testing.assert_close(model(long, use_cache=False).logits, reference(long, use_cache=False).logits)
        assert torch.equal(model(short, use_cache=False).logits, alone)
