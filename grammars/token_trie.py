"""The tokens of a vocabulary as one trie in flat arrays.

In: byte strings with token ids. Out: arrays in depth-first order, so that a walk is one loop over `i`: visit node `i`,
then go to `i + 1` (into the subtree) or to `end[i]` (past it). Nothing here knows constraints.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

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
    """

    byte: NDArray[np.uint8]
    depth: NDArray[np.int32]
    end: NDArray[np.int32]
    first: NDArray[np.int32]
    tokens: NDArray[np.int32]
    addresses: NDArray[np.int64] = field(init=False, repr=False)
    """[7] what the kernels read: the addresses of the five arrays, n, and the greatest depth"""

    def __post_init__(self) -> None:
        arrays = (self.byte, self.depth, self.end, self.first, self.tokens)
        values = [array.ctypes.data for array in arrays] + [len(self.byte), self.max_depth]
        object.__setattr__(self, "addresses", np.array(values, dtype=np.int64))

    @property
    def address(self) -> int:
        """Where `addresses` lies, for the kernels."""
        return int(self.addresses.ctypes.data)

    def __len__(self) -> int:
        return len(self.byte)

    @property
    def max_depth(self) -> int:
        """Bytes of the longest token."""
        return int(self.depth.max()) if len(self) else 0

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in (self.byte, self.depth, self.end, self.first, self.tokens))

    @classmethod
    def build(cls, texts: Sequence[bytes], ids: Iterable[int]) -> TokenTrie:
        """The trie of `texts[k]` with token id `ids[k]`. Empty texts are left out; texts may repeat."""
        pairs = sorted((text, token) for text, token in zip(texts, ids, strict=True) if text)
        joined = np.frombuffer(b"".join([text for text, _ in pairs]), dtype=np.uint8)
        lengths = np.array([len(text) for text, _ in pairs], dtype=np.int64)
        starts = np.zeros(len(pairs) + 1, dtype=np.int64)
        np.cumsum(lengths, out=starts[1:])
        tokens = np.array([token for _, token in pairs], dtype=np.int32)
        byte, depth, end, first = _build(joined, starts)
        return cls(byte, depth, end, first, tokens)


@njit(
    "Tuple((uint8[::1], int32[::1], int32[::1], int32[::1]))(Array(uint8, 1, 'C', readonly=True), int64[::1])",
    cache=True,
)
def _build(joined, starts):  # type: ignore[no-untyped-def]
    """Nodes of the sorted texts `joined[starts[k]:starts[k + 1]]`."""
    texts = len(starts) - 1
    longest = 0
    for k in range(texts):
        longest = max(longest, starts[k + 1] - starts[k])
    byte = np.empty(len(joined), np.uint8)
    depth = np.empty(len(joined), np.int32)
    end = np.empty(len(joined), np.int32)
    first = np.empty(len(joined) + 1, np.int32)
    path = np.empty(longest + 1, np.int64)  # path[d]: the open node of depth d
    opened = 0
    n = 0
    for k in range(texts):
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
    for d in range(1, opened + 1):
        end[path[d]] = n
    first[n] = texts
    return byte[:n].copy(), depth[:n].copy(), end[:n].copy(), first[: n + 1].copy()
