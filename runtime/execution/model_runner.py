"""Runs the model over one step: a `ScheduledBatch` in, rows of logits out.

Owns the KV pool and the choice of attention backend. Does not know why requests are in the batch, nor what is done with
their logits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from runtime.cache.kv_pool import KVPool, bytes_per_token, pages_in
from runtime.config import EngineConfig
from runtime.execution.forward_batch import ForwardBatch, position_ids
from runtime.execution.image_rows import ImageRows
from runtime.kernels.contract import Attention, AttentionLayer, RaggedBatch
from runtime.kernels.cpu_attention import CpuAttention
from runtime.kernels.cpu_ops import LOADED_WITHIN, CpuOps
from runtime.model.dense_decoder import DenseDecoder, SingleToken
from runtime.model.forward_context import forward_context
from runtime.model.fusion import PROBE_TOKENS, fuse
from runtime.model.loader import LoadedModel
from runtime.prompt_layout import ProcessedImage
from runtime.scheduler.batch import ScheduledBatch, ScheduledRequest

_CPU_FRACTION = 0.25
"""Of the memory that is free on a CPU machine; the rest is other people's."""


class ModelRunner:
    """num_pages, page_size: the pool's, for the page allocator."""

    def __init__(self, model: LoadedModel, config: EngineConfig) -> None:
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        self._module = model.module
        self._device = model.device
        self.page_size = config.page_size
        self.num_pages = pages_in(_kv_bytes(model, config), model.layers, config.page_size, model.dtype)
        self._alone = config.deterministic
        patience = None if self._alone else LOADED_WITHIN
        self.ops = CpuOps(model.dtype, compiled=model.device.type == "cpu", patience=patience)
        self._vision = model.vision
        self._three_positions = model.vision is not None and model.vision.family.three_positions
        self.decoder = self._fused(model) if model.device.type == "cpu" else None
        self.pool = KVPool(model.layers, self.num_pages, config.page_size, model.dtype, model.device)

    @torch.inference_mode()
    def forward(self, batch: ScheduledBatch) -> torch.Tensor:
        """Logits, float32 [sum(count - logits_from), vocab_size], in the batch's order; writes keys and values."""
        if self.decoder is not None and batch.num_tokens == 1 and _is_text(batch) and self.decoder.takes_single():
            return self._forward_single(batch.requests[0], self.decoder)
        forward = ForwardBatch.build(batch, self.page_size, self._device, self._three_positions)
        step = _PagedStep(self.pool, forward.slots, CpuAttention(forward.ragged, self.ops, self._alone), self.ops)
        if forward.images is not None:
            return self._forward_images(forward, forward.images, batch.upcoming, step)
        if self.decoder is not None:
            return self.decoder.forward(forward.input_ids, forward.position_ids, forward.logit_rows, step).float()
        with forward_context(step):
            output = self._module(
                input_ids=forward.input_ids,
                position_ids=forward.position_ids,
                use_cache=False,
                logits_to_keep=forward.logit_rows,
            )
        return output.logits[0].float()

    def _forward_images(
        self, forward: ForwardBatch, images: ImageRows, upcoming: Sequence[ProcessedImage], step: _PagedStep
    ) -> torch.Tensor:
        """Logits of a step in which some tokens are images'."""
        assert self._vision is not None
        features = self._vision.encoder.features(images.images, upcoming)
        self._vision.encoder.stats.image_tokens_computed += len(images.rows)
        embeddings = images.put(self._module.get_input_embeddings()(forward.input_ids), features)
        if self.decoder is not None:
            positions, rows = forward.position_ids, forward.logit_rows
            return self.decoder.forward(forward.input_ids, positions, rows, step, embeddings[0]).float()
        deep = images.deep(features, embeddings.dtype)
        extra: dict[str, Any] = {}
        if deep:
            of_images = torch.zeros(embeddings.shape[:2], dtype=torch.bool, device=embeddings.device)
            of_images[0, torch.from_numpy(images.rows).to(of_images.device)] = True
            extra = {"visual_pos_masks": of_images, "deepstack_visual_embeds": deep}
        with forward_context(step):
            hidden = self._module.get_decoder()(
                inputs_embeds=embeddings, position_ids=forward.position_ids, use_cache=False, **extra
            ).last_hidden_state
        return self._module.get_output_embeddings()(hidden[:, forward.logit_rows])[0].float()

    def _forward_single(self, request: ScheduledRequest, decoder: DenseDecoder) -> torch.Tensor:
        ragged = RaggedBatch(np.array([request.start]), np.ones(1, np.int64), (request.page_table,), self.page_size)
        token = SingleToken(ragged.slots(0, 0, request.start + 1)[None], *self.pool.stacked())
        positions = position_ids(ScheduledBatch((request,)), self._three_positions)
        logits = decoder.forward_single(int(request.token_ids[0]), request.start, positions, token)
        return logits[request.logits_from :]

    def _fused(self, model: LoadedModel) -> DenseDecoder | None:
        weights = sum(parameter.nbytes for parameter in model.module.parameters())
        pack = weights < _CPU_FRACTION * _available_memory()
        ragged = RaggedBatch(
            np.zeros(1, np.int64), np.array([PROBE_TOKENS]), (np.arange(PROBE_TOKENS, dtype=np.int32),), page_size=1
        )
        pool = KVPool(model.layers, PROBE_TOKENS, 1, model.dtype, model.device)
        step = _PagedStep(pool, torch.arange(PROBE_TOKENS), CpuAttention(ragged, self.ops), self.ops)
        return fuse(model.module, model.vocab_size, model.context_length, self.ops, pack, step, self._three_positions)


def _is_text(batch: ScheduledBatch) -> bool:
    """Whether no token of the step is an image's."""
    return all(r.layout is None or r.start >= r.layout.images_end for r in batch.requests)


class _PagedStep:
    """Answers a step's attention calls: writes keys and values into the pool, then attends over it."""

    def __init__(self, pool: KVPool, slots: torch.Tensor, attention: Attention, ops: CpuOps) -> None:
        self._pool = pool
        self._ops = ops
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

    def attend_merged(
        self, layer: AttentionLayer, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """See `runtime.model.dense_decoder.MergedAttention`."""
        keys, values = self._pool.keys[layer.index], self._pool.values[layer.index]
        query = self._ops.rotate_and_write(qkv, cos, sin, self._slots, keys, values)
        return self._attention.attend(layer, query, keys, values, None).flatten(1)


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
