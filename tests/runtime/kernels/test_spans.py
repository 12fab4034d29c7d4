"""Runs of positions that see each other in both directions (`RaggedBatch.spans`) on the CPU, against the definition."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from runtime.kernels.contract import AttentionLayer, RaggedBatch
from runtime.kernels.cpu_attention import CpuAttention
from runtime.kernels.cpu_ops import CpuOps
from runtime.kernels.reference import ReferenceAttention, visible

Spans = tuple[tuple[int, int], ...]


def brute(position: int, key: int, window: int | None, spans: Spans, over_windows: bool) -> bool:
    """The rules of gemma3 (windows cut spans) and paligemma (they do not), as their own masks say them."""
    same = any(begin <= position < end and begin <= key < end for begin, end in spans)
    near = window is None or key > position - window
    return (near and key <= position) or same if over_windows else near and (key <= position or same)


@pytest.mark.parametrize("over_windows", [False, True])
@pytest.mark.parametrize("window", [None, 5])
def test_visible(window: int | None, over_windows: bool) -> None:
    spans = ((2, 6), (9, 17))
    found = visible(window, None, 1, 18, 19, 0, spans, over_windows)
    assert found.tolist() == [[brute(1 + i, j, window, spans, over_windows) for j in range(19)] for i in range(18)]


def random_request(rng: random.Random, whole_prompt: bool) -> tuple[int, int, Spans]:
    """start, count, spans: a step that ends inside none of them, but may begin inside one."""
    if whole_prompt:
        prompt = rng.randrange(2, 40)
        start = rng.choice([0, rng.randrange(prompt), prompt + rng.randrange(5)])
        least = max(prompt - start, 1)
        return start, least + rng.randrange(3), ((0, prompt),)
    spans: list[tuple[int, int]] = []
    at = rng.randrange(4)
    for _ in range(rng.randrange(4)):
        end = at + rng.randrange(2, 9)
        spans.append((at, end))
        at = end + rng.randrange(1, 5)
    length = at + rng.randrange(1, 6)
    start = rng.randrange(length)
    ends = [end for end in range(start + 1, length + 1) if not any(a < end < b for a, b in spans)]
    return start, rng.choice(ends) - start, tuple(spans)


@pytest.mark.parametrize("seed", range(30))
def test_cpu_attention(seed: int) -> None:
    rng = random.Random(seed)
    over_windows = bool(seed % 2)
    layer = AttentionLayer(
        index=0,
        name="layer",
        num_heads=4,
        num_kv_heads=2,
        key_dim=16,
        value_dim=16,
        scaling=0.25,
        sliding_window=rng.choice([None, 4, 11]),
        softcap=rng.choice([None, 5.0]),
    )
    requests = [random_request(rng, over_windows) for _ in range(rng.randrange(1, 6))]
    page_size = rng.choice([1, 4])
    needed = [-(-(start + count) // page_size) for start, count, _ in requests]
    pages = np.random.default_rng(seed).permutation(sum(needed)).astype(np.int32)
    tables = tuple(np.split(pages, np.cumsum(needed)[:-1]))
    starts, counts = (np.array([request[i] for request in requests], dtype=np.int64) for i in (0, 1))
    batch = RaggedBatch(starts, counts, tables, page_size, tuple(request[2] for request in requests), over_windows)
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(int(counts.sum()), 4, 16, generator=generator)
    keys, values = (torch.randn(sum(needed) * page_size, 2, 16, generator=generator) for _ in range(2))
    expected = ReferenceAttention(batch).attend(layer, query, keys, values, None)
    found = CpuAttention(batch, CpuOps(torch.float32)).attend(layer, query, keys, values, None)
    assert (found - expected).abs().max() < 1e-5
