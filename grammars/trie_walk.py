"""The walk of the token trie from a state of an automaton.

In: states. Out: which tokens are alive, and where they lead. Where a lexeme is wide, its slice is used: the row of the
tokens that stay inside is copied, and only the tokens that leave are walked. Memos, budgets and requests are unknown
here. Callers hold the lock of `TokenMasks`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grammars import mask_kernels as kernel
from grammars.automaton import LOCAL_MASK
from grammars.slices import Slice, SliceStore
from grammars.token_trie import TokenTrie
from grammars.transitions import Transitions
from grammars.vocabulary import Vocabulary

_WIDE = 2_000
"""A walk that visits more nodes than this is worth a slice"""
_NOT_NOTED: NDArray[np.int32] = np.empty(0, dtype=np.int32)


class _LocalSlice(NamedTuple):
    """A slice, and its locals as this automaton numbers them (int64)."""

    slice: Slice
    inside: NDArray[np.int64]
    exits: NDArray[np.int64]


class TrieWalk:
    """Walks for one automaton and one vocabulary."""

    def __init__(self, transitions: Transitions, vocabulary: Vocabulary) -> None:
        self._transitions = transitions
        self._vocabulary = vocabulary
        self._trie = vocabulary.trie
        self._store: SliceStore = vocabulary.slices
        self._own = SliceStore()
        """slices of locals without a key"""
        self._slices: dict[int, _LocalSlice | None] = {}
        """by local; None: looked for, not there yet"""
        self._origin = np.zeros(1, dtype=np.int64)

    def mask(self, state: int, row: NDArray[np.int32]) -> None:
        """Make `row`, int32 [ceil(V / 32)], the tokens that are alive in `state`."""
        local = state & LOCAL_MASK
        sliced = self._slices.get(local)
        if sliced is None and local not in self._slices:
            sliced = self._find(state, local)
        if sliced is not None:
            row[:] = sliced.slice.row
            self._walk(sliced.slice.leaving, sliced.exits, state >> 32, row)
            return
        row.fill(0)
        self._origin[0] = local
        if self._walk(self._trie, self._origin, state >> 32, row) > _WIDE:
            self._consider(state, local)

    def landings(self, state: int) -> NDArray[np.int64]:
        """The distinct states that the tokens alive in `state` lead to."""
        context, local = state >> 32, state & LOCAL_MASK
        sliced = self._slices.get(local)
        if sliced is None:
            self._origin[0] = local
            keys = self._landings(self._trie, self._origin, context, _NOT_NOTED)
            return keys[keys != kernel.EMPTY_KEY]
        keys = self._landings(sliced.slice.leaving, sliced.exits, context, _NOT_NOTED)
        return np.union1d(keys[keys != kernel.EMPTY_KEY], (context << 32) + sliced.inside)

    def landing_of_tokens(self, state: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """(keys, landing): token t leads from `state` to `keys[landing[t]]`; `landing[t]` is -1 where it is not alive.

        keys: EMPTY_KEY where unused. landing: int32 [V].
        """
        landing = np.empty(len(self._vocabulary), dtype=np.int32)
        self._origin[0] = state & LOCAL_MASK
        return self._landings(self._trie, self._origin, state >> 32, landing), landing

    def _walk(self, trie: TokenTrie, locals_: NDArray[np.int64], context: int, row: NDArray[np.int32]) -> int:
        """Set the bits of the live tokens. Gives the number of nodes visited."""
        transitions = self._transitions
        tables, address = transitions.tables, transitions.address
        tables[kernel.POSITION] = tables[kernel.VISITED] = 0
        origins = locals_.ctypes.data
        while (code := kernel.walk(address, trie.address, origins, context, row)) != kernel.DONE:
            transitions.resolve(code)
        return int(tables[kernel.VISITED])

    def _landings(
        self, trie: TokenTrie, locals_: NDArray[np.int64], context: int, landing: NDArray[np.int32]
    ) -> NDArray[np.int64]:
        transitions = self._transitions
        origins = locals_.ctypes.data
        capacity, code = 64, kernel.FULL
        while code == kernel.FULL:
            capacity *= 4
            keys = np.full(capacity, kernel.EMPTY_KEY, dtype=np.int64)
            landing.fill(-1)
            transitions.tables[kernel.POSITION] = 0
            while True:
                code = kernel.landings(transitions.address, trie.address, origins, context, keys, landing)
                if code in (kernel.DONE, kernel.FULL):
                    break
                transitions.resolve(code)
        return keys

    def _key(self, local: int) -> tuple[SliceStore, Hashable]:
        """Where the slice of a local is kept, and as what."""
        automaton = self._transitions.automaton
        key = automaton.slice_key(local)
        return (self._own, local) if key is None else (self._store, (type(automaton), key))

    def _find(self, state: int, local: int) -> _LocalSlice | None:
        store, key = self._key(local)
        found = store.find(key)
        self._slices[local] = None if found is None else self._number(found, state)
        return self._slices[local]

    def _consider(self, state: int, local: int) -> None:
        """Build the slice of a wide local, if it is walked for the second time."""
        store, key = self._key(local)
        if store.find(key) is None and store.is_worth_building(key):
            store.add(key, self._build(local))
        self._find(state, local)

    def _number(self, found: Slice, state: int) -> _LocalSlice:
        """The slice as this automaton numbers its locals; `state` is in the slice's own."""
        inside = [self._local_behind(state, path) for path in found.inside]
        exits = [self._local_behind(state, path) for path in found.exits]
        return _LocalSlice(found, np.array(inside, dtype=np.int64), np.array(exits, dtype=np.int64))

    def _local_behind(self, state: int, path: bytes) -> int:
        context = state >> 32
        for byte in path:
            state = self._transitions.step(state, byte)
        if state >> 32 != context:
            name = type(self._transitions.automaton).__name__
            raise AssertionError(f"{name}: locals of one slice key differ behind {path!r}")
        return state & LOCAL_MASK

    def _build(self, local: int) -> Slice:
        """The slice of a local, from a walk of the whole vocabulary that does not cross."""
        transitions, trie = self._transitions, self._trie
        row = np.zeros(self._vocabulary.mask_width, dtype=np.int32)
        exit_nodes, exit_locals = np.empty((2, len(trie)), dtype=np.int64)
        capacity, code = 16, kernel.FULL
        while code != kernel.DONE:
            if code == kernel.FULL:
                capacity *= 4
            else:
                transitions.resolve(code)
            inside = np.full(capacity, kernel.EMPTY_KEY, dtype=np.int64)
            nodes = np.zeros(capacity, dtype=np.int64)
            code = kernel.walk_inside(
                transitions.address, trie.address, local, row, inside, nodes, exit_nodes, exit_locals
            )
        count = int(transitions.tables[kernel.VISITED])
        exits, leaving = self._leaving(exit_nodes[:count], exit_locals[:count])
        paths = tuple(self._path(int(node)) for node in nodes[inside != kernel.EMPTY_KEY])
        return Slice(row, paths, leaving, exits)

    def _leaving(self, nodes: NDArray[np.int64], locals_: NDArray[np.int64]) -> tuple[tuple[bytes, ...], TokenTrie]:
        """Texts to the locals that are crossed from, and what the tokens below the nodes write from there on."""
        trie, texts = self._trie, self._vocabulary.text_tokens
        paths: dict[int, bytes] = {}
        tails: dict[int, tuple[list[bytes], list[int]]] = {}
        for node, local in zip(nodes.tolist(), locals_.tolist(), strict=True):
            written = int(trie.depth[node]) - 1
            if local not in paths:
                paths[local] = self._path(node)[:-1]
                tails[local] = ([], [])
            for token in trie.tokens[trie.first[node] : trie.first[trie.end[node]]].tolist():
                tails[local][0].append(texts[token][written:])
                tails[local][1].append(token)
        return tuple(paths.values()), TokenTrie.forest([TokenTrie.build(*tail) for tail in tails.values()])

    def _path(self, node: int) -> bytes:
        """The text that leads to a node: the beginning of the first token at or below it."""
        trie = self._trie
        return self._vocabulary.text_tokens[int(trie.tokens[trie.first[node]])][: int(trie.depth[node])]
