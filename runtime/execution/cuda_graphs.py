"""Decode steps recorded once and replayed: a step of small kernels costs what the GPU needs, not what Python needs.

In comes a `ScheduledBatch` of requests with one token each; out go their logits, or None if no graph fits and the step
has to run as it is. What changes from step to step lies in a `Mailbox`; everything else is frozen by the graph's key:

    size:  requests, filled up with dummies that write to a page of their own, which nobody else has
    form:  direct  each row reads its keys in one piece
           merged  some rows' keys are cut into pieces, for want of rows ("split-K")
           tree    some keys are read once for several requests

One graph runs at a time, so they share what they work in: a memory pool (they are captured largest first, so that
smaller ones fit into what larger ones took), the mailbox's place (page tables of long contexts in small pages come to
100 MB), and the place for their logits, which with many graphs and a large vocabulary would be gigabytes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from runtime.execution.staging import Capacities, Mailbox
from runtime.kernels.attention_items import NARROW_TILE, AttentionShape, StepItems, TooManyRows, cut_attention
from runtime.kernels.contract import Attention, RaggedBatch
from runtime.scheduler.batch import ScheduledBatch, ScheduledRequest

SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_PARTS_OF_A_ROW = 20
"""In a tree, on average: beyond, keys are cut into fewer pieces."""
_ROWS_IN_A_TREE = 4
"""Shared segments that a request reads, on average: beyond, the step runs without a graph."""

Form = Literal["direct", "merged", "tree"]
Run = Callable[[], torch.Tensor]
Capture = Callable[[Run], tuple[torch.Tensor, Callable[[], None]]]
Decode = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Attention], torch.Tensor]
"""(input_ids, positions, slots: int32 [size], attention) -> logits [size, vocab] of any dtype."""

_log = logging.getLogger(__name__)


class GraphBackend(Protocol):
    """What graphs need of `runtime.execution.triton_backend.TritonBackend`."""

    device: torch.device
    shapes: tuple[AttentionShape, ...]
    num_programs: int

    def arrays_of(self, step: StepItems) -> dict[str, NDArray[Any]]: ...

    def attention_of(
        self, tensors: Mapping[str, torch.Tensor], num_parts: Sequence[int], page_size: int
    ) -> Attention: ...

    def capacities(self, lengths: Sequence[Mapping[str, int]], num_pages: int) -> Capacities: ...


@dataclass(frozen=True, slots=True)
class GraphKey:
    size: int
    form: Form


@dataclass(frozen=True, slots=True)
class _Graph:
    mailbox: Mailbox
    logits: torch.Tensor
    replay: Callable[[], None]


class DecodeGraphs:
    """Graphs of a model for up to `max_requests`. Made once the pool is there; captures in `__init__`."""

    def __init__(
        self,
        decode: Decode,
        backend: GraphBackend,
        *,
        max_requests: int,
        max_pages: int,
        page_size: int,
        dummy_page: int,
        capture: Capture,
    ) -> None:
        """max_pages: of one request. dummy_page: one that no request is given. capture: `CudaCapture`, or a test's."""
        self._backend = backend
        self._page_size = page_size
        self._max_pages = max_pages
        self._dummy = np.array([dummy_page], dtype=np.int32)
        self._logits: torch.Tensor | None = None
        """float32 [largest size, vocab]."""
        self._sizes = sorted({min(size, max_requests) for size in SIZES} | {min(max_requests, SIZES[-1])})
        keys = [GraphKey(size, form) for size in reversed(self._sizes) for form in self._forms(size)]
        needed = max(Mailbox.size_of(self._capacities(key)) for key in keys)
        self._memory = torch.zeros(needed, dtype=torch.uint8, device=backend.device)
        progress = track(keys, "capturing graphs", transient=True, disable=not sys.stderr.isatty())
        self._graphs = {key: self._captured(key, decode, capture) for key in progress}

    @property
    def keys(self) -> tuple[GraphKey, ...]:
        """What was captured."""
        return tuple(self._graphs)

    def forward(self, batch: ScheduledBatch, drawn: torch.Tensor | None = None) -> torch.Tensor | None:
        """Logits, float32 [requests, vocab], in the batch's order, to be used before the next call.

        drawn: see `ModelRunner.forward`.
        """
        count = len(batch.requests)
        if count > self._sizes[-1] or not all(_decodes(request) for request in batch.requests):
            return None
        size = next(size for size in self._sizes if size >= count)
        ragged = self._ragged([r.start for r in batch.requests], [r.page_table for r in batch.requests], size)
        try:
            key, step = self._cut(ragged, size)
        except TooManyRows:
            return None
        graph = self._graphs[key]
        token_ids = np.zeros(size, dtype=np.int32)
        token_ids[:count] = [r.token_ids[0] for r in batch.requests]
        arrays = self._arrays(token_ids, ragged, step)
        if not graph.mailbox.holds(arrays):
            return None
        graph.mailbox.put(arrays)
        if drawn is not None:
            graph.mailbox.tensors["input_ids"][:count].copy_(drawn)
        graph.replay()
        return graph.logits[:count]

    def _ragged(self, starts: Sequence[int], tables: Sequence[NDArray[np.int32]], size: int) -> RaggedBatch:
        """The requests, and dummies of one token."""
        dummies = size - len(starts)
        return RaggedBatch(
            np.array([*starts, *[0] * dummies], dtype=np.int64),
            np.ones(size, dtype=np.int64),
            (*tables, *[self._dummy] * dummies),
            self._page_size,
        )

    def _cut(self, ragged: RaggedBatch, size: int) -> tuple[GraphKey, StepItems]:
        programs = self._backend.num_programs
        items = {
            shape: cut_attention(ragged, shape, programs, self._lengths(shape, size, "tree")["row_parts"])
            for shape in self._backend.shapes
        }
        form: Form = "direct"
        if any(len(of_shape.rows) > size for of_shape in items.values()):
            form = "tree"
        elif not all(of_shape.direct for of_shape in items.values()):
            form = "merged"
        return GraphKey(size, form), StepItems(np.concatenate(ragged.page_tables), items)

    def _arrays(self, token_ids: NDArray[np.int32], ragged: RaggedBatch, step: StepItems) -> dict[str, NDArray[Any]]:
        last = np.array(
            [table[start // self._page_size] for table, start in zip(ragged.page_tables, ragged.starts, strict=True)]
        )
        slots = last * self._page_size + ragged.starts % self._page_size
        own = {"input_ids": token_ids, "positions": ragged.starts.astype(np.int32), "slots": slots.astype(np.int32)}
        return own | self._backend.arrays_of(step)

    def _forms(self, size: int) -> Iterator[Form]:
        yield "direct"
        yield "merged"
        shares = any(s.sliding_window is None and s.chunk_size is None for s in self._backend.shapes)
        if size > 1 and shares:
            yield "tree"

    def _lengths(self, shape: AttentionShape, size: int, form: Form) -> dict[str, int]:
        """The most that arrays of a step of this form can hold. See `cut_attention` for why there are no more items."""
        narrow = shape.group_size <= NARROW_TILE or shape.wide_tile == NARROW_TILE
        tiles = -(-shape.group_size // (NARROW_TILE if narrow else shape.wide_tile))
        splits = 0 if form == "direct" else -(-self._backend.num_programs // shape.num_kv_heads)
        items, rows, parts = (size + splits) * tiles, size, size + splits
        if form == "tree":
            items, rows, parts = 2 * items, _ROWS_IN_A_TREE * size, _PARTS_OF_A_ROW * size + splits
        return {
            "narrow": items if narrow or form == "tree" else 0,
            "wide": 0 if narrow and form != "tree" else items,
            "first": size,
            "last": size,
            "rows": rows,
            "row_parts": parts,
            "part_starts": size + 1,
        }

    def _capacities(self, key: GraphKey) -> Capacities:
        lengths = [self._lengths(shape, key.size, key.form) for shape in self._backend.shapes]
        own = dict.fromkeys(("input_ids", "positions", "slots"), ((key.size,), np.int32))
        return own | self._backend.capacities(lengths, key.size * self._max_pages)

    def _captured(self, key: GraphKey, decode: Decode, capture: Capture) -> _Graph:
        size, backend = key.size, self._backend
        mailbox = Mailbox(self._capacities(key), self._memory)
        dummies = self._ragged([], [], size)
        _, step = self._cut(dummies, size)
        mailbox.put(self._arrays(np.zeros(size, dtype=np.int32), dummies, step))
        num_parts = [
            0 if key.form == "direct" else self._lengths(shape, size, key.form)["row_parts"] for shape in backend.shapes
        ]
        tensors: Mapping[str, torch.Tensor] = mailbox.tensors
        attention = backend.attention_of(tensors, num_parts, self._page_size)

        def run() -> torch.Tensor:
            logits = decode(tensors["input_ids"], tensors["positions"], tensors["slots"], attention)
            if self._logits is None:  # in the first run of the largest graph, which is not recorded
                self._logits = logits.float()
            return self._logits[:size].copy_(logits)

        return _Graph(mailbox, *capture(run))


def _decodes(request: ScheduledRequest) -> bool:
    """Whether it computes one token of text, and wants its logits."""
    text = request.layout is None or request.start >= request.layout.images_end
    return request.count == 1 and request.logits_from == 0 and text


class CudaCapture:
    """Records what a function launches on the current GPU. All graphs of one object share their memory.

    Two streams for all of them, for the libraries keep a workspace for each stream that they have seen (32 MiB on
    sm_90). Functions are tried in one and recorded in the other: what recordings work in is then their own memory.
    """

    def __init__(self) -> None:
        self._memory = torch.cuda.graph_pool_handle()
        self._trial, self._stream = torch.cuda.Stream(), torch.cuda.Stream()

    def __call__(self, run: Run) -> tuple[torch.Tensor, Callable[[], None]]:
        caller = torch.cuda.current_stream()
        self._trial.wait_stream(caller)
        with torch.cuda.stream(self._trial), torch.inference_mode():
            run()  # kernels are compiled and loaded outside of the graph
        caller.wait_stream(self._trial)
        graph = torch.cuda.CUDAGraph()
        # "thread_local": what other threads do meanwhile (an engine may be serving) is allowed, and not recorded.
        recording = torch.cuda.graph(graph, pool=self._memory, stream=self._stream, capture_error_mode="thread_local")
        try:
            # What torch shares between all graphs of the process must not become inference tensors.
            with torch.inference_mode(False), recording, torch.inference_mode():
                logits = run()
        except Exception:
            self._clean_up(caller)
            raise
        return logits, graph.replay

    def _clean_up(self, caller: torch.cuda.Stream) -> None:
        """torch (2.11) stays in the stream of a recording that failed, and its allocator waits for the end of it."""
        torch.cuda.set_stream(caller)
        with suppress(RuntimeError):  # it was ended
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self._memory)


def capture_or_none(make: Callable[[], DecodeGraphs], name: str) -> DecodeGraphs | None:
    """None, and a warning, for a model that cannot be captured (it waits for the device, or its shapes vary)."""
    try:
        return make()
    except RuntimeError as error:
        _log.warning("%s cannot be captured in CUDA graphs and decodes without: %s", name, str(error).splitlines()[0])
        torch.cuda.synchronize()
        return None
