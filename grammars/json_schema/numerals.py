"""Numbers as they are written: in draft 4, `1.0` is a number but no integer, so a set of numbers is not enough.

Comes in: number sets. Goes out: `Numerals`, closed under and, or and not as well.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from fractions import Fraction

from grammars.json_schema.float_safety import LARGEST_POWER, as_floats
from grammars.json_schema.number_text import NumberText
from grammars.json_schema.numbers import NumberSet


@dataclass(frozen=True, slots=True)
class Numerals:
    """The numbers that may be written in digits alone, and those that may be written with a point or an exponent."""

    plain: NumberSet
    floats: NumberSet

    @classmethod
    def of(cls, numbers: NumberSet) -> Numerals:
        """These numbers, however they are written."""
        return cls(numbers, numbers)

    @classmethod
    def digits(cls) -> Numerals:
        """The integers of draft 4."""
        return cls(NumberSet.integers(), NumberSet.none())

    @property
    def _is_one(self) -> bool:
        return self.plain is self.floats

    @property
    def key(self) -> Hashable:
        """Equal keys, equal sets."""
        return self.plain.key, self.floats.key

    def __and__(self, other: Numerals) -> Numerals:
        plain = self.plain & other.plain
        return Numerals(plain, plain if self._is_one and other._is_one else self.floats & other.floats)

    def __or__(self, other: Numerals) -> Numerals:
        plain = self.plain | other.plain
        return Numerals(plain, plain if self._is_one and other._is_one else self.floats | other.floats)

    def __invert__(self) -> Numerals:
        plain = ~self.plain
        return Numerals(plain, plain if self._is_one else ~self.floats)

    def is_empty(self) -> bool:
        return self._whole().is_empty() and (self._is_one or self.floats.is_empty())

    def is_finite(self) -> bool:
        """Whether there are finitely many numbers."""
        return self._whole().is_finite() and (self._is_one or self.floats.is_finite())

    def members(self, most: int) -> tuple[Fraction, ...] | None:
        """The numbers, sorted; None if they are more than `most`."""
        plain, floats = self._whole().members(most), () if self._is_one else self.floats.members(most)
        if plain is None or floats is None or len({*plain, *floats}) > most:
            return None
        return tuple(sorted({*plain, *floats}))

    def _whole(self) -> NumberSet:
        """The numbers that digits alone can write, as far as these are all that count."""
        return self.plain if self._is_one else self.plain & NumberSet.integers()

    def language(self) -> NumberText:
        """The JSON texts."""
        if self._is_one:
            return self.plain.language()
        return NumberText(self.plain, as_floats(self.floats), as_floats(self.floats, LARGEST_POWER))
