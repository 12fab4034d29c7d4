"""Runs the model over one step: a `ScheduledBatch` in, rows of logits out.

Owns the KV pool and the choice of attention backend. Does not know why requests are in the batch, nor what is done with
their logits.
"""

from __future__ import annotations

import os
from typing import cast

import torch
from torch import nn

from runtime.cache.kv_pool import KVPool, bytes_per_token, pages_in
from runtime.config import EngineConfig
from runtime.execution.forward_batch import ForwardBatch
from runtime.kernels.contract import Attention, AttentionLayer
from runtime.kernels.cpu_attention import CpuAttention
from runtime.model.forward_context import forward_context
from runtime.model.loader import LoadedModel
from runtime.scheduler.batch import ScheduledBatch

_CPU_FRACTION = 0.25
"""Of the memory that is free on a CPU machine; the rest is other people's."""


class ModelRunner:
    """num_pages, page_size: the pool's, for the page allocator."""

    def __init__(self, model: LoadedModel, config: EngineConfig) -> None:
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        self._module = model.module
        self._vocab_size = model.vocab_size
        self._device = model.device
        self.page_size = config.page_size
        self.num_pages = pages_in(_kv_bytes(model, config), model.layers, config.page_size, model.dtype)
        self.pool = KVPool(model.layers, self.num_pages, config.page_size, model.dtype, model.device)

    @torch.inference_mode()
    def forward(self, batch: ScheduledBatch) -> torch.Tensor:
        """Logits, float32 [sum(count - logits_from), vocab_size], in the batch's order; writes keys and values."""
        forward = ForwardBatch.build(batch, self.page_size, self._device)
        step = _PagedStep(self.pool, forward.slots, CpuAttention(forward.ragged))
        with forward_context(step):
            output = self._module(
                input_ids=forward.input_ids,
                position_ids=forward.position_ids,
                use_cache=False,
                logits_to_keep=forward.logit_rows,
            )
        return output.logits[0].float()


class _PagedStep:
    """Answers a step's attention calls: writes keys and values into the pool, then attends over it."""

    def __init__(self, pool: KVPool, slots: torch.Tensor, attention: Attention) -> None:
        self._pool = pool
        self._slots = slots
        self._attention = attention

    def attend(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None,
        sliding_window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        layer = cast(AttentionLayer, module.paged_attention)
        pool = self._pool
        pool.write(layer.index, self._slots, key[0].transpose(0, 1), value[0].transpose(0, 1))
        rows = query[0].transpose(0, 1)
        return self._attention.attend(layer, rows, pool.keys[layer.index], pool.values[layer.index], sinks)[None]


def _kv_bytes(model: LoadedModel, config: EngineConfig) -> int:
    """What the pool may take: as told, else a part of what is free, at most what all requests at full length need."""
    if config.kv_cache_bytes is not None:
        return config.kv_cache_bytes
    if model.device.type == "cuda":
        free, total = torch.cuda.mem_get_info(model.device)
        share = free - int(total * (1.0 - config.gpu_memory_utilization))
    else:
        share = int(_available_memory() * _CPU_FRACTION)
    pages = -(-model.context_length // config.page_size) * config.max_num_seqs
    return min(share, pages * config.page_size * bytes_per_token(model.layers, model.dtype))


def _available_memory() -> int:
    """Bytes that can be taken without swapping."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
