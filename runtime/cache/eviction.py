"""In which order unlocked leaves of the radix tree give up their pages: the smallest rank goes first."""

from __future__ import annotations

from typing import Protocol

from runtime.cache.radix_node import RadixNode


class EvictionPolicy(Protocol):
    """A rank may depend only on what cannot change while a node is unlocked."""

    def rank(self, node: RadixNode) -> tuple[int, ...]: ...


class LeastRecentlyUsed:
    def rank(self, node: RadixNode) -> tuple[int, ...]:
        return (node.last_used,)


class LeastFrequentlyUsed:
    """Ties go to the least recently used."""

    def rank(self, node: RadixNode) -> tuple[int, ...]:
        return (node.num_uses, node.last_used)


class FirstInFirstOut:
    def rank(self, node: RadixNode) -> tuple[int, ...]:
        return (node.created,)


EVICTION_POLICIES: dict[str, type[EvictionPolicy]] = {
    "lru": LeastRecentlyUsed,
    "lfu": LeastFrequentlyUsed,
    "fifo": FirstInFirstOut,
}
