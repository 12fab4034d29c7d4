"""CPU attention against the definition, in float64: random batches, page tables that share, every option of a layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.kernels import attention_plan, cpu_attention
from runtime.kernels.attention_plan import plan_attention
from runtime.kernels.contract import AttentionLayer, RaggedBatch
from runtime.kernels.cpu_attention import CpuAttention
from runtime.kernels.cpu_ops import CpuOps
from runtime.kernels.reference import ReferenceAttention, visible
from tests.runtime.execution.stepping import wait_until_compiled

PAGES = 400


@st.composite
def batches(draw: st.DrawFn) -> RaggedBatch:
    """Requests in a few families that share leading pages; pages in random order."""
    size = draw(st.sampled_from([1, 3, 16]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    pages = iter(rng.permutation(PAGES).astype(np.int32))
    count = draw(st.integers(1, 6))
    starts, counts, tables = [], [], []
    for i in range(count):
        start = draw(st.integers(0, 40))
        own = draw(st.sampled_from([1, 1, 1, 2, 5, 17]))
        needed = -(-(start + own) // size)
        shared: list[np.int32] = []
        if i and draw(st.booleans()):
            parent = draw(st.integers(0, i - 1))
            # What may be shared is what is before both requests' own tokens.
            depth = min(start, starts[parent]) // size
            shared = list(tables[parent][: draw(st.integers(0, depth))])
        tables.append(np.array([*shared, *(next(pages) for _ in range(needed - len(shared)))], dtype=np.int32))
        starts.append(start)
        counts.append(own)
    return RaggedBatch(np.array(starts), np.array(counts), tuple(tables), size)


LAYERS = [
    {},
    {"num_kv_heads": 4},
    {"num_kv_heads": 1},
    {"value_dim": 5},
    {"value_dim": 12},
    {"softcap": 3.0},
    {"sliding_window": 4},
    {"sliding_window": 30, "softcap": 2.0},
    {"chunk_size": 8},
    {"has_sinks": True},
    {"has_sinks": True, "sliding_window": 7},
]


def layer_of(options: dict[str, object]) -> AttentionLayer:
    facts: dict[str, object] = {"num_heads": 4, "num_kv_heads": 2, "key_dim": 8, "value_dim": 8, "scaling": 0.3}
    return AttentionLayer(index=0, name="layer", **{**facts, **options})  # type: ignore[arg-type]


def tensors(layer: AttentionLayer, batch: RaggedBatch, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    rows = int(batch.query_starts[-1])
    slots = PAGES * batch.page_size
    query = torch.randn(1, layer.num_heads, rows, layer.key_dim)[0].transpose(0, 1)  # strided, as models give it
    keys = torch.randn(slots, layer.num_kv_heads, layer.key_dim)
    values = torch.randn(slots, layer.num_kv_heads, layer.value_dim)
    return query.to(dtype), keys.to(dtype), values.to(dtype)


@pytest.fixture(autouse=True, params=[1, 4096], ids=["all in common", "much in common"])
def what_is_worth_a_product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes: with 1, every shared page is a segment, and all queries of a request are a block."""
    monkeypatch.setattr(cpu_attention, "MIN_SAVED_BYTES", request.param)
    monkeypatch.setattr(attention_plan, "SMALL_DECODE", 4)


@pytest.mark.parametrize("options", LAYERS, ids=str)
@settings(max_examples=40, deadline=None)
@given(batch=batches())
def test_it_is_the_definition(options: dict[str, object], batch: RaggedBatch) -> None:
    layer = layer_of(options)
    query, keys, values = tensors(layer, batch, torch.float64)
    sinks = torch.randn(layer.num_heads, dtype=torch.float64) if layer.has_sinks else None
    expected = ReferenceAttention(batch).attend(layer, query, keys, values, sinks)
    found = CpuAttention(batch, CpuOps(torch.float64)).attend(layer, query, keys, values, sinks)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)])
@pytest.mark.parametrize("options", [{}, {"softcap": 3.0}, {"has_sinks": True}], ids=str)
@settings(max_examples=20, deadline=None)
@given(batch=batches())
def test_narrow_dtypes(options: dict[str, object], dtype: torch.dtype, tolerance: float, batch: RaggedBatch) -> None:
    layer = layer_of(options)
    query, keys, values = tensors(layer, batch, dtype)
    sinks = torch.randn(layer.num_heads) if layer.has_sinks else None
    expected = ReferenceAttention(batch).attend(layer, query, keys, values, sinks)
    found = CpuAttention(batch, CpuOps(dtype, compiled=False)).attend(layer, query, keys, values, sinks)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected.float(), atol=tolerance, rtol=tolerance)


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16], ids=str)
def compiled(request: pytest.FixtureRequest) -> CpuOps:
    ops = CpuOps(request.param)
    wait_until_compiled(ops)
    return ops


