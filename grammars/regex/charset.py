"""Sets of code points, as sorted ranges.

In: ranges of code points. Out: an immutable set closed under union, intersection and complement. Surrogates are no
characters of any text, so no set holds them. Knows nothing of UTF-8 beyond how many bytes a code point takes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

MAX_CODE_POINT = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)

Range = tuple[int, int]
"""First and last code point, both included."""


def encoded_length(code_point: int) -> int:
    """How many bytes UTF-8 takes for the code point."""
    if code_point < 0x80:
        return 1
    if code_point < 0x800:
        return 2
    return 3 if code_point < 0x10000 else 4


@dataclass(frozen=True, slots=True)
class CharSet:
    """A set of code points. `ranges` is sorted; no two ranges touch. Build with `CharSet.of`."""

    ranges: tuple[Range, ...]

    @staticmethod
    def of(ranges: Iterable[Range]) -> CharSet:
        """The set of all code points in `ranges`, which may overlap and come in any order."""
        merged: list[Range] = []
        for low, high in sorted(ranges):
            if merged and low <= merged[-1][1] + 1:
                if high > merged[-1][1]:
                    merged[-1] = (merged[-1][0], high)
            elif low <= high:
                merged.append((low, high))
        return CharSet(tuple(_without_surrogates(merged)))

    @staticmethod
    def of_text(text: Iterable[str]) -> CharSet:
        """The set of the characters of `text`."""
        return CharSet.of((ord(char), ord(char)) for char in text)

    def __bool__(self) -> bool:
        return bool(self.ranges)

    def __contains__(self, code_point: int) -> bool:
        place = bisect_right(self.ranges, (code_point, MAX_CODE_POINT)) - 1
        return place >= 0 and code_point <= self.ranges[place][1]

    def __or__(self, other: CharSet) -> CharSet:
        return CharSet.of(self.ranges + other.ranges)

    def __and__(self, other: CharSet) -> CharSet:
        out: list[Range] = []
        left, right = self.ranges, other.ranges
        i = j = 0
        while i < len(left) and j < len(right):
            low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
            if low <= high:
                out.append((low, high))
            if left[i][1] < right[j][1]:
                i += 1
            else:
                j += 1
        return CharSet(tuple(out))

    def __invert__(self) -> CharSet:
        out: list[Range] = []
        low = 0
        for first, last in self.ranges:
            out.append((low, first - 1))
            low = last + 1
        out.append((low, MAX_CODE_POINT))
        return CharSet.of(out)

    def __sub__(self, other: CharSet) -> CharSet:
        return self & ~other

    def single(self) -> int | None:
        """The only code point of the set, None if it has another number of them."""
        if len(self.ranges) == 1 and self.ranges[0][0] == self.ranges[0][1]:
            return self.ranges[0][0]
        return None

    def least_bytes(self) -> int:
        """UTF-8 length of the shortest character; the set must not be empty."""
        return encoded_length(self.ranges[0][0])


def _without_surrogates(ranges: Iterable[Range]) -> Iterable[Range]:
    first, last = SURROGATES
    for low, high in ranges:
        if high < first or low > last:
            yield low, high
            continue
        if low < first:
            yield low, first - 1
        if high > last:
            yield last + 1, high


ANY_CHAR = CharSet.of([(0, MAX_CODE_POINT)])
NO_CHAR = CharSet(())
