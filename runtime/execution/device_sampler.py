"""The sampler for logits on a GPU: two kernels a step, one small copy there and one back.

In comes what `Sampler.sample` takes; the rules are the same, and so are the draws up to rounding. The host makes lists
(which logits are edited, what each row's parameters are); it waits for nothing until the tokens are read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.execution.logit_edits import SUPPRESSED, edits_logits
from runtime.execution.sampler import GREEDY_BELOW, Sampler, uniform_draws
from runtime.execution.staging import send
from runtime.kernels.triton.draw_tokens import draw_tokens
from runtime.kernels.triton.edit_logits import edit_logits
from runtime.scheduler.batch import ScheduledRequest


class DeviceSampler(Sampler):
    """Draws one token for each request with `samples`."""

    def _draw(
        self, logits: torch.Tensor, requests: Sequence[ScheduledRequest], masks: NDArray[np.int32] | None
    ) -> torch.Tensor:
        logits = logits.contiguous()
        arrays = _parameters(requests) | _masks(masks) | _edits(requests, logits.shape[1], self._eos_token_ids)
        sent = send(arrays, logits.device)
        if "at" in sent:
            edit_logits(logits, sent["at"], sent["factor"], sent["amount"], sent["replace"])
        names = ("masks", "mask_rows", "temperature", "top_k", "top_p", "min_p", "uniform")
        return draw_tokens(logits, *(sent.get(name) for name in names))


def _parameters(requests: Sequence[ScheduledRequest]) -> dict[str, NDArray[np.generic]]:
    """None at all if every request takes the likeliest token."""
    params = [request.sampling for request in requests]
    temperature = np.array([p.temperature for p in params], dtype=np.float32)
    temperature[temperature < GREEDY_BELOW] = 0
    if not temperature.any():
        return {}
    return {
        "temperature": temperature,
        "top_k": np.array([p.top_k for p in params], dtype=np.int32),
        "top_p": np.array([p.top_p for p in params], dtype=np.float32),
        "min_p": np.array([p.min_p for p in params], dtype=np.float32),
        "uniform": uniform_draws(requests),
    }


def _masks(masks: NDArray[np.int32] | None) -> dict[str, NDArray[np.generic]]:
    """The rows that forbid something, and which of them is each request's; -1: none."""
    if masks is None:
        return {}
    constrained = masks[:, 0] != -1  # most rows show it here: what comes first is special tokens
    unsure = np.flatnonzero(~constrained)
    if len(unsure):
        constrained[unsure] = (masks[unsure] != -1).any(axis=1)
        if not constrained.any():
            return {}
    rows = np.where(constrained, np.cumsum(constrained) - 1, -1).astype(np.int32)
    return {"masks": masks if constrained.all() else masks[constrained], "mask_rows": rows}


def _edits(
    requests: Sequence[ScheduledRequest], width: int, eos_token_ids: Collection[int]
) -> dict[str, NDArray[np.generic]]:
    """Each logit that parameters change, once: penalties, then biases, then minimum lengths, as `logit_edits` does."""
    factor: dict[int, float] = {}
    amount: dict[int, float] = {}
    stopped: set[int] = set()
    for row, request in enumerate(requests):
        params, history = request.sampling, request.history
        if not edits_logits(params, history.step):
            continue
        base = row * width
        if params.repetition_penalty != 1.0:
            factor.update((base + t, params.repetition_penalty) for t in _known(history.token_ids, width)[0])
        if params.presence_penalty or params.frequency_penalty:
            for token, count in zip(*_known(history.output_ids, width), strict=True):
                amount[base + token] = -(params.presence_penalty + params.frequency_penalty * count)
        for token, bias in (params.logit_bias or {}).items():
            amount[base + token] = amount.get(base + token, 0.0) + max(SUPPRESSED, min(-SUPPRESSED, bias))
        if history.step < params.min_tokens:
            stopped.update(base + token for token in {*eos_token_ids, *params.stop_token_ids})
    places = sorted({*factor, *amount, *stopped})
    if not places:
        return {}
    return {
        "at": np.array(places, dtype=np.int64),
        "factor": _column(factor, places, 1.0),
        "amount": _column(amount, places, 0.0),
        "replace": np.array([SUPPRESSED if place in stopped else 0.0 for place in places], dtype=np.float32),
    }


def _known(token_ids: NDArray[np.int64], width: int) -> tuple[list[int], list[int]]:
    """Tokens that occur, and how often. Those of images may lie outside the vocabulary, and have no logit."""
    tokens, counts = np.unique(token_ids[token_ids < width], return_counts=True)
    return tokens.tolist(), counts.tolist()


def _column(found: Mapping[int, float], places: Sequence[int], otherwise: float) -> NDArray[np.float32]:
    return np.array([found.get(place, otherwise) for place in places], dtype=np.float32)
