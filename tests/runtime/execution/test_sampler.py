"""The sampler against the definition, worked out a row at a time in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.api import SamplingParams
from runtime.execution.sampler import Sampler
from runtime.scheduler.batch import ScheduledBatch, ScheduledRequest, TokenHistory

VOCAB = 70
WORDS = 3
EOS = 2


def request(
    sampling: SamplingParams,
    *,
    prompt: tuple[int, ...] = (5, 6, 7),
    output: tuple[int, ...] = (),
    seed: int = 0,
    rows: int = 1,
    samples: bool = True,
    name: str = "r",
) -> ScheduledRequest:
    """A request whose last `rows` positions have logits."""
    tokens = np.array(prompt + output, dtype=np.int64)
    known = len(tokens) if samples else len(tokens) - 1
    return ScheduledRequest(
        request_id=name,
        token_ids=tokens[known - rows : known],
        start=known - rows,
        page_table=np.zeros(1, np.int32),
        logits_from=0,
        samples=samples,
        sampling=sampling,
        history=TokenHistory(tokens, len(prompt), seed),
    )


def random_logits(rows: int, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * scale


def pack(allowed: np.ndarray) -> np.ndarray:
    """bool [n, VOCAB] -> int32 [n, WORDS]"""
    padded = np.zeros((len(allowed), WORDS * 32), dtype=bool)
    padded[:, : allowed.shape[1]] = allowed
    return np.packbits(padded, axis=1, bitorder="little").view(np.int32)


def expected(logits: torch.Tensor, r: ScheduledRequest, allowed: np.ndarray | None) -> np.ndarray:
    """The exact distribution of the next token."""
    p = r.sampling
    row = logits.double().numpy().copy()
    for token in set(r.history.token_ids.tolist()):
        row[token] = row[token] / p.repetition_penalty if row[token] > 0 else row[token] * p.repetition_penalty
    for token in r.history.output_ids.tolist():
        row[token] -= p.frequency_penalty
    for token in set(r.history.output_ids.tolist()):
        row[token] -= p.presence_penalty
    for token, bias in (p.logit_bias or {}).items():
        row[token] += bias
    if r.history.step < p.min_tokens:
        for token in {EOS, *p.stop_token_ids}:
            row[token] = -1e30
    if allowed is not None:
        row[~allowed] = -np.inf
    if p.temperature < 1e-6:
        return np.eye(VOCAB)[row.argmax()]
    row = row / p.temperature
    if p.min_p:
        row[row < row.max() + math.log(p.min_p)] = -np.inf
    if 0 < p.top_k < VOCAB:
        row[row < np.sort(row)[-p.top_k]] = -np.inf
    probabilities = np.exp(row - row.max())
    probabilities /= probabilities.sum()
    if p.top_p < 1.0:
        order = np.argsort(-probabilities, kind="stable")
        before = np.cumsum(probabilities[order]) - probabilities[order]
        probabilities[order[before >= p.top_p]] = 0.0
        probabilities /= probabilities.sum()
    return probabilities


CASES: list[dict[str, Any]] = [
    {"temperature": 1.0},
    {"temperature": 0.3},
    {"temperature": 2.0, "top_k": 5},
    {"temperature": 1.0, "top_p": 0.7},
    {"temperature": 1.5, "top_k": 20, "top_p": 0.8},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 1.0, "repetition_penalty": 1.7},
    {"temperature": 1.0, "presence_penalty": 1.5, "frequency_penalty": 0.7},
    {"temperature": 1.0, "logit_bias": {3: 4.0, 9: -100.0}},
    {"temperature": 1.0, "min_tokens": 3, "stop_token_ids": (11, 12)},
    {"temperature": 0.0},
    {"temperature": 0.0, "repetition_penalty": 2.0},
]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_frequencies_equal_the_exact_distribution(case: dict[str, Any], masked: bool) -> None:
    draws = 4000
    row = random_logits(1, seed=3)
    allowed = np.random.default_rng(0).random(VOCAB) < 0.4 if masked else None
    requests = [
        request(
            SamplingParams(max_tokens=20, **case), output=(8, 8, 9, 20)[: 2 if "min_tokens" in case else 4], seed=seed
        )
        for seed in range(draws)
    ]
    masks = None if allowed is None else np.repeat(pack(allowed[None]), draws, axis=0)
    sampled = Sampler(VOCAB, [EOS]).sample(row.repeat(draws, 1), ScheduledBatch(tuple(requests)), masks)
    exact = expected(row[0], requests[0], allowed)
    found = np.bincount(sampled.token_ids, minlength=VOCAB) / draws
    assert not found[exact == 0].any()
    error = np.abs(found - exact) / np.sqrt(np.maximum(exact * (1 - exact), 1e-9) / draws)
    assert error[exact > 1e-3].max() < 4.5


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_draw_does_not_depend_on_neighbours(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 6))
    logits = random_logits(count, seed=data.draw(st.integers(0, 99)))
    if data.draw(st.booleans()):
        logits = logits.bfloat16().float().round()  # many equal logits
    requests = [
        request(
            SamplingParams(
                max_tokens=20,
                temperature=data.draw(st.sampled_from([0.0, 0.7, 1.5])),
                top_k=data.draw(st.sampled_from([-1, 1, 3, 40])),
                top_p=data.draw(st.sampled_from([1.0, 0.9, 0.2])),
                min_p=data.draw(st.sampled_from([0.0, 0.05])),
                presence_penalty=data.draw(st.sampled_from([0.0, 1.0])),
                repetition_penalty=data.draw(st.sampled_from([1.0, 1.3])),
                logprobs=data.draw(st.sampled_from([None, 0, 2])),
            ),
            output=tuple(data.draw(st.lists(st.integers(0, VOCAB - 1), max_size=4))),
            seed=i,
        )
        for i in range(count)
    ]
    together = Sampler(VOCAB).sample(logits.clone(), ScheduledBatch(tuple(requests)))
    for i, alone in enumerate(requests):
        one = Sampler(VOCAB).sample(logits[i : i + 1].clone(), ScheduledBatch((alone,)))
        assert one.token_ids[0] == together.token_ids[i]
        assert one.logprobs[0] == together.logprobs[i]


def test_greedy_with_a_mask_takes_the_likeliest_allowed_token() -> None:
    logits = random_logits(3, seed=5)
    allowed = np.ones((3, VOCAB), dtype=bool)
    allowed[1, int(logits[1].argmax())] = False
    masks = pack(allowed)
    masks[0] = -1
    requests = tuple(request(SamplingParams(temperature=0.0)) for _ in range(3))
    sampled = Sampler(VOCAB).sample(logits.clone(), ScheduledBatch(requests), masks)
    wanted = [int(logits[0].argmax()), int(logits[1].topk(2).indices[1]), int(logits[2].argmax())]
    assert sampled.token_ids.tolist() == wanted


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_mask_wins_over_min_tokens(temperature: float) -> None:
    allowed = np.zeros((1, VOCAB), dtype=bool)
    allowed[0, EOS] = True
    r = request(SamplingParams(temperature=temperature, min_tokens=5))
    assert Sampler(VOCAB, [EOS]).sample(random_logits(1), ScheduledBatch((r,)), pack(allowed)).token_ids.tolist() == [
        EOS
    ]


def test_the_full_sort_behind_a_wide_top_p_finds_the_same_tokens() -> None:
    wide = 3000
    logits = torch.randn(1, wide, generator=torch.Generator().manual_seed(0)) * 0.01
    requests = tuple(request(SamplingParams(temperature=1.0, top_p=0.9), seed=s) for s in range(600))
    drawn = Sampler(wide).sample(logits.repeat(600, 1), ScheduledBatch(requests)).token_ids
    likeliest = logits[0].argsort(descending=True)
    assert set(drawn.tolist()) <= set(likeliest[: int(wide * 0.9) + 30].tolist())
    assert len(set(drawn.tolist())) > 500


def test_draws_differ_by_seed_and_by_step_and_repeat() -> None:
    logits = torch.zeros(40, VOCAB)
    by_seed = [request(SamplingParams(temperature=1.0), seed=s) for s in range(20)]
    by_step = [request(SamplingParams(temperature=1.0), output=(9,) * s) for s in range(20)]
    batch = ScheduledBatch(tuple(by_seed + by_step))
    first = Sampler(VOCAB).sample(logits.clone(), batch).token_ids
    assert len(set(first[:20])) > 10 and len(set(first[20:])) > 10
    assert (first == Sampler(VOCAB).sample(logits.clone(), batch).token_ids).all()


def test_logprobs_are_of_the_raw_distribution() -> None:
    logits = random_logits(2, seed=8)
    requests = (
        request(SamplingParams(temperature=0.0, logprobs=3, logit_bias={int(logits[0].argmin()): 100.0})),
        request(SamplingParams(temperature=0.0)),
    )
    sampled = Sampler(VOCAB).sample(logits.clone(), ScheduledBatch(requests))
    raw = logits[0].log_softmax(-1)
    assert sampled.token_ids[0] == int(logits[0].argmin())
    found = sampled.logprobs[0]
    assert found is not None and sampled.logprobs[1] is None
    assert found.logprob == pytest.approx(float(raw.min()), abs=1e-5)
    best = raw.topk(3)
    assert [token for token, _ in found.top] == best.indices.tolist()
    assert [value for _, value in found.top] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_prompt_and_forced_tokens_are_scored() -> None:
    params = SamplingParams(temperature=0.0, logprobs=1, prompt_logprobs=2)
    scoring = request(params, prompt=(5, 6, 7), output=(8,), rows=4, name="a")  # scores 6, 7 and 8, then draws
    chunk = request(params, prompt=(5, 6, 7, 9), rows=2, samples=False, name="b")  # scores 7 and 9
    plain = request(SamplingParams(temperature=0.0), name="c")
    logits = random_logits(7, seed=4)
    sampled = Sampler(VOCAB).sample(logits.clone(), ScheduledBatch((scoring, chunk, plain)))
    raw = logits.log_softmax(-1)
    assert sampled.token_ids.tolist() == [int(logits[3].argmax()), int(logits[6].argmax())]
    assert set(sampled.scored) == {"a", "b"}
    assert [(s.token_id, len(s.top)) for s in sampled.scored["a"]] == [(6, 2), (7, 2), (8, 1)]
    assert [(s.token_id, len(s.top)) for s in sampled.scored["b"]] == [(7, 2), (9, 2)]
    rows = [(0, 6), (1, 7), (2, 8), (4, 7), (5, 9)]
    values = [s.logprob for s in sampled.scored["a"] + sampled.scored["b"]]
    assert values == pytest.approx([float(raw[row, token]) for row, token in rows], abs=1e-5)


def test_a_step_that_only_computes_draws_nothing() -> None:
    r = request(SamplingParams(), samples=False)
    silent = ScheduledRequest(r.request_id, r.token_ids, r.start, r.page_table, r.count, False, r.sampling, r.history)
    sampled = Sampler(VOCAB).sample(torch.empty(0, VOCAB), ScheduledBatch((silent,)))
    assert len(sampled.token_ids) == 0 and sampled.logprobs == () and sampled.scored == {}
