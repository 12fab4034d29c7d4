"""The tree against a brute-force model: a set of texts, each with the pages it was inserted with."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from runtime.cache.eviction import EVICTION_POLICIES
from runtime.cache.page_allocator import PageAllocator
from runtime.cache.radix_tree import RadixTree, common_length
from runtime.cache.tree_summary import summarise


class TreeModel:
    """Beginnings in whole pages -> page id, per salt; the oracle of `match`."""

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self.pages: dict[tuple[str, tuple[int, ...]], int] = {}

    def match(self, keys: list[int], salt: str) -> list[int]:
        found = []
        for end in range(self.page_size, len(keys) + 1, self.page_size):
            page = self.pages.get((salt, tuple(keys[:end])))
            if page is None:
                break
            found.append(page)
        return found


def insert(tree: RadixTree, allocator: PageAllocator, keys: np.ndarray, salt: str) -> None:
    match = tree.match(keys, salt)
    node = match.node if match.length == match.node.end else tree.split(match.node, match.length)
    tree.lock(node)
    rest = keys[match.length : len(keys) - len(keys) % tree.page_size]
    if len(rest):
        node = tree.extend(node, rest, allocator.allocate(len(rest) // tree.page_size))
    tree.unlock(node)


@pytest.mark.parametrize("policy", sorted(EVICTION_POLICIES))
@pytest.mark.parametrize("page_size", [1, 4, 16])
def test_random_operations_equal_the_model(page_size: int, policy: str) -> None:
    rng = random.Random(page_size)
    tree, allocator = RadixTree(page_size, EVICTION_POLICIES[policy]()), PageAllocator(400)
    locked: list[tuple] = []
    for _ in range(600):
        keys = np.array(
            [rng.choice([1, 1, 1, 2, 300]) for _ in range(rng.randrange(5 * page_size + 3))], dtype=np.int64
        )
        salt = rng.choice(["", "other"])
        kind = rng.random()
        if kind < 0.5:
            missing = len(keys) // page_size - tree.match(keys, salt).length // page_size
            if missing > allocator.num_free:
                allocator.free(tree.evict(missing - allocator.num_free))
            if missing <= allocator.num_free:
                insert(tree, allocator, keys, salt)
        elif kind < 0.65:
            match = tree.match(keys, salt)
            node = match.node if match.length == match.node.end else tree.split(match.node, match.length)
            tree.lock(node)
            locked.append((node, keys[: match.length], tree.pages(node), salt))
        elif kind < 0.8 and locked:
            tree.unlock(locked.pop(rng.randrange(len(locked)))[0])
        else:
            wanted = rng.randrange(8)
            possible = min(wanted, tree.num_evictable)
            pages = tree.evict(wanted)
            assert len(pages) == possible
            allocator.free(pages)
        tree.check_invariants()
        allocator.check_invariants()
        assert allocator.num_free + tree.num_pages == allocator.num_pages
        for _, keys, pages, salt in locked:
            match = tree.match(keys, salt)
            assert match.length == len(keys)
            assert np.array_equal(tree.pages(match.node)[: len(pages)], pages)
        model = TreeModel(page_size)
        for node in tree.nodes():
            text, above = [], node
            while above is not None:
                text = above.keys.tolist() + text
                above = above.parent
            for i, page in enumerate(node.pages.tolist()):
                model.pages[node.salt, tuple(text[: node.start + (i + 1) * page_size])] = page
        match = tree.match(keys, salt)
        expected = model.match(keys.tolist(), salt)
        assert match.length == len(expected) * page_size
        assert tree.pages(match.node)[: len(expected)].tolist() == expected
    for node, *_ in locked:
        tree.unlock(node)
    allocator.free(tree.evict(10_000))
    assert allocator.num_free == allocator.num_pages and tree.num_nodes == 0
    tree.check_invariants()


def test_an_earlier_match_holds_until_the_tree_changes_there() -> None:
    tree, allocator = RadixTree(2), PageAllocator(50)
    first = np.arange(8, dtype=np.int64)
    insert(tree, allocator, first, "")
    match = tree.match(first[:6])
    assert match.holds
    insert(tree, allocator, np.array([9, 9, 9, 9], dtype=np.int64), "")
    assert match.holds
    allocator.free(tree.evict(2))
    assert not match.holds
    nothing = tree.match(np.array([7, 7], dtype=np.int64))
    insert(tree, allocator, np.array([7, 7], dtype=np.int64), "")
    assert not nothing.holds
    match = tree.match(np.array([7, 7], dtype=np.int64))
    allocator.free(tree.evict(50))
    assert not match.holds and not tree.match(first).holds


def test_a_match_does_not_hold_in_a_node_that_shrank_and_grew_again() -> None:
    tree, allocator = RadixTree(1), PageAllocator(50)
    insert(tree, allocator, np.array([1, 2, 3, 4], dtype=np.int64), "")
    match = tree.match(np.array([1, 2, 3, 9], dtype=np.int64))
    assert match.length == 3 and match.holds
    allocator.free(tree.evict(2))
    insert(tree, allocator, np.array([1, 2, 7, 8], dtype=np.int64), "")
    assert match.node.end == 4 and not match.holds


def test_policies_evict_in_their_order() -> None:
    left = {}
    for name, policy in EVICTION_POLICIES.items():
        tree, allocator = RadixTree(1, policy()), PageAllocator(9)
        for first in (1, 2, 3):
            insert(tree, allocator, np.array([first], dtype=np.int64), "")
        for first in (1, 1, 1, 2, 1, 3, 3):
            node = tree.match(np.array([first], dtype=np.int64)).node
            tree.lock(node)
            tree.unlock(node)
        node = tree.match(np.array([2], dtype=np.int64)).node
        tree.lock(node)
        tree.unlock(node)
        tree.evict(1)
        left[name] = sorted(int(node.keys[0]) for node in tree.nodes())
    assert left == {"lru": [2, 3], "lfu": [1, 2], "fifo": [2, 3]}


def test_pages_freed_twice_are_an_error() -> None:
    allocator = PageAllocator(4)
    pages = allocator.allocate(2)
    allocator.free(pages)
    with pytest.raises(Exception, match="freed twice"):
        allocator.free(pages)


def test_common_length() -> None:
    assert common_length(np.array([1, 2, 3]), np.array([1, 2])) == 2
    assert common_length(np.array([1, 2, 3]), np.array([1, 5, 3])) == 1
    assert common_length(np.array([], dtype=np.int64), np.array([1])) == 0


@pytest.mark.slow
def test_a_million_tokens_in_ten_thousand_nodes() -> None:
    """What an operation costs depends on its path, not on the tree."""
    costs = {}
    for num_texts in (100, 10_000):
        rng = np.random.default_rng(0)
        tree, allocator = RadixTree(4), PageAllocator(300_000)
        prefix = rng.integers(0, 1000, 100)
        texts = [np.concatenate([prefix, [index], rng.integers(0, 1000, 99)]) for index in range(num_texts)]
        for text in texts:
            insert(tree, allocator, text, "")
        started = time.thread_time()
        for text in (texts * 100)[:10_000]:
            match = tree.match(text)
            tree.lock(match.node)
            tree.unlock(match.node)
        matched = time.thread_time() - started
        allocator.free(tree.evict(1))  # stale entries of the queue surface here; `unlock` has paid for them
        started = time.thread_time()
        for _ in range(100):
            allocator.free(tree.evict(10))
        costs[num_texts] = (matched / 10_000, (time.thread_time() - started) / 100)
        tree.check_invariants()
    assert tree.num_nodes >= 9_000
    for small, large in zip(costs[100], costs[10_000], strict=True):
        assert large < 4 * small + 20e-6, costs


def test_the_summary_is_the_tree_and_a_part_of_it_is_what_was_used_last() -> None:
    tree, allocator, rng = RadixTree(2), PageAllocator(600), random.Random(3)
    for _ in range(80):
        keys = np.array([rng.choice([1, 2, 3]) for _ in range(2 * rng.randrange(1, 7))], dtype=np.int64)
        insert(tree, allocator, keys, rng.choice(["", "other"]))
    whole = summarise(tree, 1000)
    assert len(whole.nodes) == whole.num_nodes == tree.num_nodes and whole.num_hidden == 0
    lengths = sorted((node.start, node.end, node.num_uses, tuple(node.keys)) for node in tree.nodes())
    assert sorted((n.start, n.end, n.num_uses, n.head) for n in whole.nodes) == lengths
    for number, node in enumerate(whole.nodes):
        assert node.parent < number and node.num_hidden == 0
        assert node.start == (whole.nodes[node.parent].end if node.parent >= 0 else 0)

    part = summarise(tree, 9)
    assert [(n.parent, n.head) for n in part.nodes] == [(n.parent, n.head) for n in whole.nodes[:9]]
    children = [sum(n.parent == i for n in whole.nodes) for i in range(-1, 9)]
    shown = [sum(n.parent == i for n in part.nodes) for i in range(-1, 9)]
    hidden = [part.num_hidden, *(n.num_hidden for n in part.nodes)]
    assert hidden == [c - s for c, s in zip(children, shown, strict=True)]
    newest = max(tree.nodes(), key=lambda node: node.last_used)
    assert any((n.start, n.head) == (newest.start, tuple(newest.keys)) for n in part.nodes)
    assert summarise(RadixTree(2), 5).nodes == ()
