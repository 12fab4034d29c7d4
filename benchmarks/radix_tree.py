"""What operations of the radix tree cost, in trees of 100 to 10,000 nodes and up to a million tokens.

    python -m benchmarks.radix_tree

Texts of 1,000 tokens: a beginning of 900 that a hundred of them share, and 100 of their own. So paths are equally long
in every tree, and what an operation costs should not depend on the tree (but for the processor's caches). Prints
microseconds an operation and writes results/radix_tree.json.

match   the longest known beginning of a text that is in the tree
lock    cover a path, and uncover it
insert  a text whose beginning is there: match, cut the node where they part, lock, add, unlock
evict   10 pages of 16 tokens, least recently used first
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import record
from runtime.cache.page_allocator import PageAllocator
from runtime.cache.radix_tree import RadixTree

PAGE_SIZE = 16
SHARED, OWN = 56 * PAGE_SIZE, 7 * PAGE_SIZE
TEXTS_A_FAMILY = 100
OPERATIONS = 500
Keys = NDArray[np.int64]


class Bench:
    """A tree with its allocator, filled with so many texts."""

    def __init__(self, num_texts: int) -> None:
        self._rng = np.random.default_rng(0)
        self.tree = RadixTree(PAGE_SIZE)
        self.allocator = PageAllocator((num_texts + OPERATIONS) * (SHARED + OWN) // PAGE_SIZE)
        self.families = [self._tokens(SHARED) for _ in range(max(1, num_texts // TEXTS_A_FAMILY))]
        self.texts = [self.new_text(index) for index in range(num_texts)]
        for text in self.texts:
            self.insert(text)

    def _tokens(self, count: int) -> Keys:
        return self._rng.integers(0, 50_000, count)

    def new_text(self, index: int) -> Keys:
        return np.concatenate([self.families[index % len(self.families)], self._tokens(OWN)])

    def match(self, text: Keys) -> None:
        self.tree.match(text)

    def lock(self, text: Keys) -> None:
        node = self.tree.match(text).node
        self.tree.lock(node)
        self.tree.unlock(node)

    def insert(self, text: Keys) -> None:
        tree = self.tree
        match = tree.match(text)
        node = match.node if match.length == match.node.end else tree.split(match.node, match.length)
        tree.lock(node)
        pages = self.allocator.allocate((len(text) - match.length) // PAGE_SIZE)
        tree.unlock(tree.extend(node, text[match.length :], pages))

    def evict(self, _: Keys) -> None:
        self.allocator.free(self.tree.evict(10))


def microseconds(operation: Callable[[Keys], None], texts: Iterable[Keys]) -> float:
    """The median over the texts."""
    costs = []
    for text in texts:
        started = time.perf_counter_ns()
        operation(text)
        costs.append(time.perf_counter_ns() - started)
    return float(np.median(costs)) / 1000


def main() -> None:
    table: dict[str, dict[str, float]] = {}
    for num_texts in (100, 1000, 10_000):
        bench = Bench(num_texts)
        nodes, tokens = bench.tree.num_nodes, bench.tree.num_pages * PAGE_SIZE
        gc.collect()
        gc.disable()
        chosen = [bench.texts[i] for i in np.random.default_rng(1).integers(0, num_texts, OPERATIONS)]
        new = [bench.new_text(index) for index in range(OPERATIONS)]
        row = {
            "match": microseconds(bench.match, chosen),
            "lock": microseconds(bench.lock, chosen),
            "insert": microseconds(bench.insert, new),
            "evict": microseconds(bench.evict, new),
        }
        gc.enable()
        bench.tree.check_invariants()
        table[f"{nodes} nodes, {tokens} tokens"] = row
        print(
            f"{nodes:7,} nodes {tokens:10,} tokens   "
            + "   ".join(f"{name} {cost:.1f} us" for name, cost in row.items())
        )
    record("radix_tree", 1, unit="microseconds an operation, median", page_size=PAGE_SIZE, trees=table)


if __name__ == "__main__":
    main()
