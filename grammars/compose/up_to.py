"""`UpTo`: what may be written of a constrained text when the text itself goes on with a given end.

In: the automaton of the whole constraint, and the text `after`. Out: the automaton of the texts x for which x + after
conforms, and of x + after itself.

What is written begins such a text as long as some text that ends with `after` can still follow. So a state is a state
of the constraint, and how many bytes of `after` the text ends with (Knuth, Morris and Pratt). That a state can still be
completed is shown by a completion: along the constraint's own witness if `after` fits in there, else by search.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD, LOCAL_MASK, UNFILLED, ByteAutomaton
from grammars.errors import ConstraintLimitError, UnsatisfiableConstraintError
from grammars.limits import Limits
from grammars.masks.transitions import Transitions

_SEARCHED = 2_000
"""States that one search looks at. What has no completion by then counts as dead, which is safe."""
Item = tuple[int, int]
"""(state of the constraint, bytes of `after` that the text ends with)"""


class UpToAutomaton:
    """See `ByteAutomaton`. open_end: `x + after` need only begin a text of the constraint."""

    def __init__(self, inner: ByteAutomaton, after: bytes, open_end: bool, limits: Limits) -> None:
        self._inner = Transitions(inner)
        self.after = after
        self._open = open_end
        self._limits = limits
        self.remembers = inner.remembers
        self._matched = _prefix_function_rows(after)
        self.table = np.full((16, 256), UNFILLED, dtype=np.int32)
        self.exits = np.zeros(16, dtype=np.int32)
        self._locals: dict[Item, int] = {}
        self._items: list[Item] = []
        self._completions: dict[Item, bytes | None] = {}
        """None: no completion was found"""
        self._gave_up = False
        last_bytes = getattr(inner, "last_bytes", None)
        if after and not open_end and last_bytes is not None and after[-1] not in last_bytes():
            raise UnsatisfiableConstraintError(f"no text of the constraint ends with {after[-1:]!r}")
        start = (inner.start, 0)
        if self._completion(start) is None:
            if self._gave_up or self.remembers:  # what remembers may allow more than its tables
                raise ConstraintLimitError(f"no text that goes on with {after!r} was found among {_SEARCHED} states")
            raise UnsatisfiableConstraintError(f"no text of the constraint goes on with {after!r}")
        self.start = self._local(start)

    def remember(self, before: int, text: bytes, after: int) -> int:
        """As the constraint remembers."""
        state, matched = self._items[before & LOCAL_MASK][0], self._items[after & LOCAL_MASK][1]
        item = (self._inner.remember(state, text, self._items[after & LOCAL_MASK][0]), matched)
        return self._local(item) if self._completion(item) is not None else after

    def is_settled(self, state: int) -> bool:
        """See `ByteAutomaton.remember`."""
        return self._inner.is_settled(self._items[state & LOCAL_MASK][0])

    def fill(self, local: int) -> None:
        """Fill the row: where the constraint goes, if `after` can still be reached from there."""
        state, matched = self._items[local]
        following = self._inner.row(state)
        counts = self._matched[matched]
        row = np.full(256, DEAD, dtype=np.int32)
        made: dict[Item, int] = {}
        for byte in np.flatnonzero(following != DEAD).tolist():
            item = (int(following[byte]), int(counts[byte]))
            if item not in made:
                made[item] = DEAD if self._completion(item) is None else self._local(item)
            row[byte] = made[item]
        self.table[local] = row

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        """Never asked: no row crosses."""
        return np.full(256, DEAD, dtype=np.int64)

    def begin_at(self, state: int) -> int:
        """The state for a text that was there before: no part of `after` is taken from it.

        DEAD if no text goes on from there with `after`.
        """
        item = (self._items[state & LOCAL_MASK][0], 0)
        return DEAD if self._completion(item) is None else self._local(item)

    def is_accepting(self, state: int) -> bool:
        return self._is_goal(self._items[state & LOCAL_MASK])

    def min_bytes(self, state: int) -> int:
        return len(self.witness(state))

    def witness(self, state: int) -> bytes:
        completion = self._completion(self._items[state & LOCAL_MASK])
        assert completion is not None  # states without one are not made
        return completion

    def slice_key(self, local: int) -> Hashable | None:
        return None

    def canonical_byte(self, local: int) -> int:
        return DEAD

    def _local(self, item: Item) -> int:
        local = self._locals.get(item)
        if local is None:
            local = self._locals[item] = len(self._items)
            if local >= self._limits.states:
                raise ConstraintLimitError(f"more than {self._limits.states} states before {self.after!r}")
            self._items.append(item)
            if local == len(self.table):
                self.table = np.concatenate([self.table, np.full_like(self.table, UNFILLED)])
                self.exits = np.zeros(len(self.table), dtype=np.int32)
        return local

    def _is_goal(self, item: Item) -> bool:
        """Whether the text may end here: `after` is written, or may follow."""
        state, matched = item
        if matched == len(self.after) and (self._open or self._inner.is_accepting(state)):
            return True
        end = self._inner.advance_text(state, self.after)
        return end != DEAD and (self._open or self._inner.is_accepting(end))

    def _step(self, item: Item, byte: int) -> Item:
        """The item after a byte by the tables alone, which allow less than what remembers; its state may be DEAD."""
        return self._inner.step(item[0], byte), int(self._matched[item[1], byte])

    def _completion(self, item: Item) -> bytes | None:
        if item not in self._completions:
            path = self._along_the_witness(item)
            if path is None:
                path = self._by_search(item)
            self._note(item, path)
        return self._completions[item]

    def _note(self, item: Item, completion: bytes | None) -> None:
        """Remember a completion, and what it says about the items on its way."""
        self._completions[item] = completion
        for offset, byte in enumerate(completion or b"", 1):
            item = self._step(item, byte)
            if item[0] == DEAD or self._completions.get(item) is not None:
                return
            self._completions[item] = completion[offset:] if completion is not None else None

    def _along_the_witness(self, item: Item) -> bytes | None:
        """The beginning of the constraint's own witness behind which `after` may follow, if there is one."""
        text = self._inner.witness(item[0])
        for end in range(len(text) + 1):
            if self._is_goal(item):
                return text[:end]
            if end < len(text):
                item = self._step(item, text[end])
                if item[0] == DEAD:
                    break
        return None

    def _by_search(self, start: Item) -> bytes | None:
        """The shortest completion, best-first: the constraint's own completion, less `after`, is a lower bound."""
        paths: dict[Item, bytes] = {start: b""}
        queue = [(self._bound(start), 0, start)]
        for _ in range(_SEARCHED):
            if not queue:
                self._completions.update(dict.fromkeys(paths))  # nothing that was seen can be completed
                return None
            _, _, item = heapq.heappop(queue)
            known = self._completions.get(item)
            if known is not None:
                return paths[item] + known
            if self._is_goal(item):
                return paths[item]
            row = self._inner.row(item[0])
            for byte in np.flatnonzero(row != DEAD).tolist():
                following = (int(row[byte]), int(self._matched[item[1], byte]))
                if following not in paths and self._completions.get(following, b"") is not None:
                    paths[following] = paths[item] + bytes((byte,))
                    length = len(paths[following])
                    heapq.heappush(queue, (length + self._bound(following), -length, following))
        self._gave_up = True
        return None

    def _bound(self, item: Item) -> int:
        return max(0, self._inner.min_bytes(item[0]) - len(self.after))


def _prefix_function_rows(pattern: bytes) -> NDArray[np.int32]:
    """[n + 1, 256]: how much of the pattern a text ends with, by how much it ended with before and the byte."""
    rows = np.zeros((len(pattern) + 1, 256), dtype=np.int32)
    fallback = 0
    for matched in range(len(pattern) + 1):
        rows[matched] = rows[fallback]  # the longest shorter text that both ends `pattern[:matched]` and begins it
        if matched < len(pattern):
            if matched:
                fallback = int(rows[fallback, pattern[matched]])
            rows[matched, pattern[matched]] = matched + 1
    return rows
