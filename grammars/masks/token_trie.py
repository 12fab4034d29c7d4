"""The tokens of a vocabulary as one trie in flat arrays.

In: byte strings with token ids. Out: arrays in depth-first order, so that a walk is one loop over `i`: visit node `i`,
then go to `i + 1` (into the subtree) or to `end[i]` (past it). Nothing here knows constraints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """The root is not a node: the first bytes of the tokens are nodes of depth 1.

    byte:   uint8 [n]      the byte that leads to the node
    depth:  int32 [n]      bytes from the root
    end:    int32 [n]      the first node after the subtree
    first:  int32 [n + 1]  tokens that end at node i: tokens[first[i]:first[i + 1]]
    tokens: int32 [m]      token ids (several at a node where the vocabulary holds a text twice)
    groups: int32 [g + 1]  a forest has several roots: the nodes of group k are groups[k]..groups[k + 1]; a trie has one

    And the same once more, as a walk reads it: what belongs to one node, and to all first bytes, lies together, and
    nothing else: a wide walk takes as long as it takes to read it.

    nodes:       int32 [n, 2]      byte | depth << 8 | one token or more << 24 | several << 25; the token that ends
                                   there, or any
    tops:        int32 [r + 1]     the nodes of depth 1
    top_bytes:   uint8 [r]         their bytes
    group_tops:  int32 [g + 1]     those of group k are group_tops[k]..group_tops[k + 1]
    """

    byte: NDArray[np.uint8]
    depth: NDArray[np.int32]
    end: NDArray[np.int32]
    first: NDArray[np.int32]
    tokens: NDArray[np.int32]
    groups: NDArray[np.int32]
    nodes: NDArray[np.int32] = field(init=False, repr=False)
    tops: NDArray[np.int32] = field(init=False, repr=False)
    top_bytes: NDArray[np.uint8] = field(init=False, repr=False)
    group_tops: NDArray[np.int32] = field(init=False, repr=False)
    addresses: NDArray[np.int64] = field(init=False, repr=False)
    """[kernel.TRIE_FIELDS] what the kernels read"""
    address: int = field(init=False, repr=False)
    """where `addresses` lies"""

    def __post_init__(self) -> None:
        nodes = np.zeros((len(self), 2), dtype=np.int32)
        count = np.diff(self.first)
        nodes[:, 0] = self.byte | self.depth << 8 | (count > 0) << 24 | (count > 1) << 25
        nodes[:, 1] = self.tokens[np.minimum(self.first[:-1], len(self.tokens) - 1)]
        tops = np.flatnonzero(self.depth == 1).astype(np.int32)
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "tops", np.append(tops, np.int32(len(self))))
        object.__setattr__(self, "top_bytes", self.byte[tops])
        object.__setattr__(self, "group_tops", np.searchsorted(tops, self.groups).astype(np.int32))
        addresses = [array.ctypes.data for array in self._arrays()]
        sizes = [len(self.byte), len(self.groups) - 1, self.max_depth]
        object.__setattr__(self, "addresses", np.array([*addresses, *sizes], dtype=np.int64))
        object.__setattr__(self, "address", int(self.addresses.ctypes.data))

    def __len__(self) -> int:
        return len(self.byte)

    @property
    def max_depth(self) -> int:
        """Bytes of the longest token."""
        return int(self.depth.max()) if len(self) else 0

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self._arrays())

    def _arrays(self) -> tuple[NDArray[Any], ...]:
        walked = self.nodes, self.tops, self.top_bytes, self.group_tops
        return self.byte, self.depth, self.end, self.first, self.tokens, self.groups, *walked

    @classmethod
    def build(cls, texts: Iterable[bytes], ids: Iterable[int]) -> TokenTrie:
        """The trie of `texts[k]` with token id `ids[k]`. Empty texts are left out; texts may repeat."""
        return cls.forest([(texts, ids)])

    @classmethod
    def forest(cls, tries: Sequence[tuple[Iterable[bytes], Iterable[int]]]) -> TokenTrie:
        """The tries of texts and ids side by side, one group each."""
        sorted_ = [
            sorted([(text, token) for text, token in zip(texts, ids, strict=True) if text]) for texts, ids in tries
        ]
        pairs = [pair for group in sorted_ for pair in group]
        joined = np.frombuffer(b"".join([text for text, _ in pairs]), dtype=np.uint8)
        starts = np.zeros(len(pairs) + 1, dtype=np.int64)
        np.cumsum([len(text) for text, _ in pairs], out=starts[1:])
        tokens = np.array([token for _, token in pairs], dtype=np.int32)
        counts = np.array([len(group) for group in sorted_], dtype=np.int64)
        byte, depth, end, first, groups = _build(joined, starts, counts)
        return cls(byte, depth, end, first, tokens, groups)


@njit(
    "Tuple((uint8[::1], int32[::1], int32[::1], int32[::1], int32[::1]))"
    "(Array(uint8, 1, 'C', readonly=True), int64[::1], int64[::1])",
    cache=True,
)
def _build(joined, starts, counts):  # type: ignore[no-untyped-def]
    """Nodes of the texts `joined[starts[k]:starts[k + 1]]`, sorted within groups of so many, and where groups begin."""
    texts = len(starts) - 1
    longest = 0
    for k in range(texts):
        longest = max(longest, starts[k + 1] - starts[k])
    byte = np.empty(len(joined), np.uint8)
    depth = np.empty(len(joined), np.int32)
    end = np.empty(len(joined), np.int32)
    first = np.empty(len(joined) + 1, np.int32)
    groups = np.zeros(len(counts) + 1, np.int32)
    path = np.empty(longest + 1, np.int64)  # path[d]: the open node of depth d
    n = 0
    k = 0
    for group in range(len(counts)):
        opened = 0
        for _ in range(counts[group]):
            start = starts[k]
            length = starts[k + 1] - start
            common = 0
            while common < opened and common < length and byte[path[common + 1]] == joined[start + common]:
                common += 1
            for d in range(common + 1, opened + 1):
                end[path[d]] = n
            for d in range(common + 1, length + 1):
                byte[n] = joined[start + d - 1]
                depth[n] = d
                first[n] = k
                path[d] = n
                n += 1
            opened = length
            k += 1
        for d in range(1, opened + 1):
            end[path[d]] = n
        groups[group + 1] = n
    first[n] = texts
    return byte[:n].copy(), depth[:n].copy(), end[:n].copy(), first[: n + 1].copy(), groups
