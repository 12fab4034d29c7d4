"""Makes a loaded model faster without changing what it computes: matched by its parts, accepted by numbers.

In comes a model with attention facts attached; out goes the decoder to call in its place, or None where only its
linear layers were replaced. A replacement is kept only if its logits are the model's own on tokens at positions
spread over the whole context (a family may do something to far positions only).
"""

from __future__ import annotations

import logging
from typing import Protocol

import torch
from transformers import PreTrainedModel

from runtime.model.dense_decoder import DecoderOps, DenseDecoder, MergedAttention
from runtime.model.forward_context import AttentionStep, forward_context
from runtime.model.packed_linear import pack_linears

_log = logging.getLogger(__name__)
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9, torch.bfloat16: 4e-2, torch.float16: 1e-2}
"""Of the norm of the difference against the norm of the logits: each dtype's own rounding, and no more."""
PROBE_TOKENS = 16


class ProbeStep(AttentionStep, MergedAttention, Protocol):
    """Attention over `PROBE_TOKENS` tokens of one request, answered for either kind of call, as often as asked."""


def fuse(
    module: PreTrainedModel,
    vocab_size: int,
    context_length: int,
    ops: DecoderOps,
    pack: bool,
    step: ProbeStep,
    three_positions: bool = False,
) -> DenseDecoder | None:
    """The decoder that computes what `module` computes, or None; then at least the module's linear layers are packed.

    pack: whether there is memory for a second copy of the weights.
    three_positions: whether the model takes positions [3, 1, T].
    """
    decoder = DenseDecoder.of(module, ops, pack)
    if decoder is not None:
        if _agrees(module, decoder, vocab_size, _probe_positions(context_length, three_positions), step):
            return decoder
        _log.warning(
            "%s looks like a plain decoder but computes something else; it runs as it is", type(module).__name__
        )
    if pack:
        pack_linears(module)
    return None


def _agrees(
    module: PreTrainedModel, decoder: DenseDecoder, vocab_size: int, positions: torch.Tensor, step: ProbeStep
) -> bool:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, vocab_size, (1, PROBE_TOKENS), generator=generator).to(module.device)
    rows = torch.arange(PROBE_TOKENS, device=module.device)
    positions = positions.to(module.device)
    with torch.inference_mode():
        with forward_context(step):
            expected = module(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=rows).logits[0]
        found = decoder.forward(ids, positions, rows, step)
    error = (found.double() - expected.double()).norm() / expected.double().norm()
    return bool(error <= _TOLERANCE[expected.dtype])


def _probe_positions(context_length: int, three_positions: bool) -> torch.Tensor:
    """[1, PROBE_TOKENS] over the whole context; or [3, 1, PROBE_TOKENS], each axis in another order."""
    plain = torch.linspace(0, context_length - 1, PROBE_TOKENS).long()[None]
    return torch.stack([plain, plain.flip(1), plain.roll(3, 1)]) if three_positions else plain
