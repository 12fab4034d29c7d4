"""How the attention of one step is cut into pieces that a machine does well: numpy only, shared by all backends.

In comes a `RaggedBatch` and how far back its queries see; out goes an `AttentionPlan`. Each query's keys are cut into

    position   0 ......... shared ......... start ....... end
               |  segments  |  own, cached    |  own, new   |

 - segments: runs of pages that several requests have in common (equal page ids at equal depth). All queries of those
   requests attend to a segment at once; nothing in it is masked. Segments form the tree of the batch, its root first.
 - the rest, each request's own: queries of requests with one or few are put together, each with keys of its own, and
   padded; requests with more are a block each.

The parts of one query are merged by their log-sum-exp (FlashAttention, section 3.1; "tree attention").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from runtime.kernels.contract import RaggedBatch

MAX_PADDING = 1.5
"""Queries are padded together while the longest's keys are at most this many times the shortest's ..."""
SMALL_DECODE = 64
"""... or at most this many tokens."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Slots [m] that every one of `rows` [r] sees whole."""

    rows: NDArray[np.int64]
    slots: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SharedRun:
    """Positions [begin, end), on page boundaries, that `members` (requests of a batch) have in the same pages."""

    members: list[int]
    begin: int
    end: int

    def rows(self, batch: RaggedBatch) -> NDArray[np.int64]:
        """All query rows of the members, rising."""
        return np.concatenate(
            [np.arange(batch.query_starts[i], batch.query_starts[i + 1]) for i in sorted(self.members)]
        )


