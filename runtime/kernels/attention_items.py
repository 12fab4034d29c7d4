"""The attention of one step as a list of equal pieces of work for a GPU: numpy only.

In comes a `RaggedBatch` and the shape of a layer; out go `AttentionItems`. One kernel does every kind of attention,
because all of them are the same piece of work: some query rows, some keys.

    decode:   one row,                      its own keys, cut into several ranges if there are few rows ("split-K")
    extend:   a tile of rows of a request,  its keys up to the tile's last row
    segment:  rows of several requests,     keys that all of these requests share ("tree attention")

A *span* is a run of rows with a range of keys. It is cut by keys into *splits* and by rows and heads into *tiles*; each
(split, tile) is an item. A row that has keys in more than one split gets as many *parts*, merged by log-sum-exp.

    item, int32 [8]:  row_begin, m_begin, m_end, pages_begin, key_begin, key_end, part_begin, unused

Tile element m is query head m % group_size (of the key head's group) of row rows[row_begin + m // group_size]. Its part
is number part_begin + m // group_size. The page of position p is pages[pages_begin + p // page_size].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from runtime.kernels.attention_plan import SharedRun, first_visible, shared_runs
from runtime.kernels.contract import AttentionLayer, RaggedBatch

ITEM_FIELDS = 8
NARROW_TILE = 16
"""The fewest rows that tensor cores take at once: the tile for decoding."""
MIN_SAVED_TOKENS = 256
"""What requests share is worth items of its own if these spare at least this many tokens from being read again."""
MIN_SPLIT = 128
"""Keys in a split, at least: fewer are not worth a merge."""
_EVERY_KEY = 1 << 30
"""As the last key that a row sees: it sees all of its span."""

Ints = NDArray[np.int64]


class TooManyRows(ValueError):
    """Rows of requests and of what they share, together, are more than there is room for parts."""


@dataclass(frozen=True, slots=True)
class AttentionShape:
    """What decides how a layer's work is cut; layers of one shape share their items. wide_tile: for many query rows."""

    num_kv_heads: int
    group_size: int
    sliding_window: int | None
    chunk_size: int | None
    wide_tile: int

    @classmethod
    def of(cls, layer: AttentionLayer, itemsize: int) -> AttentionShape:
        """itemsize: of the queries, in bytes."""
        dim = max(layer.key_dim, layer.value_dim)
        wide = NARROW_TILE if itemsize > 2 else 32 if dim > 256 else 64 if dim > 128 else 128
        return cls(layer.num_kv_heads, layer.group_size, layer.sliding_window, layer.chunk_size, wide)


@dataclass(frozen=True)
class AttentionItems:
    """Together they hold, for each row, every key that it sees exactly once.

    narrow, wide: int32 [*, 8], items of tiles of `NARROW_TILE` and of the shape's `wide_tile`, longest first.
    first, last:  int32 [T], each row sees the keys at positions first .. last of its request.
    rows:         int32, the step's rows 0 .. T - 1, then the rows of each segment.
    row_parts:    int32 [num_parts], parts ordered by row; those of row i at [part_starts[i], part_starts[i + 1]).
    part_starts:  int32 [T + 1].
    """

    narrow: NDArray[np.int32]
    wide: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    rows: NDArray[np.int32]
    row_parts: NDArray[np.int32]
    part_starts: NDArray[np.int32]

    @property
    def num_parts(self) -> int:
        return len(self.row_parts)

    @staticmethod
    def columns(name: str) -> tuple[int, ...]:
        """What follows the length in an array's shape."""
        return (ITEM_FIELDS,) if name in ("narrow", "wide") else ()

    @cached_property
    def direct(self) -> bool:
        """Whether each row has one part, so that nothing is to be merged."""
        return self.num_parts == len(self.part_starts) - 1


@dataclass(frozen=True)
class StepItems:
    """All that kernels are told of a step's attention. pages: int32, all page tables in a row."""

    pages: NDArray[np.int32]
    items: Mapping[AttentionShape, AttentionItems]


@dataclass(frozen=True, slots=True)
class _Spans:
    """One entry each. first, last: of every row that they refer to, [len(rows)]; both never fall within a span."""

    row_begin: Ints
    num_rows: Ints
    pages_begin: Ints
    key_begin: Ints
    key_end: Ints
    rows: Ints
    first: Ints
    last: Ints


def cut_step(batch: RaggedBatch, shapes: Iterable[AttentionShape], num_programs: int) -> StepItems:
    """See `cut_attention`."""
    items = {shape: cut_attention(batch, shape, num_programs) for shape in shapes}
    return StepItems(np.concatenate(batch.page_tables), items)


