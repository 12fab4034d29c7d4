"""An automaton as the kernels see it: its table, and the crossing rows asked of it so far.

In: a `ByteAutomaton`, and a vocabulary where tokens are to be stepped over. Out: steps over bytes and tokens, in
compiled code wherever a row is there already. Masks and budgets are unknown. Not safe for threads by itself:
`TokenMasks` holds a lock around it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import CROSS, DEAD, LOCAL_MASK, UNFILLED, ByteAutomaton
from grammars.errors import ConstraintLimitError
from grammars.masks import kernels as kernel
from grammars.masks.token_trie import TokenTrie
from grammars.vocabulary import Vocabulary

_FIRST_CROSSINGS, _FIRST_KEYS = 4096, 1024
_CROSSING_BYTES = 256 * 8 + 200


class Transitions:
    """`tables` is what the kernels read (see `kernels`); `address` is where it lies.

    Every question to the automaton goes through here, since any answer may move its tables.
    """

    def __init__(
        self, automaton: ByteAutomaton, vocabulary: Vocabulary | None = None, memory_bytes: int | None = None
    ) -> None:
        self.automaton = automaton
        self._without_text: Callable[[int], int] | None = getattr(automaton, "without_text", None)
        self._memory_bytes = memory_bytes
        self.until = math.inf
        """the time of `time.monotonic` from which on no more rows are filled"""
        self.tables = np.zeros(kernel.FIELDS, dtype=np.int64)
        self.address: int = self.tables.ctypes.data
        if vocabulary is not None:
            if (know := getattr(automaton, "know_names", None)) is not None:
                know(vocabulary.whole_names)
            self._stack = np.zeros(vocabulary.trie.max_depth + 1, dtype=np.int64)
            self.tables[kernel.STACK] = self._stack.ctypes.data
            self._texts, self._starts = vocabulary.flat_texts
            self.tables[kernel.TEXTS] = self._texts.ctypes.data
            self.tables[kernel.STARTS] = self._starts.ctypes.data
            self.tables[kernel.TOKENS] = len(vocabulary)
        self._crossings: list[NDArray[np.int64]] = []
        self._addresses = np.zeros(_FIRST_CROSSINGS, dtype=np.int64)
        """where the crossings lie"""
        self._keys = np.empty(0, dtype=np.int64)
        self._rows = np.empty(0, dtype=np.int32)
        self._rehash(_FIRST_KEYS)
        self.tables[kernel.CROSSINGS] = self._addresses.ctypes.data
        self._table: NDArray[np.int32] | None = None
        self._exits: NDArray[np.int32] | None = None
        self.refresh()

    @property
    def nbytes(self) -> int:
        """Bytes of all tables."""
        table: int = getattr(self.automaton, "table_bytes", self.automaton.table.nbytes)
        return table + len(self._crossings) * _CROSSING_BYTES + self._keys.nbytes + self._rows.nbytes

    def refresh(self) -> None:
        """Take up the automaton's tables if it has moved them."""
        table, exits = self.automaton.table, self.automaton.exits
        if table is not self._table or exits is not self._exits:
            if table.dtype != np.int32 or exits.dtype != np.int32 or not table.flags.c_contiguous:
                raise TypeError(f"{type(self.automaton).__name__}: table and exits must be contiguous int32")
            self._table, self._exits = table, exits
            self._check_memory()
            self.tables[kernel.TABLE] = table.ctypes.data
            self.tables[kernel.EXITS] = exits.ctypes.data

    def resolve(self, code: int) -> None:
        """Fill the row that a kernel missed. Raises ConstraintLimitError behind `until`."""
        if time.monotonic() > self.until:
            raise ConstraintLimitError(
                "a mask takes longer than Limits.compile_seconds; state the constraint more plainly"
            )
        local = int(self.tables[kernel.MISS_LOCAL])
        if code == kernel.MISSING_ROW:
            self.automaton.fill(local)
            self.refresh()
            return
        context = int(self.tables[kernel.MISS_CONTEXT])
        row = self.automaton.cross(context, local)
        self.refresh()  # it may have numbered new exit classes and moved the tables
        assert self._exits is not None
        self._keep_crossing(context << 32 | int(self._exits[local]), row)

    def step(self, state: int, byte: int) -> int:
        """The state after `byte`, or DEAD."""
        while (following := kernel.step(self.address, state, byte)) < DEAD:
            self.resolve(following)
        return following

    def advance(self, state: int, token: int) -> int:
        """The state after `token`, or DEAD; DEAD also where the token writes nothing."""
        while (following := kernel.advance(self.address, state, token)) < DEAD:
            self.resolve(following)
        return following

    def advance_text(self, state: int, text: bytes) -> int:
        """The state after `text`, or DEAD."""
        for byte in text:
            state = self.step(state, byte)
            if state == DEAD:
                break
        return state

    def only_byte(self, state: int) -> int:
        """The byte that must come next; DEAD if none can, `kernels.SEVERAL` if there is a choice."""
        while (found := kernel.only_byte(self.address, state)) < DEAD:
            self.resolve(found)
        return found

    def goes_on(self, trie: TokenTrie, node: int, state: int) -> bool:
        """Whether a token below a node of the trie is alive, its bytes below the node being read from `state`."""
        while (found := kernel.goes_on(self.address, trie.address, node, state)) < 0:
            self.resolve(found)
        return bool(found)

    def fill(self, local: int) -> None:
        """Fill the table's row of a local if it is not."""
        if self.automaton.table[local, 0] == UNFILLED:
            self.automaton.fill(local)
            self.refresh()

    def row(self, state: int) -> NDArray[np.int64]:
        """[256] the state after each byte, or DEAD."""
        context, local = state & ~LOCAL_MASK, state & LOCAL_MASK
        self.fill(local)
        following = self.automaton.table[local].astype(np.int64)
        row = np.where(following >= 0, following + context, DEAD)
        crossing = np.flatnonzero(following == CROSS)
        if len(crossing):
            self.step(state, int(crossing[0]))  # so that the crossing row is there
            slot = kernel.slot_for(self._keys, context | int(self.automaton.exits[local]))
            row[crossing] = self._crossings[self._rows[slot]][crossing]
        return row

    @property
    def remembers(self) -> bool:
        """Whether `remember` does anything."""
        return self.automaton.remembers

    def remember(self, before: int, text: bytes, after: int) -> int:
        """`after`, where `text` leads from `before`, with what only the text itself can tell."""
        if not self.automaton.remembers:
            return after
        state = self.automaton.remember(before, text, after)
        if state != after:  # else nothing was made that kernels could be led to
            self.refresh()
        return state

    @property
    def commas_part(self) -> bool:
        """Whether the tables may refuse a token that goes on behind a comma, though its bytes one by one lead on."""
        return self.automaton.remembers and getattr(self.automaton, "commas_part", True)

    def without_text(self, state: int) -> int:
        """The state whose mask this one shares; see `ByteAutomaton.remember`."""
        return state if self._without_text is None or state < 0 else self._without_text(state)

    def is_settled(self, state: int) -> bool:
        """Whether the witness of a state that tables lead to holds for what `remember` makes of it."""
        is_settled = getattr(self.automaton, "is_settled", None) if self.automaton.remembers else None
        return is_settled is None or bool(is_settled(state))

    def is_accepting(self, state: int) -> bool:
        """Whether the text may end in `state`."""
        accepting = self.automaton.is_accepting(state)
        self.refresh()
        return accepting

    def min_bytes(self, state: int) -> int:
        """Bytes of a shortest completion."""
        least = self.automaton.min_bytes(state)
        self.refresh()
        return least

    def witness(self, state: int) -> bytes:
        """A shortest completion."""
        text = self.automaton.witness(state)
        self.refresh()
        return text

    def crossed_since(self, count: int) -> tuple[list[int], int]:
        """(the states behind all crossings but the first `count` that were asked for, how many those are by now)"""
        rows = np.array(self._crossings[count:], dtype=np.int64)
        return np.unique(rows[rows != DEAD]).tolist(), len(self._crossings)

    def _check_memory(self) -> None:
        if self._memory_bytes is not None and self.nbytes > self._memory_bytes:
            raise ConstraintLimitError(
                f"the tables of the constraint take more than {self._memory_bytes >> 20} MB (Limits.memory_bytes)"
            )

    def _keep_crossing(self, key: int, row: NDArray[np.int64]) -> None:
        index = len(self._crossings)
        if index == len(self._addresses):
            self._addresses = np.append(self._addresses, np.zeros(index, dtype=np.int64))
            self.tables[kernel.CROSSINGS] = self._addresses.ctypes.data
            self._check_memory()
        if 4 * index >= len(self._keys):
            self._rehash(4 * len(self._keys))
        self._crossings.append(row)
        kernel.add_crossing(self.address, key, index, row)

    def _rehash(self, capacity: int) -> None:
        """Make the key table `capacity` slots large, a power of two."""
        keys = np.full(capacity, kernel.EMPTY_KEY, dtype=np.int64)
        rows = np.zeros(capacity, dtype=np.int32)
        kernel.copy_keys(self._keys, self._rows, keys, rows)
        self._keys, self._rows = keys, rows
        self.tables[kernel.KEYS] = keys.ctypes.data
        self.tables[kernel.ROWS] = rows.ctypes.data
        self.tables[kernel.KEY_MASK] = capacity - 1
