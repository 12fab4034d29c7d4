"""What a vocabulary does inside a lexeme: computed once, kept with the vocabulary, shared by all its grammars. With it,
what each grammar would keep that is as large as a vocabulary, so that there is one bound for all.

Constraints are unknown here: a slice is found by the key that an automaton gives it (`ByteAutomaton.slice_key`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from grammars.masks.token_trie import TokenTrie

_KEPT = 256
_FORESTS_KEPT = 64
_LANDINGS_KEPT, _TIGHT_KEPT = 32, 512

Value = TypeVar("Value")


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


class Landings(NamedTuple):
    """Where the tokens of one state's mask lead, and what is known to be needed from there."""

    costs: NDArray[np.int64]
    """[slots] tokens of a known completion, IMPOSSIBLE where none is known or the slot is free"""
    states: NDArray[np.int64]
    """[slots] the states"""
    landing: NDArray[np.int32]
    """[tokens] slot of the state after the token, -1 where it is not alive"""


class Kept(Generic[Value]):
    """Values by key, those used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()

    def find(self, key: Hashable) -> Value | None:
        """The value of that key, if it is there."""
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
        return found

    def add(self, key: Hashable, value: Value) -> Value:
        """Keep a value."""
        self._values[key] = value
        if len(self._values) > self._most:
            self._values.popitem(last=False)
        return value


class SliceStore:
    """The slices of one vocabulary. Callers hold the lock of `TokenMasks`."""

    def __init__(self) -> None:
        self.slices: Kept[Slice] = Kept(_KEPT)
        self.forests: Kept[TokenTrie] = Kept(_FORESTS_KEPT)
        """those of `Slice.leaving`, by the nodes that leave"""
        self.wide: Kept[bool] = Kept(64 * _KEPT)
        """the keys for which a wide walk was made"""
        self.landings: Kept[Landings] = Kept(_LANDINGS_KEPT)
        """of states, by grammar and state: as large as the vocabulary, and seldom asked for again"""
        self.tight: Kept[NDArray[np.int32]] = Kept(_TIGHT_KEPT)
        """masks within a budget, by grammar, state and budget"""
