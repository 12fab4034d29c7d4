"""Makes slices: one walk of the vocabulary inside a lexeme.

In: a local of an automaton. Out: its `Slice`. Which locals are worth one is for `trie_walk` to say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grammars.masks import kernels as kernel
from grammars.masks.slices import Slice, SliceStore
from grammars.masks.token_trie import TokenTrie
from grammars.masks.transitions import Transitions
from grammars.vocabulary import Vocabulary

_FIRST_EXITS = 4096
"""Room for the nodes that leave a lexeme"""


class SliceBuilder:
    """For one automaton and one vocabulary."""

    def __init__(self, transitions: Transitions, vocabulary: Vocabulary) -> None:
        self._transitions = transitions
        self._trie, _ = vocabulary.slice_tries
        self._texts = vocabulary.text_tokens
        self._width = vocabulary.mask_width
        self._store: SliceStore = vocabulary.slices

    def build(self, local: int) -> Slice:
        """The slice of a local, from a walk of the whole vocabulary that does not cross."""
        tables, code, room = self._transitions.tables, kernel.FULL, _FIRST_EXITS
        inside = np.zeros(0, dtype=np.int32)
        while code != kernel.DONE:
            if code == kernel.FULL:
                row = np.zeros(self._width, dtype=np.int32)
                exits = np.empty((2, room), dtype=np.int32)
                tables[kernel.POSITION] = tables[kernel.VISITED] = 0
                room *= 4
            else:
                self._transitions.resolve(code)
            inside = _as_long(inside, len(self._transitions.automaton.table))
            code = kernel.walk_inside(self._transitions.address, self._trie.address, local, row, inside, exits)
        paths = self._paths(inside[inside > 0] - 1, 0)
        exit_nodes, exit_locals = exits[:, : int(tables[kernel.VISITED])]
        _, first, groups = np.unique(exit_locals, return_index=True, return_inverse=True)
        order = np.argsort(first)
        leaving = self._leaving(exit_nodes, np.argsort(order).astype(np.int32)[groups])
        return Slice(row, paths, leaving, self._paths(exit_nodes[first[order]], 1))

    def _leaving(self, nodes: NDArray[np.int32], groups: NDArray[np.int32]) -> TokenTrie:
        """What the tokens below the nodes write from there on, group by group. Many lexemes are left at the same nodes,
        at their quotes."""
        key = nodes.tobytes(), groups.tobytes()
        found = self._store.forests.find(key)
        return self._store.forests.add(key, self._forest(nodes, groups)) if found is None else found

    def _forest(self, nodes: NDArray[np.int32], groups: NDArray[np.int32]) -> TokenTrie:
        trie, texts = self._trie, self._texts
        tails: list[tuple[list[bytes], list[int]]] = [([], []) for _ in range(int(groups.max(initial=-1)) + 1)]
        begins, stops = trie.first[nodes].tolist(), trie.first[trie.end[nodes]].tolist()
        written = (trie.depth[nodes] - 1).tolist()
        for begin, stop, length, group in zip(begins, stops, written, groups.tolist(), strict=True):
            tokens = trie.tokens[begin:stop].tolist()
            tails[group][0].extend([texts[token][length:] for token in tokens])
            tails[group][1].extend(tokens)
        return TokenTrie.forest(tails)

    def _paths(self, nodes: NDArray[np.int32], less: int) -> tuple[bytes, ...]:
        """The texts that lead to nodes, without so many bytes: the beginnings of the first tokens at or below them."""
        trie, texts = self._trie, self._texts
        tokens, lengths = trie.tokens[trie.first[nodes]].tolist(), (trie.depth[nodes] - less).tolist()
        return tuple([texts[token][:length] for token, length in zip(tokens, lengths, strict=True)])


def _as_long(array: NDArray[np.int32], length: int) -> NDArray[np.int32]:
    return array if len(array) >= length else np.append(array, np.zeros(length - len(array), array.dtype))
