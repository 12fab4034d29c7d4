"""A `ScheduledBatch` as a model takes it: flat tensors on the device, made with numpy in a few allocations.

Knows pages and positions. Knows neither the model nor who scheduled what.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from runtime.execution.image_rows import ImageRows
from runtime.execution.staging import packed_bytes
from runtime.kernels.contract import RaggedBatch
from runtime.scheduler.batch import ScheduledBatch


@dataclass(frozen=True, slots=True)
class ForwardBatch:
    """One step on the device. T is the number of tokens of all requests.

    input_ids:    int64 [1, T]; 0 where images are.
    position_ids: int64 [1, T], or [3, 1, T] for a model whose rotary positions have three axes.
    slots:      int64 [T], where each token's keys and values are written.
    logit_rows: int64 [rows], tokens whose logits are wanted.
    ragged:     the same requests for attention, on the host.
    images:     which of the tokens are images', if any.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    slots: torch.Tensor
    logit_rows: torch.Tensor
    ragged: RaggedBatch
    images: ImageRows | None = None

    @classmethod
    def build(
        cls,
        batch: ScheduledBatch,
        page_size: int,
        device: torch.device,
        three_positions: bool = False,
        drawn: torch.Tensor | None = None,
    ) -> ForwardBatch:
        """The batch must hold at least one request. drawn: int64 [T], on the device, in place of its tokens."""
        requests = batch.requests
        counts = np.fromiter((r.count for r in requests), np.int64, len(requests))
        starts = np.fromiter((r.start for r in requests), np.int64, len(requests))
        spans = tuple(() if r.layout is None else r.layout.spans for r in requests)
        over_windows = any(r.layout is not None and r.layout.whole_prompt for r in requests)
        tables = tuple(r.page_table for r in requests)
        ragged = RaggedBatch(starts, counts, tables, page_size, spans if any(spans) else (), over_windows)
        ends = ragged.query_starts
        num_tokens, num_rows = int(ends[-1]), sum(r.count - r.logits_from for r in requests)
        packed, memory = packed_bytes(8 * (3 * num_tokens + num_rows), device)
        token_ids, positions, slots, logit_rows = np.split(memory.view(np.int64), np.arange(1, 4) * num_tokens)
        np.concatenate([r.token_ids for r in requests], out=token_ids)
        positions[:] = ragged.new_positions
        slots[:] = ragged.new_slots()
        wanted = np.repeat(starts + [r.logits_from for r in requests], counts)
        logit_rows[:] = np.flatnonzero(positions >= wanted)
        images = ImageRows.of(batch)
        if images is not None:
            token_ids[images.rows] = 0  # an image's token may lie outside the vocabulary
        sent = packed.to(device, non_blocking=True).view(torch.int64)
        flat = sent[: 3 * num_tokens].view(3, 1, num_tokens)
        return cls(
            input_ids=flat[0] if drawn is None else drawn[None],
            position_ids=position_ids(batch, True).to(device) if three_positions else flat[1],
            slots=flat[2, 0],
            logit_rows=sent[3 * num_tokens :],
            ragged=ragged,
            images=images,
        )


def position_ids(batch: ScheduledBatch, three_positions: bool) -> torch.Tensor:
    """int64 [1, T] or [3, 1, T], on the host."""
    axes = 3 if three_positions else 1
    positions = [
        np.broadcast_to(
            np.arange(r.start, r.start + r.count)
            if r.layout is None
            else r.layout.positions_of(r.start, r.start + r.count),
            (axes, r.count),
        )
        for r in batch.requests
    ]
    found = torch.from_numpy(np.concatenate(positions, axis=1))
    return found[:, None] if three_positions else found