@pytest.mark.parametrize(
    "options",
    [{}, {"num_kv_heads": 4}, {"num_heads": 14, "num_kv_heads": 2}, {"sliding_window": 4}, {"has_sinks": True}],
    ids=str,
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=batches())
def test_compiled_kernels(compiled: CpuOps, options: dict[str, object], batch: RaggedBatch) -> None:
    layer = layer_of({"key_dim": 64, "value_dim": 64, "scaling": 0.2, **options})
    query, keys, values = tensors(layer, batch, compiled.dtype)
    query = query.contiguous()  # as merged projections give it
    assert compiled.attends_single(query, keys, values)
    sinks = torch.randn(layer.num_heads) if layer.has_sinks else None
    expected = ReferenceAttention(batch).attend(layer, query, keys, values, sinks)
    found = CpuAttention(batch, compiled).attend(layer, query, keys, values, sinks)
    tolerance = 1e-5 if compiled.dtype == torch.float32 else 3e-2
    torch.testing.assert_close(found.float(), expected.float(), atol=tolerance, rtol=tolerance)


@settings(max_examples=150, deadline=None)
@given(
    batch=batches(),
    window=st.sampled_from([None, 4]),
    chunk=st.sampled_from([None, 8]),
    min_saved=st.sampled_from([1, 20, 200]),
)
def test_a_plan_gives_each_row_each_of_its_keys_once(
    batch: RaggedBatch, window: int | None, chunk: int | None, min_saved: int
) -> None:
    plan = plan_attention(batch, window, chunk, min_saved)
    seen: list[list[int]] = [[] for _ in range(int(batch.query_starts[-1]))]
    for segment in plan.segments:
        for row in segment.rows:
            seen[row].extend(segment.slots)
    for group in plan.decodes:
        for row, slots, length in zip(group.rows, group.slots, group.lengths, strict=True):
            seen[row].extend(slots[:length])
    for block in plan.blocks:
        mask = visible(window, chunk, block.start, block.end - block.begin, len(block.slots), block.first_key).numpy()
        for row, sees in zip(range(block.begin, block.end), mask, strict=True):
            seen[row].extend(block.slots[sees])
    for i in range(batch.num_requests):
        start, count = int(batch.starts[i]), int(batch.counts[i])
        whole = batch.slots(i, 0, start + count)
        mask = visible(window, chunk, start, count, start + count).numpy()
        for j in range(count):
            assert sorted(seen[int(batch.query_starts[i]) + j]) == sorted(whole[mask[j]])


def test_a_tree_becomes_its_segments() -> None:
    trunk, left = np.arange(20, dtype=np.int32), np.arange(20, 40, dtype=np.int32)
    tables = [np.concatenate([trunk, left, [50 + i]]) if i < 2 else np.concatenate([trunk, [50 + i]]) for i in range(4)]
    batch = RaggedBatch(np.array([40, 40, 20, 20]), np.ones(4, np.int64), tuple(t.astype(np.int32) for t in tables), 1)
    plan = plan_attention(batch, None, None, min_saved=1)
    assert [(s.rows.tolist(), len(s.slots)) for s in plan.segments] == [([0, 1, 2, 3], 20), ([0, 1], 20)]
    assert [d.lengths.tolist() for d in plan.decodes] == [[1, 1, 1, 1]]


def test_few_queries_of_a_request_are_taken_one_by_one() -> None:
    tables = tuple(np.arange(60 * i, 60 * i + 60, dtype=np.int32) for i in range(4))
    batch = RaggedBatch(np.array([5, 0, 7, 50]), np.array([3, 9, 1, 2]), tables, 1)
    plan = plan_attention(batch, None, None, min_saved=36)  # as many as nine queries without a past read again
    assert [group.rows.tolist() for group in plan.decodes] == [[0, 1, 2, 12]]
    assert [group.lengths.tolist() for group in plan.decodes] == [[6, 7, 8, 8]]
    assert [(block.begin, block.end) for block in plan.blocks] == [(3, 12), (13, 15)]


@given(batches(), st.integers(0, 99))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("options", [{}, {"sliding_window": 4}, {"num_kv_heads": 1}])
def test_some_rows_alone_are_the_same_rows(options: dict[str, object], batch: RaggedBatch, seed: int) -> None:
    layer = layer_of(options)
    query, keys, values = tensors(layer, batch, torch.float64)
    rng = np.random.default_rng(seed)
    count = rng.integers(1, batch.num_requests + 1)
    rows = torch.from_numpy(np.sort(rng.choice(len(query), count, replace=False)))
    attention = CpuAttention(batch, CpuOps(torch.float64, compiled=False))
    some = attention.only(rows)
    assert some is not None
    expected = attention.attend(layer, query, keys, values, None)[rows]
    torch.testing.assert_close(some.attend(layer, query[rows], keys, values, None), expected)
