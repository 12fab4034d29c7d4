"""Random attention steps and layers for the tests of Triton kernels, in the interpreter and on a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from runtime.kernels.attention_items import AttentionShape, cut_step
from runtime.kernels.contract import AttentionLayer, RaggedBatch
from runtime.kernels.reference import ReferenceAttention
from runtime.kernels.triton.attention import DeviceItems, TritonAttention

TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
"""Of values that are normally distributed, against float64."""


@dataclass(frozen=True)
class Case:
    """requests: (cached, new) tokens. shared: leading pages in common. seed: of all that is random."""

    requests: tuple[tuple[int, int], ...]
    layer: dict[str, Any]
    page_size: int = 16
    shared: int = 0
    dtype: torch.dtype = torch.float32
    float8: bool = False
    num_programs: int = 64
    seed: int = 0
    spans: tuple[tuple[tuple[int, int], ...], ...] = ()
    over_windows: bool = False


def layer_of(options: dict[str, Any]) -> AttentionLayer:
    facts = {"num_heads": 4, "num_kv_heads": 2, "key_dim": 32, "value_dim": 32, "scaling": 0.2, **options}
    return AttentionLayer(index=0, name="layer", **facts)


def batch_of(case: Case) -> RaggedBatch:
    rng = np.random.default_rng(case.seed)
    needed = [-(-(start + count) // case.page_size) for start, count in case.requests]
    pages = iter(rng.permutation(sum(needed) + case.shared + 3).astype(np.int32))
    trunk = [next(pages) for _ in range(case.shared)]
    tables = []
    for (start, _), count in zip(case.requests, needed, strict=True):
        common = trunk[: start // case.page_size]
        tables.append(np.array([*common, *(next(pages) for _ in range(count - len(common)))], dtype=np.int32))
    starts, counts = np.array(case.requests, dtype=np.int64).T
    return RaggedBatch(starts.copy(), counts.copy(), tuple(tables), case.page_size, case.spans, case.over_windows)


def tensors_of(case: Case, batch: RaggedBatch, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries with strides as models give them, and a pool whose unused slots hold infinities."""
    layer = layer_of(case.layer)
    generator = torch.Generator().manual_seed(case.seed)
    rows = int(batch.query_starts[-1])
    query = torch.randn(layer.num_heads, rows, layer.key_dim, generator=generator).transpose(0, 1)
    slots = (int(max(table.max() for table in batch.page_tables)) + 2) * batch.page_size
    keys = torch.full((slots, layer.num_kv_heads, layer.key_dim), float("inf"))
    values = torch.full((slots, layer.num_kv_heads, layer.value_dim), float("inf"))
    for i in range(batch.num_requests):
        used = torch.from_numpy(batch.slots(i, 0, int(batch.kv_lengths[i])))
        keys[used] = torch.randn(len(used), *keys.shape[1:], generator=generator)
        values[used] = torch.randn(len(used), *values.shape[1:], generator=generator)
    pool = torch.float8_e4m3fn if case.float8 else case.dtype
    if case.float8:
        keys, values = keys.nan_to_num(posinf=448.0), values.nan_to_num(posinf=448.0)
    return query.to(case.dtype).to(device), keys.to(pool).to(device), values.to(pool).to(device)


def triton_attention(case: Case, batch: RaggedBatch, device: str) -> TritonAttention:
    shape = AttentionShape.of(layer_of(case.layer), case.dtype.itemsize)
    step = cut_step(batch, [shape], case.num_programs)

    def sent(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    of_shape = step.items[shape]
    names = ("narrow", "wide", "first", "last", "rows", "row_parts", "part_starts")
    items = DeviceItems(
        *(sent(getattr(of_shape, name)) for name in names), num_parts=0 if of_shape.direct else of_shape.num_parts
    )
    return TritonAttention({shape: items}, sent(step.pages), batch.page_size)


def check(case: Case, device: str) -> None:
    """Triton's attention of the case is the definition's, to what the dtype allows."""
    layer, batch = layer_of(case.layer), batch_of(case)
    query, keys, values = tensors_of(case, batch, device)
    generator = torch.Generator().manual_seed(case.seed)
    sinks = torch.randn(layer.num_heads, generator=generator).to(device) if layer.has_sinks else None
    found = triton_attention(case, batch, device).attend(layer, query, keys, values, sinks)
    exact = ReferenceAttention(batch).attend(layer, query.double(), keys.double(), values.double(), sinks)
    assert found.dtype == case.dtype
    # A GPU multiplies float32 as sums of three products of shorter numbers, and its powers are approximate.
    tolerance = TOLERANCE[case.dtype] if device == "cpu" or case.dtype != torch.float32 else 1e-4
    torch.testing.assert_close(found.double(), exact, atol=tolerance, rtol=tolerance)
