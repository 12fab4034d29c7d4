"""Token masks of one automaton over one vocabulary: made once per state, then remembered.

In: automaton states. Out: mask rows, `int32 [ceil(V / 32)]`, bit 1 = the token is allowed; end tokens are allowed where
the state is accepting. Requests are unknown here. Rows that are handed out are shared: read them, never write.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD, ByteAutomaton
from grammars.limits import Limits
from grammars.masks import kernels as kernel
from grammars.masks.completions import Completions
from grammars.masks.forced import ForcedText
from grammars.masks.row_memo import Packed, RowMemo, write_row
from grammars.masks.slices import Landings
from grammars.masks.transitions import Transitions
from grammars.masks.trie_walk import TrieWalk
from grammars.vocabulary import Vocabulary

Row = NDArray[np.int32]

ENDED = -1
"""The state after an end token: nothing follows, not even another one"""

_AUTOMATA_LOCK = threading.RLock()
"""One for all: automata may share parts, such as a regular language that two schemas name"""
_UNSETTLED = 32
"""Tokens that a state may need beyond its witness while it does not know what has been written"""
_NUMBERS = itertools.count()
"""By which the vocabulary tells apart what it keeps for each; an `id` would be given out again"""
_STEPS_KEPT, _STEP_BYTES = 20_000, 250
"""Steps over tokens that are remembered, and what one takes"""


def allow(row: Row, token: int) -> None:
    """Set the bit of one token."""
    bit = token & 31
    row[token >> 5] |= np.int32(1 << bit if bit < 31 else -(1 << 31))


class TokenMasks:
    """The masks of one compiled grammar. Safe for threads; `lock` is held around the automaton and all that asks it."""

    def __init__(self, automaton: ByteAutomaton, vocabulary: Vocabulary, limits: Limits) -> None:
        self.vocabulary = vocabulary
        self.lock = _AUTOMATA_LOCK
        self.transitions = Transitions(automaton, vocabulary, limits.memory_bytes)
        self._walk = TrieWalk(self.transitions, vocabulary)
        self.completions = Completions(self._walk, self.transitions, vocabulary)
        self._forced = ForcedText(self.transitions, vocabulary)
        self._memo = RowMemo(vocabulary.mask_width, limits.memory_bytes // 4)
        self._partial = bool(vocabulary.missing_bytes)
        self._seconds = limits.compile_seconds
        self._taken: dict[tuple[int, int], tuple[int, int]] = {}
        self._loose: dict[int, int] = {ENDED: -1}
        """state -> tokens left from which on its mask needs no thought of the budget"""
        self._counted: set[int] = set()
        """states whose number in `_loose` counts tokens; the others' counts bytes, which is soon done"""
        self._number = next(_NUMBERS)

    @property
    def nbytes(self) -> int:
        """Memory that tables and masks take at present, roughly."""
        return self.transitions.nbytes + self._memo.nbytes + len(self._taken) * _STEP_BYTES

    def follow(self, state: int, tokens: Sequence[int], until: float) -> None:
        """Make the masks along tokens, as long as they are allowed, until that time of `time.thread_time()`."""
        for token in (*tokens, None):
            with self.lock:
                if state not in self._memo.rows:
                    self._packed(state)
                    if time.thread_time() > until:
                        return
                if token is not None:
                    _, state = self.take(state, token)
            if state == DEAD:
                return

    def explore(self, start: int, until: float) -> None:
        """Make the masks of `start` and of the states behind crossings, nearest first, until that time."""
        queue, seen, crossings = deque([start]), {start}, 0
        while queue and time.thread_time() < until:
            with self.lock:
                self._packed(queue.popleft())
                found, crossings = self.transitions.crossed_since(crossings)
            fresh = [state for state in found if state not in seen]
            seen.update(fresh)
            queue.extend(fresh)

    def row(self, state: int) -> Row:
        """The mask of `state`, whatever comes after."""
        packed = self._packed(state)
        if packed.ndim == 1:
            return packed
        row = np.empty(self.vocabulary.mask_width, dtype=np.int32)
        kernel.unpack(packed, row)
        return row

    def write(self, state: int, row: Row) -> None:
        """Make `row` the mask of `state`, whatever comes after."""
        packed = self._memo.rows.get(state)
        write_row(self._packed(state) if packed is None else packed, row)

    def _packed(self, state: int) -> Packed:
        packed = self._memo.rows.get(state)
        if packed is None:
            with self.lock:
                packed = self._memo.find(state)
                if packed is None and (alike := self.transitions.without_text(state)) != state:
                    packed = self._memo.share(state, self._packed(alike))
                if packed is None:
                    self._make(state, self._memo.scratch)
                    packed = self._memo.keep(state)
        return packed

    def row_within(self, state: int, tokens: int) -> Row:
        """The mask of the tokens after which a completion is known that takes at most `tokens - 1` more.

        The first token of `plan(state)` is among them if the plan takes at most `tokens`.
        """
        if tokens >= self._loose.get(state, kernel.IMPOSSIBLE):
            return self.row(state)
        with self.lock:
            if state not in self._loose:
                self.row(state)  # makes the slice, if there is to be one, that landings are found by
                self._loose[state] = 1 + self._most_after(state, self.completions.min_bytes)
            if tokens < self._loose[state] and state not in self._counted:
                self._counted.add(state)
                self._loose[state] = 1 + self._most_after(state, self.completions.tokens)
            if tokens >= self._loose[state]:
                return self.row(state)
            kept, key = self.vocabulary.slices.tight, (self._number, state, tokens)
            row = kept.find(key)
            return kept.add(key, self._make_tight(state, tokens)) if row is None else row

    def advance(self, state: int, token: int) -> int:
        """The state after `token`, DEAD if it is not allowed. End tokens are not looked at."""
        with self.lock:
            return self._advance(state, token)

    def _advance(self, state: int, token: int) -> int:
        following = self.transitions.advance(state, token)
        if self._partial and following >= 0 and not self._is_completable(following):
            return DEAD
        return following

    def take(self, state: int, token: int) -> tuple[int, int]:
        """(the state after `token` by the tables alone, as `advance` gives it; that with what only the text tells)"""
        taken = self._taken.get((state, token))
        if taken is None:
            with self.lock:
                following = landing = self._advance(state, token)
                if landing >= 0:
                    following = self.transitions.remember(state, self.vocabulary.tokens[token], landing)
                if len(self._taken) >= _STEPS_KEPT:
                    self._taken.clear()
                taken = self._taken[state, token] = landing, following
        return taken

    def fits(self, state: int, tokens: int) -> bool:
        """Whether a completion of `state` in at most `tokens` tokens is known."""
        with self.lock:
            return self.completions.fits(state, tokens)

    def plan(self, state: int) -> tuple[int, ...]:
        """A known completion of `state`, as tokens."""
        with self.lock:
            return self.completions.plan(state)

    def is_settled(self, state: int) -> bool:
        """Whether the plan of a state that tables lead to holds, whatever the text tells besides."""
        return self.transitions.is_settled(state)

    def is_accepting(self, state: int) -> bool:
        """Whether the text may end in `state`."""
        with self.lock:
            return self.transitions.is_accepting(state)

    def is_final(self, state: int) -> bool:
        """Whether no byte can follow."""
        with self.lock:
            return self._forced.is_final(state)

    def forced_tokens(self, state: int, written: Sequence[int]) -> list[int]:
        """The tokens that must come next behind the tokens `written`; see `grammars.masks.forced`."""
        with self.lock:
            return self._forced.tokens(state, written)

    def _is_completable(self, state: int) -> bool:
        return self.completions.tokens(state) != kernel.IMPOSSIBLE

    def _make(self, state: int, row: Row) -> None:
        self.transitions.until = time.monotonic() + self._seconds
        try:
            self._make_in_time(state, row)
        finally:
            self.transitions.until = math.inf

    def _make_in_time(self, state: int, row: Row) -> None:
        if state == ENDED:
            row.fill(0)
            return
        if self._partial:
            row.fill(0)
            found = self._landings_of(state)
            kernel.keep_landings(found.landing, found.costs < kernel.IMPOSSIBLE, row)
        else:
            self._walk.mask(state, row)
        self._allow_end(state, row)

    def _allow_end(self, state: int, row: Row) -> None:
        if self.transitions.is_accepting(state):
            words, bits = self.vocabulary.eos_words
            row[words] |= bits

    def _most_after(self, state: int, least: Callable[[int], int]) -> int:
        """An upper bound of the tokens that are needed after any token of the mask of `state`. least: of a state."""
        if self._partial:
            costs = self._landings_of(state).costs
            return int(costs[costs < kernel.IMPOSSIBLE].max(initial=0))
        return max((self._bound(landing, least) for landing in self._walk.landings(state).tolist()), default=0)

    def _bound(self, landing: int, least: Callable[[int], int]) -> int:
        """About how many tokens are needed at most after a token that leads to `landing`."""
        if self.transitions.is_settled(landing):
            return least(landing)
        return 2 * self.completions.min_bytes(landing) + _UNSETTLED

    def _make_tight(self, state: int, tokens: int) -> Row:
        found = self._landings_of(state)
        possible, kept = found.costs < kernel.IMPOSSIBLE, found.costs < tokens
        if self.transitions.remembers:
            for slot in np.flatnonzero(kept).tolist():
                kept[slot] = self.transitions.is_settled(int(found.states[slot]))
        if np.array_equal(possible, kept):
            self._loose[state] = min(self._loose[state], tokens)
            return self.row(state)
        row = np.zeros(self.vocabulary.mask_width, dtype=np.int32)
        kernel.keep_landings(found.landing, kept, row)
        plan = self.completions.plan(state)
        if 0 < len(plan) <= tokens:
            allow(row, plan[0])
        self._allow_end(state, row)
        return row

    def _landings_of(self, state: int) -> Landings:
        kept, key = self.vocabulary.slices.landings, (self._number, state)
        found = kept.find(key)
        if found is None:
            keys, landing = self._walk.landing_of_tokens(state)
            costs = np.full(len(keys), kernel.IMPOSSIBLE, dtype=np.int64)
            for slot in np.flatnonzero(keys != kernel.EMPTY_KEY):
                costs[slot] = self.completions.tokens(int(keys[slot]))
            found = kept.add(key, Landings(costs, keys, landing))
        return found
