"""The branches that wait. In: branches. Out: a window of the best ranks, for a policy to order.

A branch's rank is `arrival + priority * PRIORITY_SECONDS`: one step of priority is worth that many seconds of
waiting. So a rank never changes, priorities age by themselves, and nobody waits for ever. Policies see only the
`WINDOW` of the best ranks: a step costs the same with 100 and with 100,000 waiting.
"""

from __future__ import annotations

import bisect
import heapq
import itertools

from runtime.scheduler.branch import Branch

WINDOW = 512
PRIORITY_SECONDS = 10.0
PATIENCE = 4 * WINDOW
"""After so many admissions of others, one in the window is no longer overtaken."""


class WaitingQueue:
    """Push and removal cost O(log n)."""

    def __init__(self) -> None:
        self._window: list[Branch] = []
        self._rest: list[tuple[float, int, Branch]] = []
        """Heap by rank, then order of arrival; entries of branches that have left stay until they surface."""
        self._entered: dict[Branch, int | None] = {}
        """Every member, with the number of admissions when it first came into the window."""
        self._num_admitted = 0
        self._serials = itertools.count()

    def __len__(self) -> int:
        return len(self._entered)

    def __contains__(self, branch: Branch) -> bool:
        return branch in self._entered

    def push(self, branch: Branch) -> bool:
        """Whether it comes before some that are in the window already."""
        branch.rank = branch.arrival + branch.priority * PRIORITY_SECONDS
        self._entered[branch] = None
        if self._window and branch.rank < self._window[-1].rank:
            self._entered[branch] = self._num_admitted
            bisect.insort(self._window, branch, key=lambda other: other.rank)
            if len(self._window) > WINDOW:
                self._push_rest(self._window.pop())
            return True
        self._push_rest(branch)
        return False

    def _push_rest(self, branch: Branch) -> None:
        heapq.heappush(self._rest, (branch.rank, next(self._serials), branch))

    def window(self) -> list[Branch]:
        """The `WINDOW` best ranks, best first."""
        while self._rest and len(self._window) < WINDOW:
            _, _, branch = heapq.heappop(self._rest)
            if branch in self._entered:
                if self._entered[branch] is None:
                    self._entered[branch] = self._num_admitted
                self._window.append(branch)
        return self._window

    def is_overdue(self, branch: Branch) -> bool:
        """Whether it has been overtaken too often."""
        entered = self._entered[branch]
        return entered is not None and self._num_admitted - entered > PATIENCE

    def admit(self, branch: Branch) -> None:
        """Take out a branch that now runs."""
        self._num_admitted += 1
        self.remove(branch)

    def remove(self, branch: Branch) -> None:
        del self._entered[branch]
        if branch in self._window:
            self._window.remove(branch)

    def members(self) -> list[Branch]:
        return list(self._entered)
