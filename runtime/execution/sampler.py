"""From rows of logits to tokens: greedy or drawn, under masks, with log-probabilities.

In comes a step's logits with the batch they belong to; out go `Drawn` tokens, which may still be on their way. All rows
of a kind are worked on at once. What a request draws is a function of its own row, its parameters, its seed and its
step, and of nothing else in the batch. Knows no grammar (masks are bits) and keeps nothing between steps.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from grammars import likeliest_allowed
from runtime.api import SamplingParams
from runtime.execution.logit_edits import apply_token_masks, edit_logits, edits_logits
from runtime.execution.logprobs import drawn_logprobs, scored_logprobs
from runtime.execution.staging import fetch, send
from runtime.scheduler.batch import SampledTokens, ScheduledBatch, ScheduledRequest

GREEDY_BELOW = 1e-6
"""Temperatures below are taken as 0."""
CANDIDATES = 512
"""How many of the likeliest tokens are sorted in search of a top-p threshold before all are."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The tokens of a step. token_ids: int64 [num_samples], where the logits are, for what is computed next.

    read: waits until they are on the host, but for nothing that was launched since.
    """

    token_ids: torch.Tensor
    read: Callable[[], SampledTokens]


class Sampler:
    """Draws one token for each request with `samples`."""

    def __init__(self, vocab_size: int, eos_token_ids: Collection[int] = ()) -> None:
        """eos_token_ids: what `min_tokens` holds back, besides a request's own stop tokens."""
        self.vocab_size = vocab_size
        self._eos_token_ids = frozenset(eos_token_ids)

    def sample(
        self, logits: torch.Tensor, batch: ScheduledBatch, masks: NDArray[np.int32] | None = None
    ) -> SampledTokens:
        """As `draw`, waiting for the tokens."""
        return self.draw(logits, batch, masks).read()

    @torch.inference_mode()  # the runner's logits are inference tensors, and are edited in place
    def draw(self, logits: torch.Tensor, batch: ScheduledBatch, masks: NDArray[np.int32] | None = None) -> Drawn:
        """logits: float32 [rows, vocab_size], the batch's rows in order; may be overwritten.

        masks: int32 [num_samples, ceil(vocab_size / 32)], a row for each request with `samples`, all bits set where
               there is no constraint; None: no constraints.
        """
        if logits.shape[1] != self.vocab_size:
            raise ValueError(f"logits are {logits.shape[1]} wide, not {self.vocab_size} as the vocabulary")
        scored = scored_logprobs(logits, batch)
        requests, rows = _drawing(batch)
        if not requests:
            nothing = SampledTokens(np.empty(0, np.int64), (), scored)
            return Drawn(torch.from_numpy(nothing.token_ids), nothing.read)
        drawn = logits if len(rows) == logits.shape[0] else logits[send({"rows": rows}, logits.device)["rows"]]
        wanted = [i for i, request in enumerate(requests) if request.sampling.logprobs is not None]
        raw = drawn[wanted].clone() if wanted else None  # drawing edits rows in place
        token_ids = self._draw(drawn, requests, masks)
        on_host = fetch(token_ids)

        def read() -> SampledTokens:
            found = on_host()
            return SampledTokens(found, drawn_logprobs(raw, wanted, requests, found), scored)

        return Drawn(token_ids, read)

    def _draw(
        self, logits: torch.Tensor, requests: Sequence[ScheduledRequest], masks: NDArray[np.int32] | None
    ) -> torch.Tensor:
        return torch.from_numpy(self._draw_on_host(logits, requests, masks))

    def _draw_on_host(
        self, logits: torch.Tensor, requests: Sequence[ScheduledRequest], masks: NDArray[np.int32] | None
    ) -> NDArray[np.int64]:
        edited = [i for i, r in enumerate(requests) if edits_logits(r.sampling, r.history.step)]
        if len(edited) == len(requests):
            edit_logits(logits, requests, self._eos_token_ids)
        elif edited:
            part = logits[edited]
            edit_logits(part, [requests[i] for i in edited], self._eos_token_ids)
            logits[edited] = part
        random = [i for i, r in enumerate(requests) if r.sampling.temperature >= GREEDY_BELOW]
        if not random:
            return _likeliest(logits, masks)
        token_ids = np.empty(len(requests), dtype=np.int64)
        if len(random) < len(requests):
            drawn = set(random)
            greedy = [i for i in range(len(requests)) if i not in drawn]
            token_ids[greedy] = _likeliest(logits[greedy], None if masks is None else masks[greedy])
        part = logits[random] if len(random) < len(requests) else logits
        if masks is not None:
            _apply_where_constrained(part, masks[random])
        token_ids[random] = _draw_at_random(part, [requests[i] for i in random])
        return token_ids


def _drawing(batch: ScheduledBatch) -> tuple[list[ScheduledRequest], NDArray[np.int64]]:
    """The requests that draw, and the row of logits that each draws from: the last of its rows."""
    counts = np.fromiter((r.count - r.logits_from for r in batch.requests), np.int64, len(batch.requests))
    samples = np.fromiter((r.samples for r in batch.requests), bool, len(batch.requests))
    last = (np.cumsum(counts) - 1)[samples]
    return [r for r in batch.requests if r.samples], last if batch.rows is None else batch.rows[last]


