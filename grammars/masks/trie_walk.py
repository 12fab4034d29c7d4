"""The walk of the token trie from a state of an automaton.

In: states. Out: which tokens are alive, and where they lead. Where a lexeme is wide, its slice is used: the row of the
tokens that stay inside is copied, and only the tokens that leave are walked. Where most bytes lead to a local that has
a slice (at the beginning of a name, say, where most lead to "some name that nobody listed"), the mask of that local is
made first, and only what leads apart is walked. Memos, budgets and requests are unknown here. Callers hold the lock of
`TokenMasks`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD, LOCAL_MASK
from grammars.masks import kernels as kernel
from grammars.masks.slice_builder import SliceBuilder
from grammars.masks.slices import Slice, SliceStore
from grammars.masks.token_trie import TokenTrie
from grammars.masks.transitions import Transitions
from grammars.vocabulary import Vocabulary

_WIDE = 2_000
"""A walk that visits more nodes than this is worth a slice"""
_BEGIN = slice(kernel.POSITION, kernel.VISITED + 1)
"""The fields of `tables` that a walk begins with at 0"""
_NOT_NOTED: NDArray[np.int32] = np.empty(0, dtype=np.int32)


class _Origins(NamedTuple):
    """Locals that walks begin in, one a group of a forest, and where they lie."""

    locals_: NDArray[np.int64]
    address: int

    @classmethod
    def of(cls, locals_: NDArray[np.int64]) -> _Origins:
        return cls(locals_, int(locals_.ctypes.data))


class _LocalSlice(NamedTuple):
    """A slice, and the locals of its exits as this automaton numbers them. local: whose it is."""

    local: int
    slice: Slice
    exits: _Origins


class TrieWalk:
    """Walks for one automaton and one vocabulary."""

    def __init__(self, transitions: Transitions, vocabulary: Vocabulary) -> None:
        self._transitions = transitions
        self._vocabulary = vocabulary
        self._trie = vocabulary.trie
        self._short, self._long = vocabulary.slice_tries
        self._builder = SliceBuilder(transitions, vocabulary)
        self._store: SliceStore = vocabulary.slices
        self._own = SliceStore()
        """slices of locals without a key"""
        self._keys: dict[int, tuple[SliceStore, Hashable]] = {}
        """by local: where its slice is kept, and as what"""
        self._near: dict[int, _LocalSlice] = {}
        """by local: its slice, or that of the local that it is walked against"""
        self._origin = _Origins.of(np.zeros(1, dtype=np.int64))
        self._bases = np.zeros(self._trie.max_depth + 1, dtype=np.int32)
        self._bases_address = int(self._bases.ctypes.data)

    def mask(self, state: int, row: NDArray[np.int32]) -> None:
        """Make `row`, int32 [ceil(V / 32)], the tokens that are alive in `state`."""
        context, local = state >> 32, state & LOCAL_MASK
        near = self._near.get(local) or self._find(state, local)
        if near is None:
            row.fill(0)
            visited = self._walk_from(self._trie, state, row)
        else:
            row[:] = near.slice.row
            self._walk(near.slice.leaving, near.exits, context, row)
            visited = 0 if near.local == local else self._walk_apart(state, near.local, row)
            self._walk_from(self._long, state, row)
        if visited > _WIDE:  # the next time it has a slice of its own
            self._near.pop(local, None)
            store, key = self._key(local)
            store.wide.add(key, True)

    def landings(self, state: int) -> NDArray[np.int64]:
        """The distinct states that the tokens alive in `state` lead to."""
        context, local = state >> 32, state & LOCAL_MASK
        sliced = self._near.get(local)
        self._origin.locals_[0] = local
        if sliced is None or sliced.local != local:
            keys = self._landings(self._trie, self._origin, context, _NOT_NOTED)
            return keys[keys != kernel.EMPTY_KEY]
        long = self._landings(self._long, self._origin, context, _NOT_NOTED)
        keys = np.concatenate([long, self._landings(sliced.slice.leaving, sliced.exits, context, _NOT_NOTED)])
        inside = self._locals_behind(state, sliced.slice.inside)
        return np.union1d(keys[keys != kernel.EMPTY_KEY], (context << 32) + inside)

    def landing_of_tokens(self, state: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """(keys, landing): token t leads from `state` to `keys[landing[t]]`; `landing[t]` is -1 where it is not alive.

        keys: EMPTY_KEY where unused. landing: int32 [V].
        """
        landing = np.empty(len(self._vocabulary), dtype=np.int32)
        self._origin.locals_[0] = state & LOCAL_MASK
        return self._landings(self._trie, self._origin, state >> 32, landing), landing

    def _walk_from(self, trie: TokenTrie, state: int, row: NDArray[np.int32]) -> int:
        self._origin.locals_[0] = state & LOCAL_MASK
        return self._walk(trie, self._origin, state >> 32, row)

    def _walk_apart(self, state: int, base: int, row: NDArray[np.int32]) -> int:
        """Turn the mask of the local `base`, in the context of `state`, into that of `state`; short tokens only."""
        transitions = self._transitions
        tables, address = transitions.tables, transitions.address
        tables[kernel.POSITION] = tables[kernel.VISITED] = 0
        short, bases = self._short.address, self._bases_address
        while (code := kernel.walk_apart(address, short, state, base, bases, row)) != kernel.DONE:
            transitions.resolve(code)
        return int(tables[kernel.VISITED])

    def _walk(self, trie: TokenTrie, origins: _Origins, context: int, row: NDArray[np.int32]) -> int:
        """Set the bits of the live tokens. Gives the number of nodes visited."""
        transitions = self._transitions
        tables, address = transitions.tables, transitions.address
        tables[_BEGIN] = 0
        while (code := kernel.walk(address, trie.address, origins.address, context, row)) != kernel.DONE:
            transitions.resolve(code)
        return int(tables[kernel.VISITED])

    def _landings(
        self, trie: TokenTrie, origins: _Origins, context: int, landing: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        transitions = self._transitions
        capacity, code = 64, kernel.FULL
        while code == kernel.FULL:
            capacity *= 4
            keys = np.full(capacity, kernel.EMPTY_KEY, dtype=np.int64)
            landing.fill(-1)
            transitions.tables[kernel.POSITION] = 0
            while True:
                code = kernel.landings(transitions.address, trie.address, origins.address, context, keys, landing)
                if code in (kernel.DONE, kernel.FULL):
                    break
                transitions.resolve(code)
        return keys

    def _key(self, local: int) -> tuple[SliceStore, Hashable]:
        """Where the slice of a local is kept, and as what."""
        found = self._keys.get(local)
        if found is None:
            automaton = self._transitions.automaton
            key = automaton.slice_key(local)
            found = self._keys[local] = (self._own, local) if key is None else (self._store, (type(automaton), key))
        return found

    def _find(self, state: int, local: int) -> _LocalSlice | None:
        """The slice of a local, or of the one that most bytes lead to and stay in; None if a slice is not worth it."""
        usual = self._usual_next(local)
        if usual < 0:  # few bytes go on: there is nothing to slice
            return None
        found = self._slice(state, local, usual == local)
        if found is None and self._usual_next(usual) == usual:
            found = self._near.get(usual) or self._slice(state & ~LOCAL_MASK | usual, usual, True)
        if found is not None:
            self._near[local] = found
        return found

    def _slice(self, state: int, local: int, stays: bool) -> _LocalSlice | None:
        """The slice of a local. It is built if most bytes stay there, for then it costs no more than a walk, or if a
        wide walk was made for its key before."""
        store, key = self._key(local)
        found = store.slices.find(key)
        if found is None and (stays or store.wide.find(key)):
            found = store.slices.add(key, self._builder.build(local))
        if found is None:
            return None
        return _LocalSlice(local, found, _Origins.of(self._locals_behind(state, found.exits)))

    def _usual_next(self, local: int) -> int:
        """The local that most bytes lead to from `local`, inside the lexeme; negative if there is none."""
        while (usual := kernel.usual_next(self._transitions.address, local)) < DEAD:
            self._transitions.resolve(usual)
        return usual

    def _locals_behind(self, state: int, paths: tuple[bytes, ...]) -> NDArray[np.int64]:
        return np.array([self._local_behind(state, path) for path in paths], dtype=np.int64)

    def _local_behind(self, state: int, path: bytes) -> int:
        context = state >> 32
        for byte in path:
            state = self._transitions.step(state, byte)
        if state >> 32 != context:
            name = type(self._transitions.automaton).__name__
            raise AssertionError(f"{name}: locals of one slice key differ behind {path!r}")
        return state & LOCAL_MASK
