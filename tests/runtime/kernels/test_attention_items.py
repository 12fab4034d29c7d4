"""Items of a step: each row sees each of its keys exactly once, and each of its parts is written once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.kernels import attention_items
from runtime.kernels.attention_items import NARROW_TILE, AttentionShape, cut_attention, page_starts
from runtime.kernels.contract import RaggedBatch
from runtime.kernels.reference import visible
from tests.runtime.kernels.test_cpu_attention import batches


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_items, "MIN_SAVED_TOKENS", 1)
    monkeypatch.setattr(attention_items, "MIN_SPLIT", 4)


@settings(max_examples=120, deadline=None)
@given(
    batch=batches(),
    group=st.sampled_from([1, 3, 17]),
    reach=st.sampled_from([(None, None), (5, None), (None, 8)]),
    programs=st.sampled_from([1, 6, 40]),
)
def test_each_row_sees_its_keys_once(
    batch: RaggedBatch, group: int, reach: tuple[int | None, int | None], programs: int
) -> None:
    shape = AttentionShape(2, group, *reach, wide_tile=32)
    found = cut_attention(batch, shape, programs)
    rows, heads = int(batch.query_starts[-1]), range(group)
    seen: dict[tuple[int, int], list[int]] = {(row, head): [] for row in range(rows) for head in heads}
    written: set[tuple[int, int]] = set()
    pages, starts = np.concatenate(batch.page_tables), page_starts(batch)
    for tile, items in ((NARROW_TILE, found.narrow), (shape.wide_tile, found.wide)):
        for row_begin, m_begin, m_end, pages_begin, key_begin, key_end, part_begin, _ in items.tolist():
            assert 0 <= m_begin < m_end <= m_begin + tile
            assert pages_begin in starts
            for m in range(m_begin, m_end):
                row, head = int(found.rows[row_begin + m // group]), m % group
                keys = range(max(key_begin, found.first[row]), min(key_end, found.last[row] + 1))
                at = pages_begin + np.array(keys, dtype=np.int64) // batch.page_size
                slots = pages[at].astype(np.int64) * batch.page_size + np.array(keys, dtype=np.int64) % batch.page_size
                seen[row, head].extend(slots.tolist())
                part = part_begin + m // group
                assert part in found.row_parts[found.part_starts[row] : found.part_starts[row + 1]]
                assert (part, head) not in written
                written.add((part, head))
    assert len(written) == found.num_parts * group
    for i in range(batch.num_requests):
        start, count = int(batch.starts[i]), int(batch.counts[i])
        slots = batch.slots(i, 0, start + count)
        mask = visible(*reach, start, count, start + count).numpy()
        for j in range(count):
            for head in heads:
                row = int(batch.query_starts[i]) + j
                assert sorted(seen[row, head]) == sorted(slots[mask[j]].tolist())


@settings(max_examples=60, deadline=None)
@given(batch=batches(), limit=st.sampled_from([0, 5, 40]))
def test_parts_are_bounded(batch: RaggedBatch, limit: int) -> None:
    shape = AttentionShape(1, 1, None, None, 32)
    unbounded = cut_attention(batch, shape, 100)
    least = len(unbounded.rows)
    assert cut_attention(batch, shape, 100, least + limit).num_parts <= least + limit
    with pytest.raises(ValueError, match="do not fit"):
        cut_attention(batch, shape, 100, least - 1)
