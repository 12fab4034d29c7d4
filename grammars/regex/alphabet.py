"""The characters of one language, sorted into classes, and how UTF-8 writes them.

In: the character sets and words of a term. Out: classes of characters that the term cannot tell apart (character sets
become bit masks over the classes), and a tree of UTF-8 prefixes whose leaves are classes, made as it is visited.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from grammars.regex.charset import MAX_CODE_POINT, SURROGATES, CharSet, encoded_length
from grammars.regex.nodes import Kind, Node

NO_CLASS = -1


class Prefix:
    """An unfinished UTF-8 character: `depth` more bytes make one of the code points `low..high`.

    mask:     the classes of these code points
    classes:  int32[256], the class that a byte finishes with, NO_CLASS where it does not finish
    children: the next bytes that do not finish it, with the Prefix that they make. Bytes are listed together where what
              they make is alike: the same depth, the same next bytes, one and the same class.
    """

    __slots__ = ("children", "classes", "depth", "high", "low", "mask")

    def __init__(self, low: int, high: int, depth: int, mask: int) -> None:
        self.low, self.high, self.depth, self.mask = low, high, depth, mask
        self.children: list[tuple[NDArray[np.int64], Prefix]] | None = None
        self.classes: NDArray[np.int32] = np.full(256, NO_CLASS, np.int32)

    def first_bytes(self) -> tuple[int, int]:
        """The least and the greatest next byte."""
        shift = 6 * (self.depth - 1)
        return 0x80 | (self.low >> shift & 0x3F), 0x80 | (self.high >> shift & 0x3F)


def _grouped(children: list[tuple[int, Prefix]]) -> list[tuple[NDArray[np.int64], Prefix]]:
    groups: dict[object, tuple[list[int], Prefix]] = {}
    for byte, prefix in children:
        alike = prefix.mask & (prefix.mask - 1) == 0
        key = (prefix.mask, prefix.depth, *prefix.first_bytes()) if alike else byte
        groups.setdefault(key, ([], prefix))[0].append(byte)
    return [(np.array(members), prefix) for members, prefix in groups.values()]


class Alphabet:
    """Character classes of a term, numbered from 0. `full` is the mask of all of them."""

    def __init__(self, node: Node) -> None:
        sets, letters = _collect(node)
        self._starts, self._classes = _classify(sets, letters)
        self.size = int(self._classes.max()) + 1
        self.full = (1 << self.size) - 1
        self._masks: dict[bytes, int] = {}
        self._members: dict[int, NDArray[np.int64]] = {}
        self._by_length = [0, 0, 0, 0, 0]
        lengths = np.full(self.size, 5)
        for start, number in zip(self._starts.tolist(), self._classes.tolist(), strict=True):
            if number >= 0:
                lengths[number] = min(lengths[number], encoded_length(start))
        for number, length in enumerate(lengths.tolist()):
            self._by_length[length] |= 1 << number
        self._boundaries: list[int] = self._starts.tolist()
        self._labels: list[int] = self._classes.tolist()
        self.root = self._make_root()

    def class_of(self, code_point: int) -> int:
        """The class of a code point that is no surrogate."""
        return self._labels[bisect_right(self._boundaries, code_point) - 1]

    def mask(self, node: Node) -> int:
        """The classes that make up the CHARS `node`."""
        found = self._masks.get(node.key)
        if found is None:
            found = 0
            for low, high in node.chars.ranges:
                found |= self._span_mask(low, high)
            self._masks[node.key] = found
        return found

    def _span_mask(self, low: int, high: int) -> int:
        first, last = bisect_right(self._boundaries, low) - 1, bisect_right(self._boundaries, high)
        mask = 0
        for number in set(self._labels[first:last]):
            if number >= 0:
                mask |= 1 << number
        return mask

    def members(self, mask: int) -> NDArray[np.int64]:
        """The class numbers in the mask."""
        found = self._members.get(mask)
        if found is None:
            digits = np.frombuffer(bin(mask)[:1:-1].encode(), np.uint8)
            found = self._members[mask] = np.flatnonzero(digits == ord("1"))
        return found

    def bytes_of(self, mask: int) -> int:
        """UTF-8 length of the shortest character in any class of the mask."""
        for length in (1, 2, 3):
            if mask & self._by_length[length]:
                return length
        return 4

    def children(self, prefix: Prefix) -> list[tuple[NDArray[np.int64], Prefix]]:
        """`prefix.children`, made on the first call, with `prefix.classes`."""
        if prefix.children is None:
            children: list[tuple[int, Prefix]] = []
            shift = 6 * (prefix.depth - 1)
            for digit in range(prefix.low >> shift, (prefix.high >> shift) + 1):
                byte = 0x80 | (digit & 0x3F)
                if prefix.depth == 1:
                    prefix.classes[byte] = self.class_of(digit)
                else:
                    low, high = max(prefix.low, digit << shift), min(prefix.high, (digit + 1 << shift) - 1)
                    children.append((byte, self._prefix(low, high, prefix.depth - 1)))
            prefix.children = _grouped(children)
        return prefix.children

    def _prefix(self, low: int, high: int, depth: int) -> Prefix:
        return Prefix(low, high, depth, self._span_mask(low, high))

    def _make_root(self) -> Prefix:
        """The whole of UTF-8: no well-formed text has a surrogate or an overlong form (RFC 3629)."""
        root = Prefix(0, MAX_CODE_POINT, 0, self.full)
        root.classes[:128] = [self.class_of(point) for point in range(128)]
        leads = [(byte, (byte & 0x1F) << 6, 1) for byte in range(0xC2, 0xE0)]
        leads += [(byte, (byte & 0x0F) << 12, 2) for byte in range(0xE0, 0xF0)]
        leads += [(byte, (byte & 0x07) << 18, 3) for byte in range(0xF0, 0xF5)]
        children: list[tuple[int, Prefix]] = []
        for byte, first, depth in leads:
            low = max(first, (0, 0x80, 0x800, 0x10000)[depth])
            high = min(
                first + (1 << 6 * depth) - 1, MAX_CODE_POINT, SURROGATES[0] - 1 if byte == 0xED else MAX_CODE_POINT
            )
            children.append((byte, self._prefix(low, high, depth)))
        root.children = _grouped(children)
        return root


def _collect(node: Node) -> tuple[list[CharSet], set[str]]:
    """The character sets, and the characters of words, of a term."""
    sets: dict[CharSet, None] = {}
    letters: set[str] = set()
    seen: set[bytes] = set()
    todo = [node]
    while todo:
        part = todo.pop()
        if part.key in seen:
            continue
        seen.add(part.key)
        todo.extend(part.parts)
        if part.kind is Kind.CHARS:
            sets[part.chars] = None
        elif part.kind is Kind.WORDS:
            letters.update(*part.texts())
    return list(sets), letters


def _classify(sets: Iterable[CharSet], letters: set[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first code points of maximal runs of one class, and the class of each run (NO_CLASS for surrogates)."""
    edges = [np.array(charset.ranges, np.int64) + np.array([0, 1]) for charset in sets if charset]
    points = np.array(sorted(ord(letter) for letter in letters), np.int64)
    fixed = np.array([0, SURROGATES[0], SURROGATES[1] + 1])
    starts = np.unique(np.concatenate([fixed, points, points + 1, *(edge.ravel() for edge in edges)]))
    starts = starts[starts <= MAX_CODE_POINT]
    labels = np.zeros(len(starts), np.int64)
    labels[np.searchsorted(starts, points)] = 1 + np.arange(len(points))
    for edge in edges:
        inside = np.zeros(len(starts) + 1, np.int64)
        np.add.at(inside, np.searchsorted(starts, edge[:, 0]), 1)
        np.add.at(inside, np.searchsorted(starts, edge[:, 1]), -1)
        labels = np.unique(labels * 2 + np.cumsum(inside)[:-1], return_inverse=True)[1].ravel()
    surrogate = (starts >= SURROGATES[0]) & (starts <= SURROGATES[1])
    labels[surrogate] = NO_CLASS
    kept = np.unique(labels[~surrogate], return_inverse=True)[1].ravel()
    labels[~surrogate] = kept
    first = np.concatenate([[True], labels[1:] != labels[:-1]])
    return starts[first], labels[first]