def _likeliest(logits: torch.Tensor, masks: NDArray[np.int32] | None) -> NDArray[np.int64]:
    """The first allowed token with the largest logit."""
    if logits.device.type == "cpu":  # numpy's search is several times faster than torch's; most rows need no mask
        on_host = logits.numpy()
        token_ids = on_host.argmax(-1)
        return token_ids if masks is None else likeliest_allowed(on_host, masks, token_ids)
    if masks is not None:
        _apply_where_constrained(logits, masks)
    return logits.argmax(-1).cpu().numpy()


def _apply_where_constrained(logits: torch.Tensor, masks: NDArray[np.int32]) -> None:
    constrained = np.flatnonzero((masks != -1).any(axis=1))
    if len(constrained) == len(masks):
        apply_token_masks(logits, masks)
    elif len(constrained):
        rows = torch.from_numpy(constrained).to(logits.device)
        part = logits[rows]
        apply_token_masks(part, masks[constrained])
        logits[rows] = part


def _draw_at_random(logits: torch.Tensor, requests: Sequence[ScheduledRequest]) -> NDArray[np.int64]:
    """Temperature, then min-p, top-k and top-p as thresholds, then the inverse of the distribution function."""
    params = [request.sampling for request in requests]
    temperature = torch.tensor([p.temperature for p in params], dtype=logits.dtype, device=logits.device)
    logits = logits / temperature[:, None]
    least = _thresholds(logits, params)
    if least is not None:
        logits = logits.masked_fill_(logits < least[:, None], float("-inf"))
    distribution = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    total = distribution[:, -1:]
    uniform = torch.from_numpy(uniform_draws(requests)).to(logits.device)[:, None]
    target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(distribution, target, right=True)[:, 0].cpu().numpy()


def _thresholds(logits: torch.Tensor, params: Sequence[SamplingParams]) -> torch.Tensor | None:
    """The least logit [n] that each row keeps; None if every row keeps all. Logits that are equal are kept together."""
    least = None
    if any(p.min_p for p in params):
        min_p = torch.tensor([p.min_p for p in params], dtype=logits.dtype, device=logits.device)
        least = logits.amax(-1) + min_p.log()
    cut = [i for i, p in enumerate(params) if 0 < p.top_k < logits.shape[1] or p.top_p < 1.0]
    if not cut:
        return least
    if least is None:
        least = logits.new_full((len(params),), float("-inf"))
    rows = torch.tensor(cut, device=logits.device)
    kept = logits[rows].masked_fill_(logits[rows] < least[rows, None], float("-inf"))
    least[rows] = torch.maximum(least[rows], _top_k_top_p(kept, [params[i] for i in cut]))
    return least


def _top_k_top_p(logits: torch.Tensor, params: Sequence[SamplingParams]) -> torch.Tensor:
    """The least logit [n] among the top k, and of those among the likeliest that together reach top-p."""
    width = logits.shape[1]
    top_k = torch.tensor([p.top_k if 0 < p.top_k < width else width for p in params], device=logits.device)
    top_p = torch.tensor([p.top_p for p in params], dtype=logits.dtype, device=logits.device)
    bounded = [p.top_k for p in params if 0 < p.top_k < width]
    width = min(width, max([CANDIDATES, *bounded]))
    values = logits.topk(width, dim=-1).values
    limited = top_k <= width
    kth = values.gather(1, (top_k.clamp(max=width) - 1)[:, None])[:, 0]
    kth = torch.where(limited, kth, float("-inf"))
    # Top-p is taken of what top-k leaves, ties with the k-th included.
    mass = logits.masked_fill(logits < kth[:, None], float("-inf")).logsumexp(-1)
    least = torch.maximum(kth, _top_p(values, mass, top_p))
    unsure = ((values - mass[:, None]).exp().sum(-1) < top_p) & (top_p < 1.0) & (values[:, -1] >= kth)
    if width < logits.shape[1] and bool(unsure.any()):
        sorted_all = logits[unsure].sort(dim=-1, descending=True).values
        least[unsure] = torch.maximum(kth[unsure], _top_p(sorted_all, mass[unsure], top_p[unsure]))
    return least


def _top_p(values: torch.Tensor, mass: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """values: [n, m], falling. The last one of each row that is needed to reach top_p; -inf for top_p 1."""
    probabilities = (values - mass[:, None]).exp()
    before = probabilities.cumsum(-1) - probabilities
    needed = (before < top_p[:, None]).sum(-1).clamp(min=1)
    least = values.gather(1, (needed - 1)[:, None])[:, 0]
    return torch.where(top_p < 1.0, least, float("-inf"))


def uniform_draws(requests: Sequence[ScheduledRequest]) -> NDArray[np.float64]:
    """One number in [0, 1) for each request, from its seed and its step (the finaliser of SplitMix64, twice)."""
    seeds = np.array([r.history.seed & 0xFFFFFFFFFFFFFFFF for r in requests], dtype=np.uint64)
    steps = np.array([r.history.step + 1 for r in requests], dtype=np.uint64)
    mixed = _mix(_mix(seeds) + steps * np.uint64(0x9E3779B97F4A7C15))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
