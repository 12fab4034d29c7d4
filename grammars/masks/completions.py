"""How many tokens a state still needs, and which: the side of a budget.

In: automaton states. Out: completions that are known, as tokens. A state's completion is its witness, cut into as few
tokens as the vocabulary can. Callers hold the lock of `TokenMasks`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from grammars.masks import kernels as kernel
from grammars.masks.kernels import IMPOSSIBLE
from grammars.masks.transitions import Transitions
from grammars.masks.trie_walk import TrieWalk
from grammars.vocabulary import Vocabulary

_SEARCHED = 2_000
"""States that one search for a completion looks at before it gives up"""
_REMEMBERED = 200_000
"""States whose cost is remembered"""


class Completions:
    """Known completions of states, counted in tokens."""

    def __init__(self, walk: TrieWalk, transitions: Transitions, vocabulary: Vocabulary) -> None:
        self._walk = walk
        self._transitions = transitions
        self._vocabulary = vocabulary
        self._trie = vocabulary.trie
        self._missing = vocabulary.missing_bytes
        self._costs: dict[int, int] = {}
        self._bytes: dict[int, int] = {}
        self._detours: dict[int, tuple[int, ...]] = {}
        """plans of states whose witness has no tokens, found by search"""

    def tokens(self, state: int) -> int:
        """Tokens of a known completion of `state`; IMPOSSIBLE where none is known, which takes a vocabulary without
        some bytes. Never more than `min_bytes` where every byte is a token."""
        cost = self._costs.get(state)
        if cost is None:
            if len(self._costs) >= _REMEMBERED:
                self._costs.clear()
            cost = self._costs[state] = self._count(state)
        return cost

    def plan(self, state: int) -> tuple[int, ...]:
        """A known completion: as many tokens as `tokens` says."""
        if (cost := self.tokens(state)) == IMPOSSIBLE:
            raise ValueError(f"no completion of state {state} is known")
        if state in self._detours:
            return self._detours[state]
        plan = self._cut(state)
        assert plan is not None and len(plan) == cost
        return plan

    def fits(self, state: int, tokens: int) -> bool:
        """Whether a completion of at most `tokens` tokens is known."""
        if tokens < 0:
            return False
        cost = self._costs.get(state)
        if cost is None and not self._missing and self.min_bytes(state) <= tokens:
            return True
        return self.tokens(state) <= tokens

    def min_bytes(self, state: int) -> int:
        """Bytes of the witness of `state`."""
        least = self._bytes.get(state)
        if least is None:
            if len(self._bytes) >= _REMEMBERED:
                self._bytes.clear()
            least = self._bytes[state] = self._transitions.min_bytes(state)
        return least

    def _count(self, state: int) -> int:
        plan = self._cut(state)
        if plan is not None:
            return len(plan)
        if state not in self._detours and not self._search(state):
            return IMPOSSIBLE
        return len(self._detours[state])

    def _cut(self, state: int) -> tuple[int, ...] | None:
        """The witness of a state in as few tokens as can be, None where it cannot be cut."""
        text = self._transitions.witness(state)
        if not text:
            return ()
        count, choice = kernel.fewest_tokens(
            self._trie.address,
            *self._vocabulary.child_index,
            np.frombuffer(text, dtype=np.uint8),
            self._transitions.commas_part,
        )
        return None if count[0] == IMPOSSIBLE else tuple(self._tokens_of(text, choice))

    def _tokens_of(self, text: bytes, choice: NDArray[np.int32]) -> Iterator[int]:
        offset = 0
        while offset < len(text):
            token = int(choice[offset])
            yield token
            offset += len(self._vocabulary.tokens[token])

    def _search(self, start: int) -> bool:
        """Find a completion that is not the witness, best-first over states, one token an edge; keep it in `_detours`,
        for `start` and the states on the way. False if there is none, or none was found in time."""
        came: dict[int, tuple[int, int]] = {start: (start, -1)}
        queue = [(self._transitions.min_bytes(start), 0, start)]
        for _ in range(_SEARCHED):
            if not queue:
                return False
            _, length, state = heapq.heappop(queue)
            ending = self._detours.get(state) or self._cut(state)
            if ending is not None:
                while state != start:
                    state, token = came[state]
                    ending = (token, *ending)
                    self._detours.setdefault(state, ending)
                return True
            keys, landing = self._walk.landing_of_tokens(state)
            slots, tokens = np.unique(landing, return_index=True)
            for slot, token in zip(slots.tolist(), tokens.tolist(), strict=True):
                following = int(keys[slot])
                if slot >= 0 and following not in came:
                    came[following] = (state, token)
                    heapq.heappush(queue, (length + 1 + self._transitions.min_bytes(following), length + 1, following))
        return False