@dataclass(frozen=True, slots=True)
class DecodeGroup:
    """Queries one by one. Row i sees slots[i, :lengths[i]] of slots [n, longest]; those after are padding."""

    rows: NDArray[np.int64]
    slots: NDArray[np.int64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """Rows [begin, end) of one request, at positions from `start`; the slots of its keys from `first_key` on.

    spans, over_windows: see `RaggedBatch`.
    """

    begin: int
    end: int
    start: int
    first_key: int
    slots: NDArray[np.int64]
    spans: tuple[tuple[int, int], ...] = ()
    over_windows: bool = False


@dataclass(slots=True)
class AttentionPlan:
    """Pieces that together hold, for each row, every key that it sees exactly once."""

    segments: list[Segment] = field(default_factory=list)
    decodes: list[DecodeGroup] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


def plan_attention(
    batch: RaggedBatch, sliding_window: int | None, chunk_size: int | None, min_saved: int
) -> AttentionPlan:
    """The plan for layers that see this far. A window that is longer than every request is the same as none.

    min_saved: how many tokens must be spared from being read again to make a segment or a block worth its own product.
    """
    plan = AttentionPlan()
    unlimited = sliding_window is None and chunk_size is None
    if unlimited:
        own = _share(batch, plan, min_saved)
    else:
        own = first_visible(batch.starts, sliding_window, chunk_size)
        if batch.over_windows:
            own = np.array([min([first, *(span[0] for span in batch.spans_of(i))]) for i, first in enumerate(own)])
    few = _few(batch, own, min_saved)
    requests = np.repeat(np.arange(batch.num_requests), batch.counts)
    first = own[requests]
    if not unlimited:  # of several queries in a request, each sees as far back as its own position lets it
        own_reach = first_visible(batch.new_positions, sliding_window, chunk_size)
        first = np.where(batch.counts[requests] > 1, own_reach, first)
    for rows in _alike(np.flatnonzero(few[requests]), batch.new_positions + 1 - first):
        plan.decodes.append(_decode_group(batch, rows, requests[rows], first[rows]))
    for i in np.flatnonzero(~few):
        begin, end = int(batch.query_starts[i]), int(batch.query_starts[i + 1])
        first_key, last = int(own[i]), int(batch.kv_lengths[i])
        slots, spans = batch.slots(int(i), first_key, last), batch.spans_of(int(i))
        plan.blocks.append(Block(begin, end, int(batch.starts[i]), first_key, slots, spans, batch.over_windows))
    return plan


def limits_nothing(batch: RaggedBatch, sliding_window: int | None, chunk_size: int | None) -> bool:
    """Whether no request of this step is long enough to feel the limit."""
    longest = int(batch.kv_lengths.max())
    return (sliding_window is None or longest <= sliding_window) and (chunk_size is None or longest <= chunk_size)


def first_visible(
    positions: NDArray[np.int64], sliding_window: int | None, chunk_size: int | None
) -> NDArray[np.int64]:
    """The first position that queries at these positions see."""
    first = np.zeros_like(positions)
    if sliding_window is not None:
        first = np.maximum(first, positions - sliding_window + 1)
    if chunk_size is not None:
        first = np.maximum(first, positions // chunk_size * chunk_size)
    return first


def _few(batch: RaggedBatch, own: NDArray[np.int64], min_saved: int) -> NDArray[np.bool_]:
    """Of each request, whether its queries are taken one by one: a block of them would not be worth it."""
    counts = batch.counts
    few: NDArray[np.bool_] = (counts - 1) * (batch.starts - own) + counts * (counts - 1) // 2 < min_saved
    if batch.spans:
        few &= (counts == 1) | np.array([not batch.spans_of(i) for i in range(batch.num_requests)])
    return few


def _alike(rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Splits rows into runs of similar length, shortest first; in the batch's order if one run holds them all."""
    if not len(rows):
        return
    own = lengths[rows]
    if own.max() <= max(SMALL_DECODE, MAX_PADDING * own.min()):
        yield rows
        return
    order = rows[np.argsort(own, kind="stable")]
    begin = 0
    for i in range(1, len(order) + 1):
        if i == len(order) or lengths[order[i]] > max(SMALL_DECODE, MAX_PADDING * lengths[order[begin]]):
            yield order[begin:i]
            begin = i


def _decode_group(
    batch: RaggedBatch, rows: NDArray[np.int64], requests: NDArray[np.int64], first: NDArray[np.int64]
) -> DecodeGroup:
    """Of these rows, each of a request and with keys from `first` on."""
    positions, size = batch.new_positions[rows], batch.page_size
    lengths = positions + 1 - first
    longest = int(lengths.max())
    if first[0] % size == 0 and (first == first[0]).all():
        pages = batch.pages[requests, first[0] // size : -(-(first[0] + longest) // size)]
        slots = (pages[:, :, None] * size + np.arange(size)).reshape(len(rows), -1)
        slots = np.ascontiguousarray(slots[:, :longest])
    else:
        keys = np.minimum(first[:, None] + np.arange(longest), positions[:, None])
        slots = batch.pages[requests[:, None], keys // size] * size + keys % size
    return DecodeGroup(rows, slots, lengths)


def _share(batch: RaggedBatch, plan: AttentionPlan, min_saved: int) -> NDArray[np.int64]:
    """Adds the segments worth having; returns, for each request, the position where its own part begins."""
    runs, own = shared_runs(batch, min_saved)
    plan.segments.extend(Segment(run.rows(batch), batch.slots(run.members[0], run.begin, run.end)) for run in runs)
    return own


def shared_runs(batch: RaggedBatch, min_saved: int) -> tuple[list[SharedRun], NDArray[np.int64]]:
    """Runs of pages worth reading once for all their members: those that spare at least `min_saved` tokens from being
    read again. And for each request, where its own part begins.
    """
    shareable = batch.starts // batch.page_size
    own = np.zeros(batch.num_requests, dtype=np.int64)
    runs: list[SharedRun] = []
    several = np.flatnonzero(shareable)
    if len(several) < 2:
        return runs, own
    tables = batch.pages[several, : int(shareable.max())]
    tables[np.arange(tables.shape[1]) >= shareable[several, None]] = -1
    in_bytes = [row.tobytes() for row in tables.astype(">i4")]
    in_order = sorted(range(len(several)), key=in_bytes.__getitem__)
    order = several[in_order].tolist()
    common = _common_pages(tables[in_order], shareable[order]).tolist()
    # A stack of (first, last + 1, pages already given to a run) over `order`.
    groups = [(0, len(order), 0)]
    while groups:
        begin, end, depth = groups.pop()
        if end - begin < 2:
            continue
        least = min(common[begin : end - 1])
        if (end - begin - 1) * (least - depth) * batch.page_size >= min_saved:
            members = order[begin:end]
            runs.append(SharedRun(members, depth * batch.page_size, least * batch.page_size))
            own[members] = least * batch.page_size
            depth = least
        cuts = [i + 1 for i in range(begin, end - 1) if common[i] == least]
        groups.extend((a, b, depth) for a, b in zip([begin, *cuts], [*cuts, end], strict=True))
    return runs, own


def _common_pages(tables: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each table but the last, how many leading pages the next one has too, of those within both lengths."""
    different = tables[1:] != tables[:-1]
    first = np.where(different.any(axis=1), different.argmax(axis=1), tables.shape[1])
    found: NDArray[np.int64] = np.minimum(first, np.minimum(lengths[1:], lengths[:-1]))
    return found
