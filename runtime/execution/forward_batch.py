"""A `ScheduledBatch` as a model takes it: flat tensors on the device, made with numpy in a few allocations.

Knows pages and positions. Knows neither the model nor who scheduled what.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from runtime.kernels.contract import RaggedBatch
from runtime.scheduler.batch import ScheduledBatch


@dataclass(frozen=True, slots=True)
class ForwardBatch:
    """One step on the device. T is the number of tokens of all requests.

    input_ids, position_ids: int64 [1, T].
    slots:      int64 [T], where each token's keys and values are written.
    logit_rows: int64 [rows], tokens whose logits are wanted.
    ragged:     the same requests for attention, on the host.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    slots: torch.Tensor
    logit_rows: torch.Tensor
    ragged: RaggedBatch

    @classmethod
    def build(cls, batch: ScheduledBatch, page_size: int, device: torch.device) -> ForwardBatch:
        """The batch must hold at least one request."""
        requests = batch.requests
        counts = np.fromiter((r.count for r in requests), np.int64, len(requests))
        starts = np.fromiter((r.start for r in requests), np.int64, len(requests))
        ragged = RaggedBatch(starts, counts, tuple(r.page_table for r in requests), page_size)
        ends = ragged.query_starts
        flat = np.empty((3, int(ends[-1])), dtype=np.int64)
        token_ids, positions, slots = flat
        np.concatenate([r.token_ids for r in requests], out=token_ids)
        positions[:] = np.arange(len(positions)) + np.repeat(starts - ends[:-1], counts)
        np.concatenate([ragged.slots(i, r.start, r.start + r.count) for i, r in enumerate(requests)], out=slots)
        rows = [
            np.arange(ends[i] + r.logits_from, ends[i + 1]) for i, r in enumerate(requests) if r.logits_from < r.count
        ]
        logit_rows = np.concatenate(rows) if rows else np.empty(0, np.int64)
        device_flat = torch.from_numpy(flat).to(device, non_blocking=True)
        return cls(
            input_ids=device_flat[0:1],
            position_ids=device_flat[1:2],
            slots=device_flat[2],
            logit_rows=torch.from_numpy(logit_rows).to(device, non_blocking=True),
            ragged=ragged,
        )
