"""Pages for requests: as many as possible from the radix tree, the rest from the allocator, evicting where needed.

The pages of one request, half-open, in the order of its text:

    0 ............ num_shared ............ len(page_ids)
    |  the tree's   |  the request's own  |

Shared pages are covered by the request's lock on `node`, the radix node that ends exactly after them. Own pages move
to the tree as soon as a step is scheduled that fills them (`publish`), so that later requests of the same step share
them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.cache.eviction import EVICTION_POLICIES
from runtime.cache.page_allocator import PageAllocator
from runtime.cache.radix_node import Keys, PageIds, RadixNode
from runtime.cache.radix_tree import NO_PAGES, Match, RadixTree
from runtime.errors import RequestError


class PageTable:
    """The pages of one request. Made by `PrefixCache.open`, changed by it only, dead after `close`."""

    __slots__ = ("_buffer", "_length", "node", "num_shared")

    def __init__(self, node: RadixNode, shared: PageIds) -> None:
        self.node = node
        self.num_shared = self._length = len(shared)
        self._buffer = shared

    def __len__(self) -> int:
        return self._length

    @property
    def page_ids(self) -> PageIds:
        """int32 [len(self)], a view: good until the next change."""
        return self._buffer[: self._length]

    def append(self, pages: PageIds) -> None:
        needed = self._length + len(pages)
        if needed > len(self._buffer):
            grown = np.empty(max(needed, 2 * len(self._buffer), 8), dtype=np.int32)
            grown[: self._length] = self.page_ids
            self._buffer = grown
        self._buffer[self._length : needed] = pages
        self._length = needed

    def share(self, node: RadixNode, pages: PageIds) -> PageIds:
        """Put the tree's `pages` right after the shared ones. Returns the own pages that they replace."""
        first, last = self.num_shared, self.num_shared + len(pages)
        replaced = self.page_ids[first:last].copy()
        if last > self._length:
            self.append(pages[self._length - first :])
        self._buffer[first:last] = pages
        self.node, self.num_shared = node, last
        return replaced


@dataclass(slots=True)
class CacheStats:
    """Since the start. Of `queried_tokens` of admitted requests, `hit_tokens` were computed already."""

    queried_tokens: int = 0
    hit_tokens: int = 0
    evicted_pages: int = 0


