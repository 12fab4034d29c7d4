"""Compiled operations against torch's, on either dtype."""

from __future__ import annotations

import pytest
import torch

from runtime.kernels.contract import AttentionLayer
from runtime.kernels.cpu_ops import CpuOps
from runtime.kernels.cpu_products import attend_all
from tests.runtime.execution.stepping import wait_until_compiled


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def ops(request: pytest.FixtureRequest) -> CpuOps:
    made = CpuOps(request.param)
    wait_until_compiled(made)
    return made


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    tolerance = 2e-6 if found.dtype == torch.float32 else 1e-2
    torch.testing.assert_close(found.double(), expected.double(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_rms_norm(ops: CpuOps, rows: int) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(rows, 96).to(ops.dtype), torch.randn(96).to(ops.dtype)
    expected = torch.nn.functional.rms_norm(x.double(), (96,), weight.double(), 1e-5)
    close(ops.rms_norm(x, weight, 1e-5), expected)


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_silu_multiply(ops: CpuOps, rows: int) -> None:
    torch.manual_seed(0)
    gate_up = (torch.randn(rows, 192) * 20).to(ops.dtype)
    gate_up[0, :4] = torch.tensor([-1000.0, -100.0, 100.0, 1000.0])
    expected = torch.nn.functional.silu(gate_up[:, :96].double()) * gate_up[:, 96:].double()
    found = ops.silu_multiply(gate_up)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-6 if ops.dtype == torch.float32 else 1e-2)


def test_rotation_writes_keys_and_values_where_they_belong(ops: CpuOps) -> None:
    torch.manual_seed(0)
    qkv, slots = torch.randn(5, (4 + 2 * 2) * 64).to(ops.dtype), torch.tensor([9, 2, 7, 0, 4])
    cos, sin = torch.randn(5, 64).to(ops.dtype), torch.randn(5, 64).to(ops.dtype)
    torch_only = CpuOps(ops.dtype, compiled=False)
    results = []
    for way in (ops, torch_only):
        keys, values = torch.zeros(10, 2, 64, dtype=ops.dtype), torch.zeros(10, 2, 64, dtype=ops.dtype)
        query = way.rotate_and_write(qkv.clone(), cos, sin, slots, keys, values)
        results.append((query, keys, values))
    (query, keys, values), expected = results
    tolerance = 1e-5 if ops.dtype == torch.float32 else 6e-2
    for found, wanted in zip((query, keys), expected, strict=False):
        torch.testing.assert_close(found, wanted, atol=tolerance, rtol=tolerance)
    assert torch.equal(values, expected[2])
    assert not keys[[1, 3, 5, 6, 8]].any()


LAYERS = [AttentionLayer(0, "", 6, 2, 64, 64, 0.2), AttentionLayer(0, "", 3, 3, 32, 32, 0.1)]


def many_queries(ops: CpuOps, layer: AttentionLayer, rows: int, seen: int) -> tuple[torch.Tensor, ...]:
    """Queries that do not lie close together, a pool's keys and values, and some of its slots."""
    torch.manual_seed(0)
    query = torch.randn(rows, layer.num_heads + 1, layer.key_dim).to(ops.dtype)[:, : layer.num_heads]
    keys, values = torch.randn(2, 128, layer.num_kv_heads, layer.key_dim).to(ops.dtype)
    slots = torch.randperm(128)[:seen]
    return query, keys, values, slots


@pytest.mark.parametrize(("rows", "seen"), [(1, 1), (5, 16), (3, 33), (40, 100)])
@pytest.mark.parametrize("layer", LAYERS)
def test_many_queries_of_the_same_keys(ops: CpuOps, layer: AttentionLayer, rows: int, seen: int) -> None:
    query, keys, values, slots = many_queries(ops, layer, rows, seen)
    assert ops.attends_single(query, keys, values)
    found = ops.attend_shared(query, keys, values, slots.numpy(), layer.scaling)
    expected = attend_all(layer, query.double(), keys[slots].double(), values[slots].double())
    tolerance = 1e-5 if ops.dtype == torch.float32 else 2e-2
    for one, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), wanted, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("rows", "seen"), [(1, 1), (1, 40), (7, 7), (33, 33), (40, 100), (16, 128)])
@pytest.mark.parametrize("layer", LAYERS)
def test_many_queries_see_the_keys_up_to_their_own(ops: CpuOps, layer: AttentionLayer, rows: int, seen: int) -> None:
    query, keys, values, slots = many_queries(ops, layer, rows, seen)
    out, lse = ops.attend_shared(query, keys, values, slots.numpy(), layer.scaling, causal=True)
    tolerance = 1e-5 if ops.dtype == torch.float32 else 2e-2
    for row in range(rows):
        own = slots[: seen - rows + row + 1]
        wanted = attend_all(layer, query[row : row + 1].double(), keys[own].double(), values[own].double())
        for one, expected in zip((out[row : row + 1], lse[row : row + 1]), wanted, strict=True):
            torch.testing.assert_close(one.double(), expected, atol=tolerance, rtol=tolerance)


def test_unready_kernels_leave_the_work_to_torch() -> None:
    ops = CpuOps(torch.float32, compiled=False)
    x = torch.randn(2, 32)
    assert torch.equal(
        ops.rms_norm(x, torch.ones(32), 1e-6), torch.nn.functional.rms_norm(x, (32,), torch.ones(32), 1e-6)
    )
    assert not ops.attends_single(x[:, None], x[:, None], x[:, None])
