"""How much memory the KV pool may take."""

from __future__ import annotations

import os
from collections.abc import Callable

import torch

from runtime.cache.kv_pool import bytes_per_token
from runtime.config import EngineConfig
from runtime.model.loader import LoadedModel

CPU_FRACTION = 0.25
"""Of the memory that is free on a CPU machine; the rest is other people's."""
_GRAPHS = 1 << 30
"""Bytes that are left for CUDA graphs, and for what the allocator cannot fill."""


def kv_bytes(
    model: LoadedModel, config: EngineConfig, dtype: torch.dtype, largest_step: Callable[[], Callable[[], object]]
) -> int:
    """What the pool may take: as told, else a part of what is free, at most what all requests at full length need.

    dtype: of the pool. largest_step: makes what runs a step of as many tokens as there will ever be in one; on a GPU it
    is measured what the run takes.
    """
    if config.kv_cache_bytes is not None:
        return config.kv_cache_bytes
    if model.device.type == "cuda":
        activations = _peak_of(largest_step(), model.device)
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(model.device)
        share = free - int(total * (1.0 - config.gpu_memory_utilization)) - activations - _GRAPHS
    else:
        share = int(available_memory() * CPU_FRACTION)
    pages = -(-model.context_length // config.page_size) * config.max_num_seqs
    return min(share, pages * config.page_size * bytes_per_token(model.layers, dtype))


def _peak_of(run: Callable[[], object], device: torch.device) -> int:
    """Bytes that `run` takes at its height and gives back."""
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def available_memory() -> int:
    """Bytes of the machine that can be taken without swapping."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
