"""Random schedules on the fake model: every output equals the model's own run, and no page is lost or owned twice."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from runtime.api import SamplingParams
from runtime.cache.prefix_cache import PageTable, PrefixCache
from runtime.scheduler.branch import Branch
from runtime.scheduler.policy import POLICIES
from runtime.scheduler.scheduler import REORDER_AFTER, Scheduler
from runtime.scheduler.waiting import PATIENCE
from tests.runtime.fake_model import FakeLogits, FakeRunner, FakeSampler, expected_output, expected_scores

VOCAB = 5


class Driver:
    """A loop around the scheduler: the engine without text, constraints and threads."""

    def __init__(
        self,
        num_pages: int = 40,
        page_size: int = 4,
        budget: int = 16,
        max_seqs: int = 6,
        policy: str = "lpm",
        eviction: str = "lru",
        enabled: bool = True,
        forced: int = 0,
        ahead: bool = False,
    ) -> None:
        self.cache = PrefixCache(num_pages, page_size, eviction, enabled)
        self.scheduler = Scheduler(
            self.cache, max_num_seqs=max_seqs, max_num_batched_tokens=budget, policy=POLICIES[policy]()
        )
        self.runner, self.sampler = FakeRunner(num_pages, page_size), FakeSampler(VOCAB)
        self.live: dict[str, Branch] = {}
        self.scores: dict[str, list[float]] = {}
        self.forced = forced
        self.ahead = ahead
        self.logits_ahead: FakeLogits | None = None
        self.done: list[Branch] = []
        self.capacity = num_pages * page_size

    @property
    def largest_need(self) -> int:
        """Tokens that the longest of what waits or runs may come to."""
        return max((branch.num_prompt + branch.sampling.max_tokens for branch in self.live.values()), default=0)

    def submit(self, prompt: list[int], sampling: SamplingParams, **kwargs: object) -> Branch:
        name = f"r{len(self.scores)}"
        branch = Branch(name, prompt, sampling, arrival=float(len(self.scores)), seed=len(self.scores), **kwargs)
        self.live[name] = branch
        self.scores[name] = []
        self.scheduler.add(branch)
        return branch

    def step(self) -> int:
        batch = self.scheduler.schedule()
        if batch is None:
            return 0
        assert batch.num_tokens <= self.scheduler.token_budget
        logits = self.runner.forward(batch) if batch.rows is None else self.logits_ahead
        assert logits is not None
        sampled = self.sampler.draw(logits, batch)
        following = self.scheduler.schedule_ahead() if self.ahead else None
        if following is not None:
            assert [r.request_id for r in following.requests] == [r.request_id for r in batch.requests]
            self.logits_ahead = self.runner.forward(following, sampled.token_ids)
        assert len(sampled.token_ids) == batch.num_samples
        for progress in self.scheduler.commit(sampled):
            branch = progress.branch
            self.scores[branch.branch_id] += [item.logprob for item in progress.scored]
            if progress.token_id is not None:
                if progress.logprob is not None:
                    self.scores[branch.branch_id].append(progress.logprob.logprob)
                branch.append(progress.token_id)
                if self.forced and branch.num_output % 3 == 0:
                    room = branch.sampling.max_tokens - branch.num_output
                    branch.extend([VOCAB + 1] * min(self.forced, room))
            if branch.num_output == branch.sampling.max_tokens:
                branch.wants_sample = False
                if branch.num_output == 0 and branch.backlog:
                    continue
                if branch.num_output == 0 or branch.scored >= branch.num_tokens:
                    self.finish(branch)
        return batch.num_tokens

    def finish(self, branch: Branch) -> None:
        self.scheduler.finish(branch)
        del self.live[branch.branch_id]
        self.done.append(branch)
        if not self.forced:
            prompt = branch.token_ids[: branch.num_prompt].tolist()
            assert branch.output_ids.tolist() == expected_output(prompt, branch.sampling, VOCAB, branch.seed)
        self.check_scores(branch)

    def check_scores(self, branch: Branch) -> None:
        sampling, tokens = branch.sampling, branch.token_ids.tolist()
        start = len(tokens)
        if sampling.prompt_logprobs is not None:
            start = min(max(1, sampling.prompt_logprobs_start), branch.num_prompt)
        elif sampling.logprobs is not None:
            start = branch.num_prompt
        end = len(tokens) if sampling.logprobs is not None else branch.num_prompt
        assert self.scores[branch.branch_id] == expected_scores(tokens, start)[: max(end - start, 0)]

    def run(self) -> None:
        for _ in range(10_000):
            self.scheduler.check_invariants()
            if not self.scheduler.has_work:
                break
            assert self.step() > 0, "work, but nothing scheduled"
        assert not self.live
        assert self.cache.num_available == self.cache.allocator.num_pages
        assert self.cache.clear() == 0


def random_prompt(rng: random.Random, prefixes: list[list[int]], longest: int) -> list[int]:
    prompt = rng.choice(prefixes)[: rng.randrange(1, longest)] + [rng.randrange(3) for _ in range(rng.randrange(4))]
    return prompt[:longest] or [0]


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_random_schedules(seed: int, ahead: bool) -> None:
    rng = random.Random(seed)
    page_size = rng.choice([1, 4, 16])
    driver = Driver(
        num_pages=rng.choice([80, 160]) // page_size,
        page_size=page_size,
        budget=rng.choice([3, 16, 200]),
        max_seqs=rng.choice([1, 4, 16]),
        policy=rng.choice(sorted(POLICIES)),
        eviction=rng.choice(["lru", "lfu", "fifo"]),
        enabled=rng.random() < 0.9,
        forced=rng.choice([0, 0, 5]),
        ahead=ahead,
    )
    prefixes = [[rng.randrange(3) for _ in range(60)] for _ in range(3)]
    for _ in range(120):
        if rng.random() < 0.5:
            sampling = SamplingParams(
                max_tokens=rng.choice([0, 1, 5, 20]),
                temperature=rng.choice([0.0, 1.0]),
                logprobs=rng.choice([None, None, 0]),
                prompt_logprobs=rng.choice([None, None, 0]),
                prompt_logprobs_start=rng.choice([0, 1, 7]),
            )
            driver.submit(
                random_prompt(rng, prefixes, 50),
                sampling,
                salt=rng.choice(["", "", "a"]),
                priority=rng.choice([0, 0, 5]),
            )
        if rng.random() < 0.1 and driver.live:
            branch = rng.choice(list(driver.live.values()))
            driver.scheduler.finish(branch)
            del driver.live[branch.branch_id]
        driver.step()
        driver.scheduler.check_invariants()
    driver.run()
    assert bool(driver.runner.num_ahead) == ahead


class SchedulerMachine(RuleBasedStateMachine):
    """Tree, allocator and scheduler under submit, fork, abort, pin, step; preemption and eviction by want of pages."""

    @initialize(
        page_size=st.sampled_from([1, 2, 4]),
        pages=st.sampled_from([12, 20, 40]),
        budget=st.sampled_from([2, 8, 64]),
        max_seqs=st.sampled_from([1, 3, 8]),
        policy=st.sampled_from(sorted(POLICIES)),
        eviction=st.sampled_from(["lru", "lfu", "fifo"]),
        ahead=st.booleans(),
    )
    def start(  # type: ignore[no-untyped-def]
        self, page_size, pages, budget, max_seqs, policy, eviction, ahead
    ) -> None:
        self.driver = Driver(pages, page_size, budget, max_seqs, policy, eviction, ahead=ahead)
        self.pins: list[PageTable] = []

    @rule(
        prompt=st.lists(st.integers(0, 1), min_size=1, max_size=30),
        max_tokens=st.integers(0, 8),
        temperature=st.sampled_from([0.0, 1.0]),
        scored=st.sampled_from([None, 0]),
        start=st.integers(0, 5),
        priority=st.sampled_from([0, 3]),
        salt=st.sampled_from(["", "b"]),
    )
    def submit(self, prompt, max_tokens, temperature, scored, start, priority, salt):  # type: ignore[no-untyped-def]
        sampling = SamplingParams(
            max_tokens=max_tokens, temperature=temperature, prompt_logprobs=scored, prompt_logprobs_start=start
        )
        if len(prompt) + max_tokens <= self.driver.cache.capacity:
            self.driver.submit(prompt, sampling, priority=priority, salt=salt)

    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        if self.driver.live:
            parent = data.draw(st.sampled_from(sorted(self.driver.live)))
            tokens = self.driver.live[parent].token_ids.tolist()
            if len(tokens) + 4 <= self.driver.cache.capacity:
                self.driver.submit(tokens, SamplingParams(max_tokens=4), salt=self.driver.live[parent].salt)

    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        if self.driver.live:
            name = data.draw(st.sampled_from(sorted(self.driver.live)))
            self.driver.scheduler.finish(self.driver.live.pop(name))

    @rule(count=st.integers(1, 4))
    def step(self, count: int) -> None:
        for _ in range(count):
            assert bool(self.driver.step()) == bool(self.driver.runner.num_steps) or not self.driver.live

    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        """Keeps the beginning of a text that runs, if there is room for all others beside it."""
        if self.driver.live:
            branch = self.driver.live[data.draw(st.sampled_from(sorted(self.driver.live)))]
            table = self.driver.cache.pin(branch.keys, branch.salt)
            if self.driver.cache.capacity < self.driver.largest_need:
                self.driver.cache.unpin(table)
            else:
                self.pins.append(table)

    @precondition(lambda self: getattr(self, "pins", None))
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        self.driver.cache.unpin(self.pins.pop(data.draw(st.integers(0, len(self.pins) - 1))))

    @rule()
    def clear(self) -> None:
        self.driver.cache.clear()

    @invariant()
    def consistent(self) -> None:
        if hasattr(self, "driver"):
            self.driver.scheduler.check_invariants()

    def teardown(self) -> None:
        if hasattr(self, "driver"):
            for table in self.pins:
                self.driver.cache.unpin(table)
            self.driver.run()


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@pytest.mark.slow
class TestSchedulerMachineLong(SchedulerMachine.TestCase):  # type: ignore[misc]
    """More than 10,000 steps."""

    settings = settings(TestSchedulerMachine.settings, max_examples=200, stateful_step_count=80)


def test_equal_beginnings_are_computed_once_in_one_step() -> None:
    driver = Driver(num_pages=200, page_size=4, budget=1000, max_seqs=16)
    prefix = [1, 2, 0, 1] * 25
    for last in range(8):
        driver.submit([*prefix, last], SamplingParams(max_tokens=1))
    assert driver.step() == 100 + 8
    assert [branch.num_cached for branch in driver.done] == [0] + [100] * 7
    assert driver.cache.clear() == 0


def test_a_long_prompt_is_shared_while_it_is_computed_in_chunks() -> None:
    driver = Driver(num_pages=200, page_size=4, budget=32, max_seqs=16)
    prefix = [1, 2, 0, 1] * 25
    for last in range(4):
        driver.submit([*prefix, last], SamplingParams(max_tokens=1))
    driver.run()
    assert driver.runner.num_computed == 100 + 4


def test_continuations_share_the_pages_of_the_answer_so_far() -> None:
    driver = Driver(num_pages=200, page_size=4, budget=64)
    first = driver.submit([1] * 10, SamplingParams(max_tokens=30))
    for _ in range(20):
        driver.step()
    second = driver.submit(first.token_ids.tolist(), SamplingParams(max_tokens=2))
    driver.step()
    assert second.num_cached is not None and second.num_cached >= 24
    driver.run()


def test_preempted_branches_lose_nothing() -> None:
    driver = Driver(num_pages=10, page_size=4, budget=64, max_seqs=8)
    for first in range(4):
        driver.submit([first] * 8, SamplingParams(max_tokens=25))
    driver.run()
    assert driver.scheduler.num_preemptions > 0 and len(driver.done) == 4


def test_steps_ahead() -> None:
    """Every decode step but the first of two equal answers is made ahead; the last has nothing left to draw."""
    driver = Driver(num_pages=100, budget=64, ahead=True)
    for first in range(2):
        driver.submit([first] * 5, SamplingParams(max_tokens=20))
    driver.run()
    assert (driver.runner.num_steps, driver.runner.num_ahead) == (20, 19)


def test_a_step_is_made_ahead_beside_one_that_waits_in_vain() -> None:
    driver = Driver(num_pages=10, page_size=4, budget=64, max_seqs=8, ahead=True)
    driver.submit([0] * 8, SamplingParams(max_tokens=14))
    driver.submit([1] * 36, SamplingParams(max_tokens=2))
    driver.step()
    ahead = [driver.runner.num_ahead for _ in range(8) if driver.step()]
    assert len(driver.scheduler.waiting) == 1 and ahead == list(range(ahead[0], ahead[0] + 8))
    driver.run()


def test_a_long_backlog_leaves_every_running_branch_its_token() -> None:
    driver = Driver(num_pages=100, budget=16, max_seqs=4)
    branches = [driver.submit([first] * 3, SamplingParams(max_tokens=100)) for first in range(4)]
    driver.step()
    branches[0].extend([1] * 50)
    batch = driver.scheduler.schedule()
    assert batch is not None and [share.count for share in batch.requests] == [13, 1, 1, 1]


def test_priority_goes_first_and_age_counts() -> None:
    driver = Driver(max_seqs=1)
    low = driver.submit([1, 1], SamplingParams(max_tokens=1), priority=1)
    low.arrival = -1.0
    low.rank = 9.0
    high = driver.submit([2, 2], SamplingParams(max_tokens=1), priority=0)
    driver.run()
    assert driver.done == [high, low]
    driver = Driver(max_seqs=1, policy="fcfs")
    old = Branch("old", [1, 1], SamplingParams(max_tokens=1), priority=1, arrival=-100.0)
    driver.live["old"], driver.scores["old"] = old, []
    driver.scheduler.add(old)
    young = driver.submit([2, 2], SamplingParams(max_tokens=1), priority=0)
    driver.run()
    assert driver.done == [old, young]


def test_nobody_is_overtaken_for_ever() -> None:
    driver = Driver(num_pages=400, page_size=1, budget=64, max_seqs=1)
    shared = [1] * 20
    for last in range(40):
        driver.submit([*shared, last % 5], SamplingParams(max_tokens=1))
    lonely = driver.submit([2, 2, 2], SamplingParams(max_tokens=1))
    while lonely not in driver.done:
        driver.submit([*shared, len(driver.done) % 5], SamplingParams(max_tokens=1))
        driver.step()
        assert len(driver.done) <= PATIENCE + 2 * REORDER_AFTER + 40
    assert len(driver.done) > PATIENCE
    for branch in list(driver.live.values()):
        driver.scheduler.finish(branch)


def tree_workload(rng: random.Random) -> list[list[int]]:
    """Few-shot prompts that branch three times, in random order."""

    def tokens(count: int) -> list[int]:
        return [rng.randrange(3, 300) for _ in range(count)]

    prompts = []
    for _ in range(4):
        first = tokens(100)
        for _ in range(4):
            second = first + tokens(60)
            for _ in range(4):
                third = second + tokens(40)
                prompts += [third + tokens(10) for _ in range(6)]
    rng.shuffle(prompts)
    return prompts


def chat_workload(rng: random.Random) -> list[list[int]]:
    """Conversations, each turn with all before it, in random order."""
    prompts = []
    for _ in range(96):
        text = [rng.randrange(3, 300) for _ in range(50)]
        for _ in range(4):
            text = text + [rng.randrange(3, 300) for _ in range(30)]
            prompts.append(text)
    rng.shuffle(prompts)
    return prompts


@pytest.mark.parametrize("workload", [tree_workload, chat_workload])
@pytest.mark.parametrize(("policy", "least"), [("lpm", 0.96), ("dfs-weight", 0.85)])
def test_hit_rate_comes_close_to_the_best_order(workload, policy: str, least: float) -> None:  # type: ignore[no-untyped-def]
    """With a pool for a tenth of the text, nearly as much is shared as if nothing were ever evicted."""
    page_size, prompts = 4, workload(random.Random(1))
    seen: set[tuple[int, ...]] = set()
    for prompt in prompts:
        seen.update(tuple(prompt[:end]) for end in range(page_size, len(prompt), page_size))
    best = 1 - len(seen) * page_size / sum(len(prompt) for prompt in prompts)
    rates = {}
    for name in (policy, "fcfs"):
        driver = Driver(num_pages=2400 // page_size, page_size=page_size, budget=512, max_seqs=8, policy=name)
        for prompt in prompts:
            driver.submit(prompt, SamplingParams(max_tokens=1))
        while driver.scheduler.has_work:
            driver.step()
        rates[name] = driver.cache.stats.hit_tokens / driver.cache.stats.queried_tokens
    assert rates[policy] >= least * best
    assert rates[policy] > rates["fcfs"]
