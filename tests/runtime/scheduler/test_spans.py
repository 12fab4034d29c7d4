"""Spans of a prompt that are computed in one step: never cut, whatever the budget, and nobody starves."""

from __future__ import annotations

import random

import numpy as np
import pytest

from runtime.api import SamplingParams
from runtime.cache.prefix_cache import PrefixCache
from runtime.prompt_layout import PromptLayout
from runtime.scheduler.batch import SampledTokens, ScheduledBatch
from runtime.scheduler.branch import Branch
from runtime.scheduler.scheduler import Scheduler


def branch(name: str, length: int, spans: tuple[tuple[int, int], ...], seed: int = 0, **fields: object) -> Branch:
    ids = np.random.default_rng(seed).integers(0, 50, length)
    layout = PromptLayout(spans=spans, whole_prompt=bool(fields.pop("whole_prompt", False)))
    return Branch(name, ids, SamplingParams(max_tokens=8), layout=layout, **fields)  # type: ignore[arg-type]


def scheduler(budget: int, page_size: int = 4, num_pages: int = 400) -> Scheduler:
    return Scheduler(PrefixCache(num_pages, page_size), max_num_seqs=8, max_num_batched_tokens=budget)


def step(scheduler: Scheduler, branches: dict[str, Branch]) -> ScheduledBatch:
    """One step, with a token for each that samples; those with enough are finished."""
    batch = scheduler.schedule()
    assert batch is not None
    scheduler.check_invariants()
    drawn = np.zeros(batch.num_samples, dtype=np.int64)
    for progress in scheduler.commit(SampledTokens(drawn, (None,) * len(drawn))):
        if progress.token_id is not None:
            progress.branch.append(progress.token_id)
            if progress.branch.num_output >= 4:
                scheduler.finish(branches.pop(progress.branch.branch_id))
    return batch


def test_a_chunk_ends_before_a_span() -> None:
    one = branch("a", 30, ((5, 12), (20, 25)))
    running = {"a": one}
    work = scheduler(budget=10)
    work.add(one)
    ends = []
    while one.num_computed < 30:
        step(work, running)
        ends.append(one.num_computed)
    assert ends == [5, 15, 25, 30]


def test_a_span_longer_than_the_budget_runs_first_and_whole() -> None:
    text = branch("text", 6, (), seed=1)
    wide = branch("wide", 40, ((2, 38),), seed=2, arrival=1.0)
    running = {"text": text, "wide": wide}
    work = scheduler(budget=10)
    work.add(text)
    work.add(wide)
    seen = []
    while "wide" in running:
        batch = step(work, running)
        seen += [(share.start, share.count) for share in batch.requests if share.request_id == "wide"]
    assert (2, 36) in seen
    assert [entry for entry in seen if entry[0] < 2 < entry[0] + entry[1]] == []


def test_scores_of_nothing_compute_the_whole_prompt() -> None:
    """The last token is in the span as well, so it is computed though nothing is drawn from it."""
    one = Branch(
        "a", range(9), SamplingParams(max_tokens=0, logprobs=0), layout=PromptLayout(spans=((0, 9),), whole_prompt=True)
    )
    work = scheduler(budget=4)
    work.add(one)
    batch = work.schedule()
    assert batch is not None and batch.requests[0].count == 9 and batch.requests[0].logits_from == 9


@pytest.mark.parametrize("seed", range(20))
def test_random(seed: int) -> None:
    """Prompts with common beginnings, small pools and budgets: no step ends inside a span, and all end."""
    rng = random.Random(seed)
    work = scheduler(budget=rng.choice([1, 3, 8, 30]), page_size=rng.choice([1, 4]), num_pages=rng.choice([60, 400]))
    running: dict[str, Branch] = {}
    for number in range(12):
        spans, at = [], rng.randrange(3)
        for _ in range(rng.randrange(4)):
            end = at + rng.randrange(1, 9)
            spans.append((at, end))
            at = end + rng.randrange(3)
        one = branch(f"{number}", at + rng.randrange(1, 5), tuple(spans), seed=rng.randrange(2), arrival=float(number))
        running[one.branch_id] = one
        work.add(one)
    steps = 0
    while running:
        steps += 1
        assert steps < 2000
        layouts = {name: one.layout for name, one in running.items()}
        for share in step(work, running).requests:
            layout = layouts[share.request_id]
            assert layout is not None
            end = share.start + share.count
            assert not any(begin < end < last for begin, last in layout.spans)
