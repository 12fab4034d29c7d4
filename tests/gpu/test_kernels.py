"""Every kernel on the GPU against float64, on random shapes, at the sizes of real models."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="triton is for Linux")

from runtime.kernels import attention_items
from tests.runtime.kernels.attention_cases import Case, check
from tests.runtime.kernels.layer_cases import check_gate, check_norm, check_rotary, check_write
from tests.runtime.kernels.sampler_cases import check_against_the_cpu

pytestmark = pytest.mark.gpu
DTYPES = [torch.bfloat16, torch.float16, torch.float32]
PROGRAMS = 264
LAYERS: list[dict[str, Any]] = [
    {"num_heads": 32, "num_kv_heads": 32, "key_dim": 128, "value_dim": 128},
    {"num_heads": 32, "num_kv_heads": 8, "key_dim": 128, "value_dim": 128},
    {"num_heads": 16, "num_kv_heads": 8, "key_dim": 256, "value_dim": 256, "softcap": 50.0, "sliding_window": 100},
    {"num_heads": 64, "num_kv_heads": 8, "key_dim": 64, "value_dim": 64, "has_sinks": True, "sliding_window": 128},
    {"num_heads": 16, "num_kv_heads": 16, "key_dim": 192, "value_dim": 128},
    {"num_heads": 16, "num_kv_heads": 1, "key_dim": 576, "value_dim": 512},
    {"num_heads": 71, "num_kv_heads": 1, "key_dim": 64, "value_dim": 64},
    {"num_heads": 32, "num_kv_heads": 8, "key_dim": 80, "value_dim": 80, "chunk_size": 64},
]
DECODE = ((700, 1), (0, 1), (1900, 1), (33, 1))
EXTEND = ((512, 130), (0, 300), (77, 1), (1000, 17))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("requests", [DECODE, EXTEND], ids=["decode", "extend"])
def test_attention(layer: dict[str, Any], dtype: torch.dtype, requests: tuple[tuple[int, int], ...]) -> None:
    layer = {"scaling": layer["key_dim"] ** -0.5, **layer}
    check(Case(requests, layer, dtype=dtype, num_programs=PROGRAMS), "cuda")
    check(Case(requests, layer, shared=30, dtype=dtype, num_programs=PROGRAMS), "cuda")
    if dtype != torch.float32:
        check(Case(requests, layer, shared=30, dtype=dtype, float8=True, num_programs=PROGRAMS), "cuda")


@pytest.mark.parametrize("page_size", [1, 2, 16, 33, 64])
def test_page_sizes(page_size: int) -> None:
    check(Case(DECODE, LAYERS[1], page_size, shared=2, dtype=torch.bfloat16, num_programs=PROGRAMS), "cuda")
    check(Case(EXTEND, LAYERS[1], page_size, shared=2, dtype=torch.bfloat16, num_programs=PROGRAMS), "cuda")


@pytest.mark.parametrize("over_windows", [False, True])
def test_spans_of_images(over_windows: bool) -> None:
    spans = (((3, 120), (200, 260)), (), ((300, 410), (440, 490)))
    requests = ((150, 150), (90, 4), (330, 170))
    check(Case(requests, LAYERS[2], spans=spans, over_windows=over_windows, dtype=torch.bfloat16), "cuda")


@pytest.mark.parametrize("seed", range(40))
def test_random_steps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_items, "MIN_SAVED_TOKENS", 1)
    monkeypatch.setattr(attention_items, "MIN_SPLIT", 32)
    rng = random.Random(seed)
    new = [1] if rng.random() < 0.4 else [1, 1, 2, 9, 150]
    requests = tuple((rng.choice([0, 17, 90, 700]), rng.choice(new)) for _ in range(rng.randrange(1, 12)))
    kv_heads, group = rng.choice([(1, 1), (8, 1), (1, 5), (4, 4), (1, 17), (2, 8)])
    dim = rng.choice([16, 40, 64, 72, 96, 128, 160, 192, 256])
    layer = {
        "num_heads": kv_heads * group,
        "num_kv_heads": kv_heads,
        "key_dim": dim,
        "value_dim": rng.choice([dim, dim, max(16, dim // 2)]),
        "scaling": dim**-0.5,
        "softcap": rng.choice([None, None, 4.0]),
        "has_sinks": rng.random() < 0.3,
        "sliding_window": rng.choice([None, None, 5, 300]),
    }
    dtype = rng.choice(DTYPES)
    float8 = dtype != torch.float32 and rng.random() < 0.3
    size, shared = rng.choice([1, 16, 64]), rng.randrange(9)
    check(Case(requests, layer, size, shared, dtype, float8, rng.choice([1, 50, 264]), seed), "cuda")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_layers(dtype: torch.dtype) -> None:
    for width in (64, 4096, 5120, 8192):
        check_norm(dtype, 37, width, offset=0.0, device="cuda")
        check_norm(dtype, 37, width, offset=1.0, device="cuda")
    for width in (96, 11008, 14336):
        check_gate(dtype, 37, width, device="cuda")
    for heads, kv_heads, dim in ((32, 32, 128), (32, 8, 128), (14, 2, 64), (8, 1, 256), (3, 1, 80)):
        for float8 in (False, True):
            check_rotary(dtype, 37, heads, kv_heads, dim, float8, device="cuda")
    for heads, key_dim, value_dim in ((8, 128, 128), (128, 192, 128), (1, 576, 512), (3, 24, 20)):
        for float8 in (False, True):
            check_write(dtype, 37, heads, key_dim, value_dim, float8, device="cuda")


@pytest.mark.parametrize("vocab", [300, 32000, 128256])
@pytest.mark.parametrize("seed", range(3))
def test_sampler(vocab: int, seed: int) -> None:
    check_against_the_cpu(seed, 32, vocab, "cuda")
    check_against_the_cpu(seed, 32, vocab, "cuda", greedy=True)
