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
    """A slice, and the locals of its exits as this automaton numbers them."""

    slice: Slice
    exits: _Origins


class TrieWalk:
    """Walks for one automaton and one vocabulary."""

    def __init__(self, transitions: Transitions, vocabulary: Vocabulary) -> None:
        self._transitions = transitions
        self._vocabulary = vocabulary
        self._trie = vocabulary.trie
        self._short, self._long = vocabulary.slice_tries
        self._store: SliceStore = vocabulary.slices
        self._own = SliceStore()
        """slices of locals without a key"""
        self._slices: dict[int, _LocalSlice | None] = {}
        """by local; None: looked for, not there yet"""
        self._origin = _Origins.of(np.zeros(1, dtype=np.int64))
        self._bases = np.zeros(self._trie.max_depth + 1, dtype=np.int32)
        self._bases_address = int(self._bases.ctypes.data)
        self._apart: dict[int, tuple[int, _LocalSlice] | None] = {}
        """by local: the local that it is walked against, and its slice; None: none is known to be near"""

    def mask(self, state: int, row: NDArray[np.int32]) -> None:
        """Make `row`, int32 [ceil(V / 32)], the tokens that are alive in `state`."""
        context, local = state >> 32, state & LOCAL_MASK
        sliced = self._slices.get(local)
        if sliced is None and local not in self._slices:
            if self._usual_next(local) < 0:  # few bytes go on: there is nothing to slice
                row.fill(0)
                self._walk_from(self._trie, state, row)
                return
            sliced = self._find(state, local)
        if sliced is not None:
            row[:] = sliced.slice.row
            self._walk(sliced.slice.leaving, sliced.exits, context, row)
            self._walk_from(self._long, state, row)
            return
        near = self._apart.get(local)
        if near is None and local not in self._apart:
            near = self._find_near(state, local)
        if near is not None:
            row[:] = near[1].slice.row
            self._walk(near[1].slice.leaving, near[1].exits, context, row)
            visited = self._walk_apart(state, near[0], row)
            self._walk_from(self._long, state, row)
        else:
            row.fill(0)
            visited = self._walk_from(self._trie, state, row)
        if visited > _WIDE:
            self._consider(state, local)

    def landings(self, state: int) -> NDArray[np.int64]:
        """The distinct states that the tokens alive in `state` lead to."""
        context, local = state >> 32, state & LOCAL_MASK
        sliced = self._slices.get(local)
        self._origin.locals_[0] = local
        if sliced is None:
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
        automaton = self._transitions.automaton
        key = automaton.slice_key(local)
        return (self._own, local) if key is None else (self._store, (type(automaton), key))

    def _find(self, state: int, local: int) -> _LocalSlice | None:
        store, key = self._key(local)
        found = store.find(key)
        self._slices[local] = None if found is None else self._number(found, state)
        return self._slices[local]

    def _usual_next(self, local: int) -> int:
        """The local that most bytes lead to from `local`, inside the lexeme; negative if there is none."""
        while (usual := kernel.usual_next(self._transitions.address, local)) < DEAD:
            self._transitions.resolve(usual)
        return usual

    def _find_near(self, state: int, local: int) -> tuple[int, _LocalSlice] | None:
        """The local that most bytes lead to, if it has a slice."""
        usual = self._usual_next(local)
        near = None
        if usual >= 0 and usual != local:
            base_state = state & ~LOCAL_MASK | usual
            sliced = self._slices[usual] if usual in self._slices else self._find(base_state, usual)
            near = None if sliced is None else (usual, sliced)
        self._apart[local] = near
        return near

    def _consider(self, state: int, local: int) -> None:
        """After a wide walk: build a slice if such a walk was made before; that of the usual next local if it loops."""
        usual = self._usual_next(local)
        chosen = usual if usual >= 0 and self._usual_next(usual) == usual else local
        store, key = self._key(chosen)
        if store.find(key) is None and store.is_worth_building(key):
            store.add(key, self._build(chosen))
        if store.find(key) is not None:
            self._find(state & ~LOCAL_MASK | chosen, chosen)
            if chosen != local and self._apart.get(local) is None:
                self._find_near(state, local)
            elif chosen != local:  # walked against its slice, and wide all the same
                self._own_slice(state, local)

    def _own_slice(self, state: int, local: int) -> None:
        store, key = self._key(local)
        if store.find(key) is None and store.is_worth_building(key):
            store.add(key, self._build(local))
        self._find(state, local)

    def _number(self, found: Slice, state: int) -> _LocalSlice:
        """The slice as this automaton numbers its locals; `state` is in the slice's own."""
        return _LocalSlice(found, _Origins.of(self._locals_behind(state, found.exits)))

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

    def _build(self, local: int) -> Slice:
        """The slice of a local, from a walk of the whole vocabulary that does not cross."""
        transitions, trie = self._transitions, self._short
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
        trie, texts = self._short, self._vocabulary.text_tokens
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
        trie = self._short
        return self._vocabulary.text_tokens[int(trie.tokens[trie.first[node]])][: int(trie.depth[node])]
