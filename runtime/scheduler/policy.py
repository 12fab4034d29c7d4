"""In which order waiting branches are admitted. Running branches always go first; see the scheduler."""

from __future__ import annotations

from typing import Protocol

from runtime.cache.prefix_cache import PrefixCache
from runtime.cache.radix_node import RadixNode
from runtime.scheduler.branch import Branch
from runtime.scheduler.waiting import WaitingQueue


class AdmissionPolicy(Protocol):
    def order(self, waiting: WaitingQueue, cache: PrefixCache) -> list[Branch]:
        """The window of `waiting`, first to be admitted first."""
        ...


class FirstComeFirstServed:
    """By rank: arrival and priority."""

    def order(self, waiting: WaitingQueue, cache: PrefixCache) -> list[Branch]:
        return list(waiting.window())


class LongestPrefixMatch:
    """Within a priority, the longest cached prefix first (RadixAttention's cache-aware order).

    Those that go on alike after it stay together, so that the first computes what the others share. Those overtaken too
    often come before all.
    """

    def order(self, waiting: WaitingQueue, cache: PrefixCache) -> list[Branch]:
        overdue: list[Branch] = []
        keyed: list[tuple[int, int, float, float, int, Branch]] = []
        group_rank: dict[tuple[RadixNode, int, bytes], float] = {}
        for number, branch in enumerate(waiting.window()):
            match = branch.match
            if match is None or not match.holds:
                match = branch.match = cache.match(branch.keys, branch.salt)
            rank = group_rank.setdefault((match.node, match.length, match.following), branch.rank)
            if waiting.is_overdue(branch):
                overdue.append(branch)
            else:
                keyed.append((branch.priority, -match.length, rank, branch.rank, number, branch))
        keyed.sort()
        return overdue + [entry[-1] for entry in keyed]


class DepthFirstWeight:
    """Depth first through the radix tree, at each node into the child below which most wait: a subtree is finished
    before the next is begun. Priorities and those overtaken too often as in `LongestPrefixMatch`.
    """

    def order(self, waiting: WaitingQueue, cache: PrefixCache) -> list[Branch]:
        overdue: list[Branch] = []
        paths: list[tuple[Branch, list[RadixNode]]] = []
        weights: dict[RadixNode, int] = {}
        for branch in waiting.window():
            if waiting.is_overdue(branch):
                overdue.append(branch)
                continue
            if branch.match is None or not branch.match.holds:
                branch.match = cache.match(branch.keys, branch.salt)
            path = list(branch.match.node.upward())[::-1]
            paths.append((branch, path))
            for node in path:
                weights[node] = weights.get(node, 0) + 1
        numbers = {node: number for number, node in enumerate(weights)}

        def place(pair: tuple[Branch, list[RadixNode]]) -> tuple[int, list[tuple[int, int]], float]:
            branch, path = pair
            return branch.priority, [(-weights[node], numbers[node]) for node in path] + [(1, 0)], branch.rank

        return overdue + [branch for branch, _ in sorted(paths, key=place)]


POLICIES: dict[str, type[AdmissionPolicy]] = {
    "lpm": LongestPrefixMatch,
    "dfs-weight": DepthFirstWeight,
    "fcfs": FirstComeFirstServed,
}
