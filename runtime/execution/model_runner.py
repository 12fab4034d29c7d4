"""Runs the model over one step: a `ScheduledBatch` in, rows of logits out.

Owns the KV pool and the choice of attention backend. Does not know why requests are in the batch, nor what is done with
their logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.cache.kv_pool import KVPool, pages_in
from runtime.config import EngineConfig
from runtime.execution.backends import choose_backend
from runtime.execution.cuda_graphs import Capture, CudaCapture, DecodeGraphs, GraphBackend, capture_or_none
from runtime.execution.forward_batch import ForwardBatch, position_ids
from runtime.execution.halving import forward_in_halves
from runtime.execution.image_rows import ImageRows
from runtime.execution.paged_step import PagedStep
from runtime.execution.pool_size import CPU_FRACTION, available_memory, kv_bytes
from runtime.kernels.contract import Attention, RaggedBatch
from runtime.model import discovery
from runtime.model.dense_decoder import DenseDecoder, SingleToken
from runtime.model.forward_context import forward_context
from runtime.model.fusion import PROBE_TOKENS, fuse
from runtime.model.loader import LoadedModel
from runtime.prompt_layout import ProcessedImage
from runtime.scheduler.batch import ScheduledBatch, ScheduledRequest


class ModelRunner:
    """num_pages, page_size: the pool's, for the page allocator."""

    def __init__(self, model: LoadedModel, config: EngineConfig) -> None:
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        self._model = model
        self._module = model.module
        self._device = model.device
        self._use_device()
        self._vision = model.vision
        self._three_positions = model.vision is not None and model.vision.family.three_positions
        self.page_size = config.page_size
        self.backend = choose_backend(model, config)
        self.ops = self.backend.ops
        self.decoder = self._fused(model)
        self.num_pages, self.pool = self._make_pool(model, config)
        self.graphs = self._capture(model, config) if config.cuda_graphs else None

    @torch.inference_mode()
    def forward(self, batch: ScheduledBatch, drawn: torch.Tensor | None = None) -> torch.Tensor:
        """Logits, float32 [sum(count - logits_from), vocab_size], in the batch's order; writes keys and values.

        They may be overwritten by the next call. drawn: int64 [requests], of a step made ahead: the token that each
        request computes. On a GPU nothing waits for them.
        """
        self._use_device()
        if drawn is not None and self.backend.name == "cpu":
            batch, drawn = batch.with_tokens(drawn.cpu().numpy()), None
        logits = forward_in_halves(self._forward, batch, drawn)
        self.pool.populate()  # only now: the first token need not wait for it
        return logits

    def _use_device(self) -> None:
        """Kernels are launched on the thread's current GPU; the thread that serves is not the one that loads."""
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)

    def _forward(self, batch: ScheduledBatch, drawn: torch.Tensor | None) -> torch.Tensor:
        if self.decoder is not None and batch.num_tokens == 1 and _is_text(batch) and self.decoder.takes_single():
            return self._forward_single(batch.requests[0], self.decoder)
        replayed = None if self.graphs is None else self.graphs.forward(batch, drawn)
        if replayed is not None:
            return replayed
        forward = ForwardBatch.build(batch, self.page_size, self._device, self._three_positions, drawn)
        step = PagedStep(self.pool, forward.slots, self.backend.attention(forward.ragged), self.backend)
        if forward.images is not None:
            return self._forward_images(forward, forward.images, batch.upcoming, step)
        return self._logits(forward.input_ids, forward.position_ids, forward.logit_rows, step).float()

    def _logits(
        self, input_ids: torch.Tensor, positions: torch.Tensor, rows: torch.Tensor, step: PagedStep
    ) -> torch.Tensor:
        """In the model's dtype."""
        if self.decoder is not None:
            return self.decoder.forward(input_ids, positions, rows, step)
        with forward_context(step):
            output = self._module(input_ids=input_ids, position_ids=positions, use_cache=False, logits_to_keep=rows)
        return cast(torch.Tensor, output.logits[0])

    def _forward_images(
        self, forward: ForwardBatch, images: ImageRows, upcoming: Sequence[ProcessedImage], step: PagedStep
    ) -> torch.Tensor:
        """Logits of a step in which some tokens are images'."""
        assert self._vision is not None
        features = self._vision.encoder.features(images.images, upcoming)
        self._vision.encoder.stats.image_tokens_computed += len(images.rows)
        if self.decoder is not None:
            embeddings = images.put(self.decoder.embed(forward.input_ids[0])[None], features)
            positions, rows = forward.position_ids, forward.logit_rows
            return self.decoder.forward(forward.input_ids, positions, rows, step, embeddings[0]).float()
        embeddings = images.put(self._module.get_input_embeddings()(forward.input_ids), features)
        deep = images.deep(features, embeddings.dtype)
        extra: dict[str, Any] = {}
        if deep:
            of_images = torch.zeros(embeddings.shape[:2], dtype=torch.bool, device=embeddings.device)
            of_images[0, torch.from_numpy(images.rows).to(of_images.device)] = True
            extra = {"visual_pos_masks": of_images, "deepstack_visual_embeds": deep}
        with forward_context(step):
            hidden = discovery.decoder(self._module)(
                inputs_embeds=embeddings, position_ids=forward.position_ids, use_cache=False, **extra
            ).last_hidden_state
        return self._module.get_output_embeddings()(hidden[:, forward.logit_rows])[0].float()

    def _forward_single(self, request: ScheduledRequest, decoder: DenseDecoder) -> torch.Tensor:
        ragged = RaggedBatch(np.array([request.start]), np.ones(1, np.int64), (request.page_table,), self.page_size)
        token = SingleToken(ragged.slots(0, 0, request.start + 1)[None], *self.pool.stacked())
        positions = position_ids(ScheduledBatch((request,)), self._three_positions)
        logits = decoder.forward_single(int(request.token_ids[0]), request.start, positions, token)
        return logits[request.logits_from :]

    @torch.inference_mode()
    def embed(self, token_ids: Sequence[int]) -> NDArray[np.float32]:
        """[width]: what the head would make the last token's logits of. Beside the pool, in one run."""
        self._use_device()
        ids = torch.tensor([token_ids], device=self._device)
        positions = torch.arange(len(token_ids), device=self._device)[None]
        if self._three_positions:
            positions = positions[None].expand(3, -1, -1)
        step = self._step_alone(self._model, len(token_ids))
        if self.decoder is not None:
            last = torch.tensor([len(token_ids) - 1], device=self._device)
            hidden = self.decoder.hidden(ids, positions, last, step)
        else:
            with forward_context(step):
                hidden = discovery.decoder(self._module)(
                    input_ids=ids, position_ids=positions, use_cache=False
                ).last_hidden_state[0]
        found: NDArray[np.float32] = hidden[-1].float().cpu().numpy()
        return found

    def _fused(self, model: LoadedModel) -> DenseDecoder | None:
        weights = sum(parameter.nbytes for parameter in model.module.parameters())
        pack = self.backend.name == "cpu" and weights < CPU_FRACTION * available_memory()
        step = self._step_alone(model, PROBE_TOKENS)
        return fuse(model.module, model.vocab_size, model.context_length, self.ops, pack, step, self._three_positions)

    def _step_alone(self, model: LoadedModel, num_tokens: int) -> PagedStep:
        """A step of one request of so many tokens, with a pool of its own."""
        pages = np.arange(-(-num_tokens // self.page_size), dtype=np.int32)
        ragged = RaggedBatch(np.zeros(1, np.int64), np.array([num_tokens]), (pages,), self.page_size)
        pool = KVPool(model.layers, len(pages), self.page_size, model.dtype, model.device)
        slots = torch.arange(num_tokens, device=model.device)
        return PagedStep(pool, slots, self.backend.attention(ragged), self.backend)

    def _make_pool(self, model: LoadedModel, config: EngineConfig) -> tuple[int, KVPool]:
        """On a GPU there is a page more than `num_pages`, for what fills up graphs."""
        dtype = torch.float8_e4m3fn if config.kv_cache_dtype == "fp8" else model.dtype
        size = kv_bytes(model, config, dtype, lambda: self._largest_step(model, config))
        num_pages = pages_in(size, model.layers, config.page_size, dtype)
        spare = 1 if self.backend.name == "triton" else 0
        return num_pages, KVPool(model.layers, num_pages + spare, config.page_size, dtype, model.device)

    def _largest_step(self, model: LoadedModel, config: EngineConfig) -> Callable[[], torch.Tensor]:
        """A step of as many tokens as fit into one. What it keeps keys and values in is no part of the run."""
        count = min(config.max_num_batched_tokens, model.context_length)
        zeros = torch.zeros(1, count, dtype=torch.int64, device=model.device)
        rows = torch.arange(min(config.max_num_seqs, count), device=model.device)
        positions = zeros[None].expand(3, -1, -1) if self._three_positions else zeros
        step = self._step_alone(model, count)
        return torch.inference_mode()(lambda: self._logits(zeros, positions, rows, step).float())

    def _capture(self, model: LoadedModel, config: EngineConfig) -> DecodeGraphs | None:
        if model.device.type != "cuda" or self.backend.name != "triton" or self._three_positions:
            return None
        return capture_or_none(
            lambda: self.record(config.max_num_seqs, model.context_length, CudaCapture()), model.name
        )

    @torch.inference_mode()
    def record(self, max_requests: int, context_length: int, capture: Capture) -> DecodeGraphs:
        """Graphs of this model's decode steps; Triton's kernels only."""
        return DecodeGraphs(
            self._decode,
            cast(GraphBackend, self.backend),
            max_requests=max_requests,
            max_pages=-(-context_length // self.page_size),
            page_size=self.page_size,
            dummy_page=self.num_pages,
            capture=capture,
        )

    def _decode(
        self, input_ids: torch.Tensor, positions: torch.Tensor, slots: torch.Tensor, attention: Attention
    ) -> torch.Tensor:
        rows = torch.arange(len(input_ids), device=input_ids.device)
        step = PagedStep(self.pool, slots, attention, self.backend)
        return self._logits(input_ids[None].long(), positions[None].long(), rows, step)


def _is_text(batch: ScheduledBatch) -> bool:
    """Whether no token of the step is an image's."""
    return all(r.layout is None or r.start >= r.layout.images_end for r in batch.requests)
