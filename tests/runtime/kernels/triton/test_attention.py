"""Triton attention in the interpreter against the definition, in float64."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from runtime.kernels import attention_items
from runtime.kernels.triton.attend import head_parts
from tests.runtime.kernels.attention_cases import Case, check

DECODE = ((70, 1), (3, 1), (0, 1), (41, 1))
EXTEND = ((20, 7), (0, 19), (33, 1))
LAYERS: list[dict[str, Any]] = [
    {},
    {"num_kv_heads": 4},
    {"num_heads": 6, "num_kv_heads": 1},
    {"num_heads": 20, "num_kv_heads": 1, "key_dim": 16, "value_dim": 16},
    {"key_dim": 80, "value_dim": 80},
    {"key_dim": 24, "value_dim": 20},
    {"key_dim": 192, "value_dim": 128},
    {"softcap": 3.0},
    {"sliding_window": 9},
    {"sliding_window": 30, "softcap": 2.0},
    {"chunk_size": 8},
    {"has_sinks": True},
    {"has_sinks": True, "sliding_window": 7},
]


@pytest.fixture(autouse=True)
def every_shared_page_is_a_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And ranges of keys are cut where they would not be worth it."""
    monkeypatch.setattr(attention_items, "MIN_SAVED_TOKENS", 1)
    monkeypatch.setattr(attention_items, "MIN_SPLIT", 16)


@pytest.mark.parametrize("options", LAYERS, ids=str)
def test_every_kind_of_layer(options: dict[str, Any]) -> None:
    check(Case(DECODE, options, shared=2, num_programs=32), "cpu")


@pytest.mark.parametrize("options", [*LAYERS[::3], *(pytest.param(o, marks=pytest.mark.slow) for o in LAYERS)], ids=str)
def test_extending_every_kind_of_layer(options: dict[str, Any]) -> None:
    check(Case(EXTEND, options, shared=1, num_programs=4), "cpu")


@pytest.mark.parametrize("page_size", [1, 3, 64])
def test_page_sizes(page_size: int) -> None:
    check(Case(DECODE, {}, page_size, shared=1), "cpu")
    check(Case(EXTEND, {"sliding_window": 12}, page_size), "cpu")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("float8", [False, True])
def test_narrow_dtypes(dtype: torch.dtype, float8: bool) -> None:
    check(Case(DECODE, {}, shared=1, dtype=dtype, float8=float8), "cpu")
    check(Case(EXTEND, {"softcap": 5.0, "key_dim": 48}, dtype=dtype, float8=float8), "cpu")


def test_multi_head_latent_attention() -> None:
    """Keys of 512 + 64, values that are the first 512 of them."""
    mla = {"num_heads": 8, "num_kv_heads": 1, "key_dim": 576, "value_dim": 512, "scaling": 0.05}
    check(Case(((37, 1), (5, 3)), mla), "cpu")


@pytest.mark.parametrize("over_windows", [False, True])
@pytest.mark.parametrize("layer", [{}, {"sliding_window": 5}, {"chunk_size": 8}], ids=str)
def test_queries_of_images_see_the_whole_image(layer: dict[str, Any], over_windows: bool) -> None:
    spans = (((3, 12), (20, 26)), (), ((30, 41), (44, 49)))
    check(Case(((15, 15), (9, 4), (33, 17)), layer, 4, spans=spans, over_windows=over_windows), "cpu")


def test_a_step_whose_every_row_has_one_part_is_not_merged() -> None:
    check(Case(((20, 1), (30, 1)), {"has_sinks": True}, num_programs=1), "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_random_steps(seed: int) -> None:
    rng = random.Random(seed)
    new = [1] if rng.random() < 0.4 else [1, 1, 2, 5, 17, 40]
    requests = tuple((rng.choice([0, 3, 17, 64, 90]), rng.choice(new)) for _ in range(rng.randrange(1, 6)))
    kv_heads, group = rng.choice([(1, 1), (2, 1), (1, 5), (2, 4), (1, 17)])
    key_dim = rng.choice([16, 32, 33, 64, 72, 96, 128])
    layer = {
        "num_heads": kv_heads * group,
        "num_kv_heads": kv_heads,
        "key_dim": key_dim,
        "value_dim": rng.choice([key_dim, 16, 40]),
        "softcap": rng.choice([None, None, 4.0]),
        "has_sinks": rng.random() < 0.3,
        rng.choice(["sliding_window", "chunk_size", "scaling"]): rng.choice([5, 11, 40]) / 1,
    }
    layer = {k: int(v) if k in ("sliding_window", "chunk_size") else v for k, v in layer.items()}
    layer["scaling"] = min(layer.get("scaling", 0.2), 0.2)
    dtype = rng.choice([torch.float32, torch.bfloat16, torch.float16])
    float8 = dtype != torch.float32 and rng.random() < 0.3
    size, programs = rng.choice([1, 2, 7, 16, 64]), rng.choice([1, 8, 64])
    check(Case(requests, layer, size, rng.randrange(4), dtype, float8, programs, seed), "cpu")


def test_heads_are_multiplied_in_powers_of_two() -> None:
    for dim in range(1, 577):
        main, rest = head_parts(dim)
        assert main + rest >= dim and (rest == 0 or main < dim)
        assert all(part & (part - 1) == 0 for part in (main, rest)) and rest in (0, *(16 << i for i in range(6)))
    assert head_parts(576) == (512, 64) and head_parts(128) == (128, 0) and head_parts(112) == (128, 0)
