"""A step for which the device has no memory is computed in two halves, and these in halves again.

Nothing is lost: keys and values that were written are written once more, the same. Requests in a step may read what
those before them write, so the halves run one after the other, in order.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import torch

from runtime.scheduler.batch import ScheduledBatch, ScheduledRequest

_log = logging.getLogger(__name__)


Forward = Callable[[ScheduledBatch, torch.Tensor | None], torch.Tensor]
"""See `runtime.execution.model_runner.ModelRunner.forward`."""


def forward_in_halves(forward: Forward, batch: ScheduledBatch, drawn: torch.Tensor | None = None) -> torch.Tensor:
    """`forward`, in as many pieces as memory asks for. torch.OutOfMemoryError if the least is too much."""
    try:
        return forward(batch, drawn)
    except torch.OutOfMemoryError:
        if len(batch.requests) == 1 and not _divides(batch.requests[0]):
            raise
        _log.warning("no memory for a step of %d tokens; it is computed in two halves", batch.num_tokens)
    # Outside of the handler: the error holds on to the tensors of the step.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    first, second = halves(batch if drawn is None else batch.with_tokens(drawn.cpu().numpy()))
    return torch.cat([forward_in_halves(forward, half).clone() for half in (first, second)])


def halves(batch: ScheduledBatch) -> tuple[ScheduledBatch, ScheduledBatch]:
    """Requests in two groups; a single one, its tokens in two. Their rows of logits follow each other."""
    requests = batch.requests
    middle = len(requests) // 2
    first: tuple[ScheduledRequest, ...] = requests[:middle]
    second: tuple[ScheduledRequest, ...] = requests[middle:]
    if len(requests) == 1:
        first, second = _halves_of(requests[0])
    return dataclasses.replace(batch, requests=first), dataclasses.replace(batch, requests=second)


def _divides(request: ScheduledRequest) -> bool:
    """Queries of an image may see the whole image, so such a request is taken as it is."""
    return request.count > 1 and request.layout is None


def _halves_of(request: ScheduledRequest) -> tuple[tuple[ScheduledRequest], tuple[ScheduledRequest]]:
    middle = request.count // 2
    first = dataclasses.replace(
        request, token_ids=request.token_ids[:middle], logits_from=min(request.logits_from, middle), samples=False
    )
    second = dataclasses.replace(
        request,
        token_ids=request.token_ids[middle:],
        start=request.start + middle,
        logits_from=max(request.logits_from - middle, 0),
    )
    return (first,), (second,)
