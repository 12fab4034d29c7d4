"""The line of numbers, cut into cells: what `NumberSet` is made of, and the arithmetic of its lattices.

A *lattice* is all the multiples of one positive number. A *table* is a Boolean function of the lattices that hold a
value, as an integer: bit T says whether a value that lies in exactly the lattices of T belongs.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

from grammars.errors import UnsupportedConstraintError

Number: TypeAlias = int | float | Decimal | Fraction

MAX_DIGITS = 1500
"""Digits that a number of a schema may have, written without an exponent."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Membership, cell by cell: `opens[i]` is the table of the open cell below `cuts[i]`, `points[i]` for the cut."""

    cuts: tuple[Fraction, ...]
    opens: tuple[int, ...]
    points: tuple[bool, ...]
    lattices: tuple[Fraction, ...]

    def holds(self, x: Fraction) -> bool:
        i = bisect_left(self.cuts, x)
        if i < len(self.cuts) and self.cuts[i] == x:
            return self.points[i]
        return bool(self.opens[i] >> membership(self.lattices, x) & 1)

    def mirrored(self) -> Cells:
        """The cells of the negated numbers."""
        cuts = tuple(-cut for cut in reversed(self.cuts))
        return Cells(cuts, self.opens[::-1], self.points[::-1], self.lattices)


def exact(value: Number) -> Fraction:
    """The value as a fraction; a float as the decimal that `repr` shows. Raises UnsupportedConstraintError."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnsupportedConstraintError(f"the number {value} has no exact value; write it within 1.7e308")
        value = Decimal(repr(value))
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > MAX_DIGITS or len(value.as_tuple().digits) > MAX_DIGITS:
            raise UnsupportedConstraintError(f"the number {value!s:.40} has more than {MAX_DIGITS} digits")
        return Fraction(value)
    if isinstance(value, Fraction):
        rest = value.denominator
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        if rest != 1:
            raise UnsupportedConstraintError(f"{value} is not a decimal number")
        return value
    if abs(value).bit_length() > MAX_DIGITS * 4:
        raise UnsupportedConstraintError(f"an integer has more than {MAX_DIGITS} digits")
    return Fraction(value)


def lcm(values: Iterable[Fraction]) -> Fraction:
    """Least common multiple of positive fractions."""
    top, bottom = 1, 0
    for value in values:
        top, bottom = math.lcm(top, value.numerator), math.gcd(bottom, value.denominator)
    return Fraction(top, bottom or 1)


def membership(lattices: Sequence[Fraction], x: Fraction) -> int:
    """The bit set of the lattices that hold x."""
    return sum(1 << i for i, step in enumerate(lattices) if (x / step).denominator == 1)


@lru_cache(maxsize=4096)
def possible(lattices: tuple[Fraction, ...]) -> int:
    """The table of all values: bit T is set where some value lies in exactly the lattices of T."""
    result = 1
    for held in range(1, 1 << len(lattices)):
        common = lcm(step for i, step in enumerate(lattices) if held >> i & 1)
        if membership(lattices, common) == held:
            result |= 1 << held
    return result


@lru_cache(maxsize=4096)
def spread(table: int, old: tuple[Fraction, ...], new: tuple[Fraction, ...]) -> int:
    """The same Boolean function over more lattices."""
    if old == new:
        return table
    place = [new.index(step) for step in old]
    result = 0
    for held in range(1 << len(new)):
        if table >> sum((held >> p & 1) << i for i, p in enumerate(place)) & 1:
            result |= 1 << held
    return result & possible(new)


def narrow(tables: set[int], lattices: tuple[Fraction, ...], drop: int) -> dict[int, int] | None:
    """The tables without lattice `drop`, None if one of them depends on it."""
    rest = lattices[:drop] + lattices[drop + 1 :]
    full = possible(lattices)
    result = {}
    for table in tables:
        narrow = 0
        for held in range(1 << len(lattices)):
            if table >> held & 1:
                narrow |= 1 << (held & (1 << drop) - 1 | held >> drop + 1 << drop)
        if spread(narrow & possible(rest), rest, lattices) != table & full:
            return None
        result[table] = narrow & possible(rest)
    return result