def cut_attention(
    batch: RaggedBatch, shape: AttentionShape, num_programs: int, max_parts: int | None = None
) -> AttentionItems:
    """num_programs: how many the device should have at least, if there is work for so many (items times key heads).

    max_parts: bound on the parts. TooManyRows if that is fewer than the rows of all spans.
    """
    spans = _spans(batch, shape)
    tile = np.where(spans.num_rows * shape.group_size <= NARROW_TILE, NARROW_TILE, shape.wide_tile)
    num_tiles = -(-spans.num_rows * shape.group_size // tile)
    keys = spans.key_end - spans.key_begin
    work = int((num_tiles * keys).sum())
    split = max(MIN_SPLIT, -(-work * shape.num_kv_heads // num_programs))
    num_splits = -(-keys // split)
    while max_parts is not None and int((num_splits * spans.num_rows).sum()) > max_parts:
        split *= 2
        if split >= 2 * keys.max():
            raise TooManyRows(f"{int(spans.num_rows.sum())} rows of spans do not fit into {max_parts} parts")
        num_splits = -(-keys // split)
    return _items(spans, tile, num_tiles, num_splits, shape, int(batch.query_starts[-1]))


def _items(
    spans: _Spans, tile: Ints, num_tiles: Ints, num_splits: Ints, shape: AttentionShape, num_rows: int
) -> AttentionItems:
    # One entry for each split of each span.
    span, number = _repeated(num_splits)
    length = -(-(spans.key_end - spans.key_begin) // num_splits)
    split_begin = spans.key_begin[span] + number * length[span]
    split_end = np.minimum(split_begin + length[span], spans.key_end[span])
    part_begin = np.cumsum(spans.num_rows[span]) - spans.num_rows[span]
    # One for each tile of each split: an item.
    of_split, number = _repeated(num_tiles[span])
    span = span[of_split]
    m_begin = number * tile[span]
    m_end = np.minimum(m_begin + tile[span], spans.num_rows[span] * shape.group_size)
    first = spans.first[spans.row_begin[span] + m_begin // shape.group_size]
    last = spans.last[spans.row_begin[span] + (m_end - 1) // shape.group_size]
    key_begin = np.maximum(split_begin[of_split], first)
    key_end = np.maximum(np.minimum(split_end[of_split], last + 1), key_begin)
    fields = (spans.row_begin[span], m_begin, m_end, spans.pages_begin[span], key_begin, key_end, part_begin[of_split])
    items = np.zeros((len(span), ITEM_FIELDS), dtype=np.int32)
    for i, column in enumerate(fields):
        items[:, i] = column
    longest_first = np.argsort(key_begin - key_end, kind="stable")
    items, narrow = items[longest_first], (tile[span] == NARROW_TILE)[longest_first]
    return AttentionItems(
        items[narrow],
        items[~narrow],
        spans.first[:num_rows].astype(np.int32),
        spans.last[:num_rows].astype(np.int32),
        spans.rows.astype(np.int32),
        *_parts_of_rows(spans, num_splits, num_rows),
    )


def _parts_of_rows(spans: _Spans, num_splits: Ints, num_rows: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Parts are numbered by span, split and row; here they are gathered by row."""
    span, _ = _repeated(num_splits)
    of_split, number = _repeated(spans.num_rows[span])
    row = spans.rows[spans.row_begin[span][of_split] + number]
    part_starts = np.zeros(num_rows + 1, dtype=np.int32)
    np.cumsum(np.bincount(row, minlength=num_rows), out=part_starts[1:])
    return np.argsort(row, kind="stable").astype(np.int32), part_starts


def _repeated(counts: Ints) -> tuple[Ints, Ints]:
    """For counts [2, 3]: [0, 0, 1, 1, 1] and [0, 1, 0, 1, 2]."""
    owner = np.repeat(np.arange(len(counts)), counts)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)


def _spans(batch: RaggedBatch, shape: AttentionShape) -> _Spans:
    """A span for each request's own keys, then one for each run that requests share."""
    pages_begin = page_starts(batch)[:-1]
    first, last = _visible(batch, shape)
    runs: list[SharedRun] = []
    own = first[batch.query_starts[:-1]]
    if shape.sliding_window is None and shape.chunk_size is None and batch.num_requests > 1:
        runs, own = shared_runs(batch, MIN_SAVED_TOKENS)
    rows = [np.arange(batch.query_starts[-1]), *(run.rows(batch) for run in runs)]
    lengths = np.array([len(r) for r in rows], dtype=np.int64)
    shared = np.array([(r.members[0], r.begin, r.end) for r in runs], dtype=np.int64).reshape(-1, 3)
    sharing = int(lengths[1:].sum())
    return _Spans(
        row_begin=np.concatenate([batch.query_starts[:-1], np.cumsum(lengths)[:-1]]),
        num_rows=np.concatenate([batch.counts, lengths[1:]]),
        pages_begin=np.concatenate([pages_begin, pages_begin[shared[:, 0]]]),
        key_begin=np.concatenate([own, shared[:, 1]]),
        key_end=np.concatenate([batch.kv_lengths, shared[:, 2]]),
        rows=np.concatenate(rows),
        first=np.concatenate([first, np.zeros(sharing, np.int64)]),
        last=np.concatenate([last, np.full(sharing, _EVERY_KEY)]),
    )


def _visible(batch: RaggedBatch, shape: AttentionShape) -> tuple[Ints, Ints]:
    """int64 [T], [T]: the first and the last position that each row sees. See `RaggedBatch.spans`."""
    offset = np.repeat(batch.starts - batch.query_starts[:-1], batch.counts)
    last = offset + np.arange(len(offset))
    first = first_visible(last, shape.sliding_window, shape.chunk_size)
    for i in range(batch.num_requests if batch.spans else 0):
        row = int(batch.query_starts[i]) - int(batch.starts[i])
        for begin, end in batch.spans_of(i):
            rows = slice(row + max(begin, int(batch.starts[i])), row + end)
            if batch.over_windows:
                first[rows] = np.minimum(first[rows], begin)
                last[rows] = end - 1
            elif shape.chunk_size is None:
                last[rows] = end - 1
            else:
                last[rows] = np.minimum(end, (last[rows] // shape.chunk_size + 1) * shape.chunk_size) - 1
    return first, last


def page_starts(batch: RaggedBatch) -> Ints:
    """int64 [n + 1]: where each request's page table begins when they lie one after another."""
    return np.concatenate(([0], np.cumsum([len(table) for table in batch.page_tables])))
