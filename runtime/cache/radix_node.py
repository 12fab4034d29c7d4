"""One edge of the radix tree with what hangs below it: a run of whole pages, their keys and their page ids.

Positions of a node's keys within the whole text, half-open:

    0 ...... start ........................ end
    |  ancestors  |  this node's keys (end - start = num_pages * page_size)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
Keys = NDArray[np.int64]
PageIds = NDArray[np.int32]


class RadixNode:
    """Changed only by `RadixTree`.

    keys:      int64 [end - start]; pages: int32 [num_pages]. Both are views of buffers that may be larger.
    children:  by the bytes of the child's first page of keys.
    num_locks: locks on this node and on everything below it.
    parent:    None for a root, and for a node that is no longer in the tree.
    """

    __slots__ = (
        "_keys",
        "_pages",
        "children",
        "created",
        "end",
        "last_used",
        "num_locks",
        "num_pages",
        "num_uses",
        "parent",
        "queued",
        "salt",
        "start",
        "version",
    )

    def __init__(self, parent: RadixNode | None, keys: Keys, pages: PageIds, salt: str, tick: int) -> None:
        self.parent = parent
        self.children: dict[bytes, RadixNode] = {}
        self.start: int = parent.end if parent else 0
        self.end: int = self.start + len(keys)
        self.num_pages = len(pages)
        self._keys = keys
        self._pages = pages
        self.salt = salt
        self.num_locks = 0
        self.num_uses = 0
        self.created = self.last_used = tick
        self.version = 0
        """Grows whenever the node covers less than before: then earlier matches in it are no longer good."""
        self.queued = 0
        """Serial of its entry in the queue of evictable leaves; 0 when it has none."""

    @property
    def keys(self) -> Keys:
        return self._keys[: self.end - self.start]

    @property
    def pages(self) -> PageIds:
        return self._pages[: self.num_pages]

    def upward(self) -> Iterator[RadixNode]:
        """This node and its ancestors, the root last."""
        step: RadixNode | None = self
        while step is not None:
            yield step
            step = step.parent

    def append(self, keys: Keys, pages: PageIds) -> None:
        """Lengthen the run; O(len(keys)) amortised."""
        length = self.end - self.start
        self._keys = _room_for(self._keys, length, len(keys))
        self._keys[length : length + len(keys)] = keys
        self._pages = _room_for(self._pages, self.num_pages, len(pages))
        self._pages[self.num_pages : self.num_pages + len(pages)] = pages
        self.end += len(keys)
        self.num_pages += len(pages)

    def drop_last(self, num_pages: int, page_size: int) -> PageIds:
        """Shorten the run by its last `num_pages`; these are returned."""
        dropped = self._pages[self.num_pages - num_pages : self.num_pages].copy()
        self.version += 1
        self.num_pages -= num_pages
        self.end -= num_pages * page_size
        return dropped

    def drop_first(self, num_pages: int, page_size: int) -> tuple[Keys, PageIds]:
        """Shorten the run by its first `num_pages`; their keys and pages are returned."""
        cut = num_pages * page_size
        keys, pages = self.keys[:cut].copy(), self.pages[:num_pages].copy()
        self._keys, self._pages = self.keys[cut:].copy(), self.pages[num_pages:].copy()
        self.version += 1
        self.start += cut
        self.num_pages -= num_pages
        return keys, pages


def _room_for(buffer: NDArray[T], used: int, more: int) -> NDArray[T]:
    if used + more <= len(buffer):
        return buffer
    grown = np.empty(max(used + more, 2 * used), dtype=buffer.dtype)
    grown[:used] = buffer[:used]
    return grown
