"""What a vocabulary does inside a lexeme: computed once, kept with the vocabulary, shared by all its grammars.

Constraints are unknown here: a slice is found by the key that an automaton gives it (`ByteAutomaton.slice_key`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grammars.masks.token_trie import TokenTrie

_KEPT = 256


@dataclass(frozen=True, eq=False)
class Slice:
    """The tokens of up to SLICE_BYTES bytes that stay inside a lexeme, and those that leave it.

    Locals are named by a text that leads to them.

    row:     int32 [ceil(V / 32)], the tokens that stay
    inside:  texts to the locals that they lead to
    leaving: a forest; group k holds what tokens write from the byte on that crosses, behind the text `exits[k]`
    exits:   texts to the locals that are crossed from
    """

    row: NDArray[np.int32]
    inside: tuple[bytes, ...]
    leaving: TokenTrie
    exits: tuple[bytes, ...]


class SliceStore:
    """The slices of one vocabulary; those used last are kept. Callers hold the lock of `TokenMasks`."""

    def __init__(self) -> None:
        self._slices: OrderedDict[Hashable, Slice] = OrderedDict()
        self._wide_walks: OrderedDict[Hashable, None] = OrderedDict()

    def find(self, key: Hashable) -> Slice | None:
        """The slice of that key, if it is there."""
        found = self._slices.get(key)
        if found is not None:
            self._slices.move_to_end(key)
        return found

    def add(self, key: Hashable, built: Slice) -> None:
        """Keep a slice."""
        self._slices[key] = built
        if len(self._slices) > _KEPT:
            self._slices.popitem(last=False)

    def is_worth_building(self, key: Hashable) -> bool:
        """Whether a wide walk was made for that key before. The question counts as such a walk."""
        if key in self._wide_walks:
            return True
        self._wide_walks[key] = None
        if len(self._wide_walks) > 64 * _KEPT:
            self._wide_walks.popitem(last=False)
        return False
