"""Log-probabilities of tokens, from the raw distribution: before temperature, penalties and masks.

Rows are worked on together; only rows that ask are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.api import TokenLogprob
from runtime.scheduler.batch import ScheduledBatch, ScheduledRequest

_ROWS_AT_ONCE = 256
"""Bounds the memory that scoring a long prompt takes."""


def drawn_logprobs(
    raw: torch.Tensor | None,
    wanted: Sequence[int],
    requests: Sequence[ScheduledRequest],
    token_ids: NDArray[np.int64],
) -> tuple[TokenLogprob | None, ...]:
    """raw: the rows [len(wanted), vocab] of requests that ask. One entry for each request, None where it does not."""
    found: list[TokenLogprob | None] = [None] * len(requests)
    if raw is not None:
        tops = [requests[i].sampling.logprobs or 0 for i in wanted]
        for i, logprob in zip(wanted, token_logprobs(raw, token_ids[wanted], tops), strict=True):
            found[i] = logprob
    return tuple(found)


def scored_logprobs(logits: torch.Tensor, batch: ScheduledBatch) -> dict[str, tuple[TokenLogprob, ...]]:
    """By request id, one for each row that scores a known token, in order."""
    scored: dict[str, tuple[TokenLogprob, ...]] = {}
    row = 0
    for request in batch.requests:
        count = request.num_scored
        if count:
            first = request.start + request.logits_from + 1
            tokens = request.history.token_ids[first : first + count]
            tops = [
                (
                    request.sampling.prompt_logprobs
                    if position < request.history.num_prompt
                    else request.sampling.logprobs
                )
                or 0
                for position in range(first, first + count)
            ]
            scored[request.request_id] = tuple(token_logprobs(logits[row : row + count], tokens, tops))
        row += request.count - request.logits_from
    return scored


def token_logprobs(logits: torch.Tensor, token_ids: NDArray[np.int64], tops: Sequence[int]) -> list[TokenLogprob]:
    """logits [n, vocab]: each row's token, with as many of the likeliest tokens as `tops` says, best first."""
    found: list[TokenLogprob] = []
    for begin in range(0, len(tops), _ROWS_AT_ONCE):
        end = min(begin + _ROWS_AT_ONCE, len(tops))
        found.extend(_token_logprobs(logits[begin:end], token_ids[begin:end], tops[begin:end]))
    return found


def _token_logprobs(logits: torch.Tensor, token_ids: NDArray[np.int64], tops: Sequence[int]) -> list[TokenLogprob]:
    mass = logits.logsumexp(-1, keepdim=True)
    known = token_ids < logits.shape[1]  # what stands for an image may lie outside the vocabulary
    at = torch.from_numpy(np.where(known, token_ids, 0)).to(logits.device)
    of_tokens = (logits.gather(1, at[:, None]) - mass)[:, 0].tolist()
    if not known.all():
        of_tokens = [value if inside else float("-inf") for value, inside in zip(of_tokens, known, strict=True)]
    most = min(max(tops), logits.shape[1])
    if not most:
        return [TokenLogprob(int(token), logprob) for token, logprob in zip(token_ids, of_tokens, strict=True)]
    values, indices = logits.topk(most, dim=-1)
    best = zip(indices.tolist(), (values - mass).tolist(), strict=True)
    return [
        TokenLogprob(int(token), logprob, tuple(zip(ids[:top], logprobs[:top], strict=True)))
        for token, logprob, top, (ids, logprobs) in zip(token_ids, of_tokens, tops, best, strict=True)
    ]
