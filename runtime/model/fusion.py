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
    probe = _Probe(module, vocab_size, _probe_positions(context_length, three_positions), step)
    decoder = DenseDecoder.of(module, ops, pack)
    if decoder is not None:
        if probe.agrees(decoder):
            return decoder
        decoder.give_back()
        _log.warning(
            "%s looks like a plain decoder but computes something else; it runs as it is", type(module).__name__
        )
    if pack:
        pack_linears(module)
    return None


class _Probe:
    """A few tokens, and what the model makes of them."""

    def __init__(self, module: PreTrainedModel, vocab_size: int, positions: torch.Tensor, step: ProbeStep) -> None:
        generator = torch.Generator().manual_seed(0)
        self._ids = torch.randint(0, vocab_size, (1, PROBE_TOKENS), generator=generator).to(module.device)
        self._rows = torch.arange(PROBE_TOKENS, device=module.device)
        self._positions = positions.to(module.device)
        self._step = step
        with torch.inference_mode(), forward_context(step):
            output = module(
                input_ids=self._ids, position_ids=self._positions, use_cache=False, logits_to_keep=self._rows
            )
        self._expected = output.logits[0]

    def agrees(self, decoder: DenseDecoder) -> bool:
        with torch.inference_mode():
            found = decoder.forward(self._ids, self._positions, self._rows, self._step)
        error = (found.double() - self._expected.double()).norm() / self._expected.double().norm()
        return bool(error <= _TOLERANCE[self._expected.dtype])


def _probe_positions(context_length: int, three_positions: bool) -> torch.Tensor:
    """[1, PROBE_TOKENS] over the whole context; or [3, 1, PROBE_TOKENS], each axis in another order."""
    plain = torch.linspace(0, context_length - 1, PROBE_TOKENS).long()[None]
    return torch.stack([plain, plain.flip(1), plain.roll(3, 1)]) if three_positions else plain