class PrefixCache:
    """Owns the allocator and the tree. `enabled=False` shares nothing."""

    def __init__(self, num_pages: int, page_size: int, policy: str = "lru", enabled: bool = True) -> None:
        if policy not in EVICTION_POLICIES:
            raise RequestError(f"eviction_policy={policy!r} must be one of {', '.join(EVICTION_POLICIES)}")
        self.page_size = page_size
        self.enabled = enabled
        self.allocator = PageAllocator(num_pages)
        self.tree = RadixTree(page_size, EVICTION_POLICIES[policy]())
        self.stats = CacheStats()
        self._pinned: list[PageTable] = []

    @property
    def num_available(self) -> int:
        """Pages that a request could get now: free ones and those that nobody needs any more."""
        return self.allocator.num_free + self.tree.num_evictable

    @property
    def capacity(self) -> int:
        """Tokens that one request may have at most: what the pool holds beside pinned prefixes."""
        return (self.allocator.num_pages - self.num_pinned) * self.page_size

    def pages_for(self, num_tokens: int) -> int:
        return -(-num_tokens // self.page_size)

    def match(self, keys: Keys, salt: str) -> Match:
        """The longest cached beginning."""
        return self.tree.match(keys if self.enabled else keys[:0], salt)

    def num_unlocked(self, match: Match) -> int:
        """Pages that are available now and would not be once `match` is opened."""
        return self.tree.num_unlocked(match.node, match.length)

    def open(self, match: Match) -> PageTable:
        """The pages of a match that still holds, locked."""
        node = self._end_at(match)
        self.tree.lock(node)
        return PageTable(node, self.tree.pages(node))

    def adopt(self, table: PageTable, keys: Keys, num_computed: int, limit: int) -> int:
        """Share what others have put into the tree since: pages that end within max(num_computed, limit).

        Own pages with the same keys are given up for the tree's. Returns how far the text is computed now.
        """
        start, below = table.node.end, table.node.children
        if not self.enabled or not below or keys[start : start + self.page_size].tobytes() not in below:
            return num_computed
        match = self.tree.match_below(table.node, keys[: max(num_computed, limit)])
        if match.length <= start:
            return num_computed
        node, before = self._end_at(match), table.node
        self.tree.lock(node)
        replaced = table.share(node, self.tree.pages(node)[start // self.page_size :])
        self.tree.unlock(before)
        self.allocator.free(replaced)
        self.stats.hit_tokens += max(match.length - num_computed, 0)
        return max(num_computed, match.length)

    def reserve(self, table: PageTable, num_tokens: int) -> bool:
        """Add own pages until the table holds `num_tokens`, evicting if needed.

        False, and nothing is changed, if there are too few.
        """
        missing = self.pages_for(num_tokens) - len(table)
        if missing <= 0:
            return True
        if missing > self.num_available:
            return False
        shortage = missing - self.allocator.num_free
        if shortage > 0:
            self.allocator.free(self.tree.evict(shortage))
            self.stats.evicted_pages += shortage
        table.append(self.allocator.allocate(missing))
        return True

    def publish(self, table: PageTable, keys: Keys, num_computed: int) -> None:
        """Move own pages to the tree that are whole once `num_computed` tokens are computed.

        If the tree already has the next page (from another request), nothing is moved: `adopt` will share it later.
        """
        whole = num_computed // self.page_size
        if not self.enabled or whole <= table.num_shared:
            return
        start = table.node.end
        if keys[start : start + self.page_size].tobytes() in table.node.children:
            return
        pages = table.page_ids[table.num_shared : whole]
        table.node = self.tree.extend(table.node, keys[start : whole * self.page_size], pages)
        table.num_shared = whole

    def close(self, table: PageTable) -> None:
        """Unlock what is shared and free the rest."""
        self.tree.unlock(table.node)
        self.allocator.free(table.page_ids[table.num_shared :])

    def pin(self, keys: Keys, salt: str) -> PageTable:
        """Keep what is cached of `keys` until `unpin`."""
        table = self.open(self.match(keys, salt))
        self._pinned.append(table)
        return table

    def unpin(self, table: PageTable) -> None:
        self._pinned.remove(table)
        self.close(table)

    @property
    def num_pinned(self) -> int:
        """Pages that pins hold; those that several hold count for each."""
        return sum(len(table) for table in self._pinned)

    def clear(self) -> int:
        """Evict all that is not locked. Returns the number of pages that are still held."""
        self.allocator.free(self.tree.evict(self.tree.num_evictable))
        return self.allocator.num_pages - self.allocator.num_free

    def check_invariants(self, tables: list[PageTable]) -> None:
        """With `tables` all that are open: every page is free, in the tree, or owned by one request. O(pages)."""
        tables = tables + self._pinned
        self.allocator.check_invariants()
        self.tree.check_invariants()
        locks: dict[int, int] = {}
        for table in tables:
            assert table.node.end == table.num_shared * self.page_size, "the lock does not end with the shared pages"
            assert np.array_equal(self.tree.pages(table.node), table.page_ids[: table.num_shared]), (
                "shared pages differ"
            )
            locks[id(table.node)] = locks.get(id(table.node), 0) + 1
        for node in self.tree.nodes():
            own = node.num_locks - sum(child.num_locks for child in node.children.values())
            assert own == locks.get(id(node), 0), "a lock without a request"
        own_pages = [table.page_ids[table.num_shared :] for table in tables]
        held = np.concatenate([NO_PAGES, *own_pages, *(node.pages for node in self.tree.nodes())])
        assert len(np.unique(held)) == len(held), "a page is owned twice"
        assert len(held) + self.allocator.num_free == self.allocator.num_pages, "a page is lost"

    def _end_at(self, match: Match) -> RadixNode:
        """The node that ends exactly where the match does, made by a split if need be."""
        return match.node if match.length == match.node.end else self.tree.split(match.node, match.length)
