"""What changes the logits of a drawn token before temperature: biases, penalties, minimum lengths and token masks.

In come float32 rows [n, vocab], changed in place, and the n requests they belong to. Each edit touches only rows that
ask for it. Suppression by a request's own parameters is by a large finite amount: where a token mask leaves only such
tokens, the mask wins. A token mask is absolute.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from grammars import apply_masks
from runtime.api import SamplingParams
from runtime.scheduler.batch import ScheduledRequest

SUPPRESSED = -1e30
"""Finite, below any logit, and still finite after division by the smallest temperature."""


def edits_logits(params: SamplingParams, step: int) -> bool:
    """Whether `edit_logits` would change a row with these parameters, whose next token is output token `step`."""
    return (
        step < params.min_tokens
        or params.repetition_penalty != 1.0
        or params.presence_penalty != 0.0
        or params.frequency_penalty != 0.0
        or bool(params.logit_bias)
    )


def edit_logits(logits: torch.Tensor, requests: Sequence[ScheduledRequest], eos_token_ids: Collection[int]) -> None:
    """Applies penalties, then biases, then minimum lengths, as vLLM does."""
    _penalise(logits, requests)
    rows: list[int] = []
    tokens: list[int] = []
    amounts: list[float] = []
    for row, request in enumerate(requests):
        params = request.sampling
        if params.logit_bias:
            rows.extend([row] * len(params.logit_bias))
            tokens.extend(params.logit_bias)
            amounts.extend(max(SUPPRESSED, min(-SUPPRESSED, value)) for value in params.logit_bias.values())
    if rows:
        flat = torch.tensor(rows) * logits.shape[1] + torch.tensor(tokens)
        flat_logits = logits.view(-1)
        flat = flat.to(logits.device)
        flat_logits[flat] += torch.tensor(amounts, dtype=logits.dtype, device=logits.device)
    stops = [
        row * logits.shape[1] + token
        for row, request in enumerate(requests)
        if request.history.step < request.sampling.min_tokens
        for token in {*eos_token_ids, *request.sampling.stop_token_ids}
    ]
    if stops:
        logits.view(-1)[torch.tensor(stops, device=logits.device)] = SUPPRESSED


def _penalise(logits: torch.Tensor, requests: Sequence[ScheduledRequest]) -> None:
    """repetition: each token of prompt and output, once. presence, frequency: tokens of the output."""
    width = logits.shape[1]
    repeated = [r for r, request in enumerate(requests) if request.sampling.repetition_penalty != 1.0]
    if repeated:
        keys, _ = _token_counts([(row, requests[row].history.token_ids) for row in repeated], width)
        factors = np.array([request.sampling.repetition_penalty for request in requests], dtype=np.float32)
        factor = torch.from_numpy(factors[keys // width]).to(logits.device)
        at = torch.from_numpy(keys).to(logits.device)
        found = logits.view(-1)[at]
        logits.view(-1)[at] = torch.where(found > 0, found / factor, found * factor)
    counted = [
        row
        for row, request in enumerate(requests)
        if (request.sampling.presence_penalty or request.sampling.frequency_penalty) and request.history.step
    ]
    if counted:
        keys, counts = _token_counts([(row, requests[row].history.output_ids) for row in counted], width)
        rows = keys // width
        presence = np.array([request.sampling.presence_penalty for request in requests], dtype=np.float32)
        frequency = np.array([request.sampling.frequency_penalty for request in requests], dtype=np.float32)
        amount = torch.from_numpy(presence[rows] + frequency[rows] * counts.astype(np.float32))
        logits.view(-1)[torch.from_numpy(keys).to(logits.device)] -= amount.to(logits.device)


def _token_counts(
    histories: Sequence[tuple[int, NDArray[np.int64]]], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions row * width + token that occur, and how often each."""
    keys = np.concatenate([row * width + tokens[tokens < width] for row, tokens in histories])  # images' may be outside
    return np.unique(keys, return_counts=True)


def apply_token_masks(logits: torch.Tensor, masks: NDArray[np.int32]) -> None:
    """Sets tokens to -inf whose bit in masks [n, ceil(vocab / 32)] is 0 (bit i of word w is token 32 * w + i)."""
    if logits.device.type == "cpu":
        apply_masks(logits.numpy(), masks)
        return
    allowed = np.unpackbits(
        np.ascontiguousarray(masks).view(np.uint8), axis=1, bitorder="little", count=logits.shape[1]
    )
    logits.masked_fill_(torch.from_numpy(allowed == 0).to(logits.device), float("-inf"))
