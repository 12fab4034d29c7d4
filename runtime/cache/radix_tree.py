"""Which pages hold which beginnings of texts (RadixAttention, arXiv 2312.07104; in whole pages).

In: keys (token ids, or image hashes in place of image pad tokens) and the page ids that hold their keys and values.
Out: the longest known beginning of a text, and pages to free. Knows no tensors and no requests. Texts of different
`salt` live in different trees and never share.

A lock on a node covers the node and its ancestors: nothing covered is evicted or shortened. What is not covered is
evicted leaf by leaf, from the end of a leaf, in the order of the eviction policy; these leaves are kept in a queue.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from runtime.cache.eviction import EvictionPolicy, LeastRecentlyUsed
from runtime.cache.radix_node import Keys, PageIds, RadixNode

NO_KEYS: Keys = np.empty(0, dtype=np.int64)
NO_PAGES: PageIds = np.empty(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Match:
    """The longest known beginning: `length` keys (whole pages), ending in or at the end of `node`.

    following: the bytes of the page of keys after it. Good until the tree changes there; `holds` tells.
    """

    node: RadixNode
    length: int
    following: bytes
    version: int

    @property
    def holds(self) -> bool:
        """Whether it is still in the tree and still the longest. O(1)."""
        node = self.node
        if self.version != node.version:
            return False
        return self.length < node.end or (self.length == node.end and self.following not in node.children)


class RadixTree:
    """`match` changes nothing; `lock`, `unlock`, `split`, `extend` and `evict` cost the path they touch.

    The root of a namespace is in the tree as long as something is below it, or it is locked.
    """

    def __init__(self, page_size: int, policy: EvictionPolicy | None = None) -> None:
        self.page_size = page_size
        self.policy = policy or LeastRecentlyUsed()
        self.num_pages = 0
        self.num_evictable = 0
        """Pages not covered by any lock."""
        self.num_nodes = 0
        self._roots: dict[str, RadixNode] = {}
        self._queue: list[tuple[tuple[int, ...], int, RadixNode]] = []
        """Heap of (rank, serial, leaf); an entry is stale unless the leaf's `queued` is its serial."""
        self._num_queued = 0
        self._serials = itertools.count(1)
        self._tick = 0

    def match(self, keys: Keys, salt: str = "") -> Match:
        """The longest beginning of `keys` in the tree, in whole pages."""
        root = self._roots.get(salt)
        if root is None:
            return Match(RadixNode(None, NO_KEYS, NO_PAGES, salt, self._tick), 0, b"", version=-1)
        return self.match_below(root, keys)

    def match_below(self, node: RadixNode, keys: Keys) -> Match:
        """As `match`, where it is known that `keys[:node.end]` is the text of `node`."""
        length, size = node.end, self.page_size
        following = keys[length : length + size].tobytes()
        while child := node.children.get(following):
            shared = common_length(child.keys, keys[length:])
            shared -= shared % size
            length += shared
            node = child
            following = keys[length : length + size].tobytes()
            if length < child.end:
                break
        return Match(node, length, following, node.version)

    def pages(self, node: RadixNode) -> PageIds:
        """int32 [node.end / page_size]: the pages of the whole text that ends with `node`."""
        runs = [step.pages for step in node.upward()]
        return np.concatenate(runs[::-1])

    def num_unlocked(self, node: RadixNode, length: int) -> int:
        """Pages of the first `length` keys of the text of `node` that no lock covers."""
        count, end = 0, length
        for step in node.upward():
            if step.num_locks:
                break
            count += (end - step.start) // self.page_size
            end = step.start
        return count

    def split(self, node: RadixNode, length: int) -> RadixNode:
        """Cut `node` at position `length`, start < length < end. Returns the upper part; `node` stays the lower one.

        Locks on `node` stay valid: the upper part is covered by as many.
        """
        parent = node.parent
        assert parent is not None and node.start < length < node.end
        first = self._first_page(node.keys)
        keys, pages = node.drop_first((length - node.start) // self.page_size, self.page_size)
        upper = RadixNode(parent, keys, pages, node.salt, node.created)
        upper.num_locks, upper.num_uses, upper.last_used = node.num_locks, node.num_uses, node.last_used
        upper.children[self._first_page(node.keys)] = node
        parent.children[first] = upper
        node.parent = upper
        self.num_nodes += 1
        return upper

    def extend(self, node: RadixNode, keys: Keys, pages: PageIds) -> RadixNode:
        """Add whole pages below `node`, on which the caller holds a lock. Returns the node that now ends the text.

        The caller's lock moves to that node. No child of `node` may begin with the first page of `keys`.
        """
        self.num_pages += len(pages)
        if node.parent is not None and not node.children and node.num_locks == 1:
            node.append(keys, pages)
            return node
        first = self._first_page(keys)
        assert first not in node.children and node.num_locks > 0
        child = RadixNode(node, keys.copy(), pages.copy(), node.salt, self._tick)
        child.num_locks = child.num_uses = 1
        node.children[first] = child
        self.num_nodes += 1
        return child

    def lock(self, node: RadixNode) -> None:
        """Cover `node` and its ancestors; they count as used now."""
        self._tick += 1
        for step in node.upward():
            if step.num_locks == 0:
                self.num_evictable -= step.num_pages
                self._unqueue(step)
            step.num_locks += 1
            step.num_uses += 1
            step.last_used = self._tick
            if step.parent is None:
                assert self._roots.setdefault(step.salt, step) is step, "locked what is no longer in the tree"

    def unlock(self, node: RadixNode) -> None:
        """Undo one `lock` (or the lock that `extend` moved)."""
        self._tick += 1
        for step in node.upward():
            assert step.num_locks > 0, "unlocked more often than locked"
            step.num_locks -= 1
            step.last_used = self._tick
            if step.num_locks == 0:
                self.num_evictable += step.num_pages
                self._enqueue_if_leaf(step)
                self._forget_if_empty(step)

    def evict(self, num_pages: int) -> PageIds:
        """Give up min(num_pages, num_evictable) pages; they are the caller's to free."""
        dropped: list[PageIds] = []
        missing = min(num_pages, self.num_evictable)
        while missing > 0:
            _, serial, leaf = self._queue[0]
            if leaf.queued != serial:
                heapq.heappop(self._queue)
                continue
            count = min(missing, leaf.num_pages)
            first = self._first_page(leaf.keys)
            dropped.append(leaf.drop_last(count, self.page_size))
            missing -= count
            self.num_pages -= count
            self.num_evictable -= count
            if leaf.num_pages == 0:
                self._remove(leaf, first)
        return np.concatenate(dropped) if dropped else NO_PAGES

    def _remove(self, leaf: RadixNode, first: bytes) -> None:
        parent = leaf.parent
        assert parent is not None
        self._unqueue(leaf)
        del parent.children[first]
        leaf.parent = None
        self.num_nodes -= 1
        self._enqueue_if_leaf(parent)
        self._forget_if_empty(parent)

    def _enqueue_if_leaf(self, node: RadixNode) -> None:
        if node.children or node.num_locks or node.parent is None:
            return
        node.queued = next(self._serials)
        self._num_queued += 1
        heapq.heappush(self._queue, (self.policy.rank(node), node.queued, node))

    def _unqueue(self, node: RadixNode) -> None:
        if not node.queued:
            return
        node.queued = 0
        self._num_queued -= 1
        if len(self._queue) > 2 * self._num_queued + 64:
            self._queue = [entry for entry in self._queue if entry[2].queued == entry[1]]
            heapq.heapify(self._queue)

    def _forget_if_empty(self, node: RadixNode) -> None:
        if node.parent is None and not node.children and not node.num_locks:
            del self._roots[node.salt]
            node.version += 1

    def _first_page(self, keys: Keys) -> bytes:
        return keys[: self.page_size].tobytes()

    @property
    def roots(self) -> Collection[RadixNode]:
        """One for each salt. They have no keys."""
        return self._roots.values()

    def nodes(self) -> Iterator[RadixNode]:
        """Every node but the roots, parents first."""
        stack = [child for root in self._roots.values() for child in root.children.values()]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.children.values())

    def check_invariants(self) -> None:
        """Structure, locks, queue and counts agree. O(tree): for tests and debugging."""
        nodes = list(self.nodes())
        for node in nodes:
            assert node.num_pages > 0 and len(node.pages) * self.page_size == len(node.keys), "keys and pages disagree"
            assert node.parent is not None and node.start == node.parent.end, "positions have a gap"
            assert node.parent.children[self._first_page(node.keys)] is node, "filed under the wrong page"
            assert node.salt == node.parent.salt, "namespaces mixed"
            assert bool(node.queued) == (not node.children and not node.num_locks), (
                "evictable leaves and queue disagree"
            )
        for node in [*nodes, *self._roots.values()]:
            assert node.num_locks >= sum(child.num_locks for child in node.children.values()), (
                "a lock does not reach up"
            )
        pages = np.concatenate([NO_PAGES, *(node.pages for node in nodes)])
        assert len(np.unique(pages)) == len(pages) == self.num_pages, "a page is in the tree twice, or miscounted"
        assert self.num_evictable == sum(node.num_pages for node in nodes if not node.num_locks), "evictable miscounted"
        assert self.num_nodes == len(nodes), "nodes miscounted"
        queued = [node for _, serial, node in self._queue if node.queued == serial]
        assert len(queued) == self._num_queued == sum(1 for node in nodes if node.queued), "queue miscounted"


def common_length(left: Keys, right: Keys) -> int:
    """How many keys from the start are equal."""
    size = min(len(left), len(right))
    differs = left[:size] != right[:size]
    first = int(differs.argmax()) if size else 0
    return first if size and differs[first] else size
