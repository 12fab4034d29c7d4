"""The pool's shapes, size and writes."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch

from runtime.cache.kv_pool import KVPool, bytes_per_token, pages_in
from runtime.errors import RequestError
from runtime.execution.backends import CpuBackend
from runtime.kernels.contract import AttentionLayer

LAYERS = (
    AttentionLayer(0, "a", num_heads=4, num_kv_heads=2, key_dim=8, value_dim=8, scaling=1.0),
    AttentionLayer(1, "b", num_heads=4, num_kv_heads=4, key_dim=16, value_dim=12, scaling=1.0),
)


def test_layers_may_differ_and_the_size_is_what_was_counted() -> None:
    pool = KVPool(LAYERS, num_pages=5, page_size=3, dtype=torch.bfloat16, device=torch.device("cpu"))
    assert [tuple(k.shape) for k in pool.keys] == [(15, 2, 8), (15, 4, 16)]
    assert [tuple(v.shape) for v in pool.values] == [(15, 2, 8), (15, 4, 12)]
    assert pool.num_bytes == 15 * bytes_per_token(LAYERS, torch.bfloat16)
    assert not any(t.any() for t in (*pool.keys, *pool.values))


def test_writes_go_to_their_slots_from_any_strides() -> None:
    pool = KVPool(LAYERS, num_pages=4, page_size=2, dtype=torch.float32, device=torch.device("cpu"))
    key, value = torch.randn(4, 3, 16).transpose(0, 1), torch.randn(4, 3, 12, dtype=torch.float64).transpose(0, 1)
    backend = CpuBackend(torch.float32, compiled=False, alone=False)
    backend.write(pool.keys[1], pool.values[1], torch.tensor([6, 0, 3]), key, value)
    assert torch.equal(pool.keys[1][[6, 0, 3]], key)
    assert torch.equal(pool.values[1][[6, 0, 3]], value.float())
    assert not pool.keys[1][[1, 2, 4, 5, 7]].any()
    assert not pool.keys[0].any()


def test_as_many_pages_as_fit() -> None:
    page = bytes_per_token(LAYERS, torch.float32) * 16
    assert pages_in(page * 7 + 1, LAYERS, 16, torch.float32) == 7
    with pytest.raises(RequestError, match=f"one of 16 tokens takes {page} bytes"):
        pages_in(page - 1, LAYERS, 16, torch.float32)


def test_layers_that_share_have_one_place() -> None:
    sharing = (*LAYERS, dataclasses.replace(LAYERS[0], name="c"))
    pool = KVPool(sharing, num_pages=5, page_size=3, dtype=torch.bfloat16, device=torch.device("cpu"))
    assert len(pool.keys) == len(pool.values) == 2
    assert (
        pool.num_bytes == 15 * bytes_per_token(LAYERS, torch.bfloat16) == 15 * bytes_per_token(sharing, torch.bfloat16)
    )


def test_a_pool_is_populated_once_and_beside_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr("runtime.kernels.huge_pages.populate", lambda tensor: taken.append(tensor.nbytes))
    pool = KVPool(LAYERS, num_pages=4, page_size=2, dtype=torch.float32, device=torch.device("cpu"))
    for _ in range(3):
        pool.populate()
    for thread in threading.enumerate():
        if thread.name == "sgl-lite-pool":
            thread.join()
    assert sum(taken) == pool.num_bytes
