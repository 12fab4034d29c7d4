"""Which multiples a decimal number is of, read digit by digit.

A number x with at most `places` decimals is a multiple of m if and only if X = x * 10**places is one of the integer
A = m * 10**places. So the state in the integer part is X's prefix modulo A; prefixes that the same digits complete are
one state. In the fraction the state is what the digits left must be, modulo A: a *need*, NEVER if none will do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

from grammars.errors import UnsupportedConstraintError

NEVER = -1
MAX_STATES = 5_000
MAX_MODULUS = 1_000_000


class Remainders:
    """The remainders by several lattices, side by side. A state is a tuple, one remainder a lattice."""

    def __init__(self, moduli: tuple[int, ...], places: int) -> None:
        self.places = places
        self.zero = (0,) * len(moduli)
        self._moduli = moduli
        self._same: list[dict[tuple[int, ...], int]] = [{} for _ in moduli]  # what completes -> the remainder kept
        self._kept: list[dict[int, int]] = [{} for _ in moduli]

    @classmethod
    def of(cls, lattices: Sequence[Fraction]) -> Remainders:
        """Raises UnsupportedConstraintError if the automaton would be too large."""
        places, states = 0, 1
        while any((step * 10**places).denominator != 1 for step in lattices):
            places += 1
        for step in lattices:
            states *= state_count(int(step * 10**places))
            if states > MAX_STATES:
                shown = ", ".join(_shown(m) for m in lattices)
                raise UnsupportedConstraintError(
                    f"multipleOf {shown}: more than {MAX_STATES} remainders to keep apart; "
                    "use a multiple with fewer digits"
                )
        return cls(tuple(int(step * 10**places) for step in lattices), places)

    def step(self, kept: tuple[int, ...], digit: int) -> tuple[int, ...]:
        """After one more digit of the integer part."""
        return tuple(self._canonical(i, (r * 10 + digit) % self._moduli[i]) for i, r in enumerate(kept))

    def needs(self, kept: tuple[int, ...]) -> tuple[int, ...]:
        """At the end of the integer part: what the `places` digits of the fraction must be, modulo A."""
        scale = 10**self.places
        needs = (-r * scale % modulus for r, modulus in zip(kept, self._moduli, strict=True))
        return tuple(need if need < scale else NEVER for need in needs)

    def fraction(self, needs: tuple[int, ...], place: int, digit: int) -> tuple[int, ...]:
        """After one more digit of the fraction, at `place` (0 is the first)."""
        if place >= self.places:
            return needs if digit == 0 else (NEVER,) * len(needs)
        width = 10 ** (self.places - place - 1)
        rests = [
            (need - digit * width) % m if need >= 0 else width for need, m in zip(needs, self._moduli, strict=False)
        ]
        return tuple(rest if rest < width else NEVER for rest in rests)

    def held(self, needs: tuple[int, ...]) -> int:
        """If nothing but zeros follows: the bit set of the lattices that hold the number."""
        return sum(1 << i for i, need in enumerate(needs) if need == 0)

    def _canonical(self, i: int, remainder: int) -> int:
        """One remainder for all that the same digits complete."""
        kept = self._kept[i].get(remainder)
        if kept is None:
            modulus, completions, scale = self._moduli[i], [], 10**self.places
            while scale < modulus:
                need = -remainder * scale % modulus
                completions.append(need if need < scale else NEVER)
                scale *= 10
            completions.append(-remainder * scale % modulus)
            kept = self._same[i].setdefault(tuple(completions), remainder)
            self._kept[i][remainder] = kept
        return kept


@lru_cache(maxsize=1024)
def state_count(modulus: int) -> int:
    """An upper bound of the states that the multiples of one integer need; more than MAX_STATES where it is large."""
    zeros = 0
    while modulus % 10 == 0:
        modulus, zeros = modulus // 10, zeros + 1
    power = 10 ** len(str(modulus))
    if modulus // math.gcd(power, modulus) > MAX_STATES or modulus > MAX_MODULUS:
        return MAX_STATES + 1
    remainders, scale = np.arange(modulus, dtype=np.int64), 1
    mixed = np.zeros(modulus, np.uint64)  # a hash of the completions: this is a count, not a proof
    while scale < power:
        need = -remainders * scale % modulus
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + np.where(need < scale, need, NEVER).astype(np.uint64)
        scale *= 10
    mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + (-remainders * scale % modulus).astype(np.uint64)
    return len(np.unique(mixed)) * (zeros + 1)


def _shown(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else str(float(value))
