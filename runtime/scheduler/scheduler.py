"""Which branch computes how many tokens in the next step.

In: branches. Out: a `ScheduledBatch`. Knows no tensors and no text.

One rule: every branch has a backlog (`target - num_computed`), and a step computes some of it, within a token budget.
Running branches come first, best rank first, and each is sure of one token; what is left of the budget goes to the
waiting, in the order of the policy. When pages run out, the running branch of the worst rank gives up its pages and
waits again: what it had published stays in the cache until someone needs the room, so little is computed twice.

Pages are published when a step is scheduled that fills them. So of branches that begin alike, all admitted in one
step, the first computes the beginning and the others read it; and one that would begin like another whose prompt
takes several steps finds the budget spent until that prompt is done. Nothing is computed twice, and nobody waits by a
rule of its own.

A step may be made before the tokens of the one before it are known (`schedule_ahead`), if it is only that each branch
computes what it draws now. Then `schedule` gives what is left of that step once they are known.

Nothing here can fail for want of pages if every branch alone fits the pool; the engine refuses those that do not.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from runtime.api import TokenLogprob
from runtime.cache.prefix_cache import PrefixCache
from runtime.prompt_layout import ProcessedImage
from runtime.scheduler.batch import SampledTokens, ScheduledBatch, ScheduledRequest
from runtime.scheduler.branch import NEVER, Branch
from runtime.scheduler.policy import AdmissionPolicy, LongestPrefixMatch
from runtime.scheduler.waiting import WaitingQueue

LOOK_AHEAD = 16
"""Of so many that wait, images are encoded together with those of a step."""
REORDER_AFTER = 16
"""Admissions for which an order of the waiting serves."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a step brought one branch. token_id: the drawn token, not yet part of the branch; None if none was drawn.

    scored: log-probabilities of known tokens, from the one at `first_scored` on.
    """

    branch: Branch
    token_id: int | None
    logprob: TokenLogprob | None
    scored: tuple[TokenLogprob, ...]
    first_scored: int


class Scheduler:
    """Owns waiting and running branches and their pages. `schedule` and `commit` alternate, perhaps with a
    `schedule_ahead` between them.
    """

    def __init__(
        self,
        cache: PrefixCache,
        *,
        max_num_seqs: int,
        max_num_batched_tokens: int,
        policy: AdmissionPolicy | None = None,
    ) -> None:
        self.cache = cache
        self.policy = policy or LongestPrefixMatch()
        self.max_running = min(max_num_seqs, max_num_batched_tokens)
        """Each running branch is sure of a token a step, so there are never more than the budget has."""
        self.token_budget = max_num_batched_tokens
        self.waiting = WaitingQueue()
        self.running: list[Branch] = []
        """By rank, best first."""
        self.num_preemptions = 0
        self._in_step: list[tuple[Branch, ScheduledRequest]] = []
        self._ahead: list[Branch] = []
        """What the step has that was made ahead, in its order."""
        self._no_room = False
        """Whether the first of those that wait did not fit, and nothing has changed since."""
        self._order: list[Branch] = []
        """What is left of the policy's last order, the next one last."""
        self._num_ordered = 0

    @property
    def has_work(self) -> bool:
        return bool(self.running or len(self.waiting))

    def add(self, branch: Branch) -> None:
        self._no_room = False
        if self.waiting.push(branch):
            self._order.clear()

    def schedule(self) -> ScheduledBatch | None:
        """The next step, or None if nothing waits or runs. Pages are held and published for what it will compute.

        After `schedule_ahead`: that step, already computed, without the branches that have ended since.
        """
        started, self._ahead = self._ahead, []
        self._in_step = [(branch, self._share(branch, 1)) for branch in started if not branch.finished]
        if self._in_step:
            wanted = {branch for branch, share in self._in_step if share.samples}
            rows = np.array([row for row, branch in enumerate(started) if branch in wanted], dtype=np.int64)
            return ScheduledBatch(tuple(share for _, share in self._in_step), rows=rows)
        return self._schedule()

    def schedule_ahead(self) -> ScheduledBatch | None:
        """The step after the one that is being drawn, if in it every branch computes the token that it draws now.

        None if that cannot be said before the tokens are known: prompts are being computed, others could be admitted,
        something is scored, or pages are short. What a token ends is computed for nothing. `token_ids` and histories
        say what is known: they are one token behind.
        """
        admits = len(self.waiting) and len(self.running) < self.max_running and not self._no_room
        if admits or len(self._in_step) < len(self.running):
            return None
        branches = [branch for branch, share in self._in_step if share.samples and branch.scored == NEVER]
        if len(branches) < len(self._in_step) or all(b.num_output + 1 >= b.sampling.max_tokens for b in branches):
            return None
        for branch in branches:
            assert branch.table is not None
            if not self.cache.reserve(branch.table, branch.num_tokens + 1):
                return None
            self.cache.publish(branch.table, branch.keys, branch.num_tokens)
        self._ahead = branches
        return ScheduledBatch(tuple(self._share_ahead(branch) for branch in branches))

    def _schedule(self) -> ScheduledBatch | None:
        budget = self.token_budget
        preempted = self.num_preemptions
        later = len(self.running)
        for branch in self.running.copy():
            later -= 1
            if branch.table is not None:
                budget -= self._catch_up(branch, budget - later)
        if (
            preempted == self.num_preemptions
            and budget > 0
            and len(self.running) < self.max_running
            and len(self.waiting)
        ):
            while budget > 0 and len(self.running) < self.max_running and (following := self._next_waiting()):
                if not self._admit(following):
                    self._no_room = True
                    break
                budget -= self._catch_up(following, budget)
        if not self._in_step:
            return None
        return ScheduledBatch(tuple(share for _, share in self._in_step), tuple(self._upcoming_images()))

    def commit(self, sampled: SampledTokens) -> list[Progress]:
        """Take the results of the step. The owners of the branches append the drawn tokens, or `finish`."""
        drawn = iter(sampled.token_ids.tolist())
        logprobs = iter(sampled.logprobs)
        steps = []
        for branch, share in self._in_step:
            branch.num_computed = share.start + share.count
            scored = sampled.scored.get(share.request_id, ())
            token_id, logprob = (next(drawn), next(logprobs, None)) if share.samples else (None, None)
            branch.mark_scored(len(scored) + (logprob is not None))
            steps.append(Progress(branch, token_id, logprob, scored, share.start + share.logits_from + 1))
        self._in_step = []
        return steps

    def finish(self, branch: Branch) -> None:
        """End a branch at any moment between two steps; its pages are free, or kept as cache."""
        branch.finished = True
        branch.match = None
        self._no_room = False
        if branch.table is not None:
            self.running.remove(branch)
            self._release(branch)
        elif branch in self.waiting:
            self.waiting.remove(branch)

    def _upcoming_images(self) -> Iterator[ProcessedImage]:
        """Images that are computed after this step, if it has any itself: of those it cuts short, and of the next."""
        shares = [share for _, share in self._in_step if share.layout is not None]
        if not any(share.start < share.layout.images_end for share in shares if share.layout is not None):
            return
        for share in shares:
            if share.layout is not None:
                yield from share.layout.images_after(share.start + share.count)
        for branch in self._order[: -LOOK_AHEAD - 1 : -1]:
            if branch.layout is not None and branch in self.waiting:
                yield from branch.layout.images_after(self.cache.match(branch.keys, branch.salt).length)

    def _next_waiting(self) -> Branch | None:
        """Who is to be admitted next. An order serves for several admissions: to make it may cost more than a step."""
        while self._order and self._order[-1] not in self.waiting:
            self._order.pop()
        if self._num_ordered - len(self._order) >= min(REORDER_AFTER, self._num_ordered):
            self._order = self.policy.order(self.waiting, self.cache)[::-1]
            self._num_ordered = len(self._order)
        return self._order[-1] if self._order else None

    def _admit(self, branch: Branch) -> bool:
        """Start a waiting branch from what the cache holds of it. False, and nothing changed, if there is no room."""
        match = self.cache.match(branch.keys[: branch.reusable], branch.salt)
        room = self.cache.num_available - self.cache.num_unlocked(match)
        missing = self.cache.pages_for(branch.num_tokens) - match.length // self.cache.page_size
        if self.running and room < missing + len(self.running):
            return False
        branch.match = None
        branch.table = self.cache.open(match)
        branch.num_computed = match.length
        self.cache.stats.queried_tokens += branch.num_tokens
        self.cache.stats.hit_tokens += match.length
        if branch.num_cached is None:
            branch.num_cached = match.length
        self.waiting.admit(branch)
        bisect.insort(self.running, branch, key=lambda other: other.rank)
        return True

    def _catch_up(self, branch: Branch, budget: int) -> int:
        """Schedule up to `budget` tokens of the backlog. Returns how many; 0 too if the branch had to give way.

        What must be computed in one step and does not fit waits for a step in which it comes first; then it may
        exceed the budget.
        """
        table = branch.table
        assert table is not None
        branch.adopted(self.cache.adopt(table, branch.keys, branch.num_computed, branch.reusable))
        most = min(branch.backlog, budget)
        if most <= 0:
            return 0
        end = branch.end_of_step(branch.num_computed + most)
        if end == branch.num_computed:
            if self._in_step:
                return 0
            end = branch.end_of_span()
        count = end - branch.num_computed
        while not self.cache.reserve(table, end):
            victim = self.running[-1]
            self._preempt(victim)
            if victim is branch:
                return 0
        self.cache.publish(table, branch.keys, end)
        self._in_step.append((branch, self._share(branch, count)))
        return count

    def _share(self, branch: Branch, count: int) -> ScheduledRequest:
        table, start, end = branch.table, branch.num_computed, branch.num_computed + count
        assert table is not None
        samples = branch.wants_sample and end == branch.num_tokens
        first_row = min(max(start, branch.scored - 1), end - samples)
        if end == branch.num_tokens and not samples:
            first_row = end
        return ScheduledRequest(
            request_id=branch.branch_id,
            token_ids=branch.token_ids[start:end],
            start=start,
            page_table=table.page_ids[: self.cache.pages_for(end)],
            logits_from=first_row - start,
            samples=samples,
            sampling=branch.sampling,
            history=branch.history(),
            layout=branch.layout,
        )

    def _share_ahead(self, branch: Branch) -> ScheduledRequest:
        """The token after those that are known."""
        assert branch.table is not None
        end = branch.num_tokens + 1
        return ScheduledRequest(
            request_id=branch.branch_id,
            token_ids=branch.token_ids[-1:],
            start=branch.num_tokens,
            page_table=branch.table.page_ids[: self.cache.pages_for(end)],
            logits_from=0,
            samples=True,
            sampling=branch.sampling,
            history=branch.history(),
            layout=branch.layout,
        )

    def _preempt(self, branch: Branch) -> None:
        """Give up the branch's pages and let it wait. Those that have a share in this step already rank better."""
        assert all(other is not branch for other, _ in self._in_step)
        self.num_preemptions += 1
        branch.num_preemptions += 1
        self.running.remove(branch)
        self._release(branch)
        self.add(branch)

    def _release(self, branch: Branch) -> None:
        assert branch.table is not None
        self.cache.close(branch.table)
        branch.table = None
        branch.num_computed = 0

    def check_invariants(self) -> None:
        """Pages, locks and branches agree. O(pages): for tests and debugging."""
        self.cache.check_invariants([branch.table for branch in self.running if branch.table is not None])
        for branch in self.running:
            assert branch.table is not None and not branch.finished and branch not in self.waiting
            assert branch.table.num_shared * self.cache.page_size <= max(branch.num_computed, branch.num_tokens)
            assert 0 <= branch.num_computed <= branch.num_tokens
        assert all(branch.table is None and not branch.finished for branch in self.waiting.members())
