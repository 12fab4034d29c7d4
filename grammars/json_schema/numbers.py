"""Sets of numbers, closed under and, or and not, exact.

In: the numeric keywords of a schema. Out: `NumberSet`, and by `NumberSet.language` the JSON texts of its numbers. This
module knows nothing of text; `number_text` does.

A set cuts the line at finitely many *cuts*. On each open cell between two cuts, membership is a Boolean function of
which *lattices* (all multiples of one positive number) hold the value; at a cut it is a bool. A Boolean function over
k lattices is an integer of 2**k bits: bit T says whether a value that lies in exactly the lattices of T belongs.

    integers from 0 to 10, without 5        lattices (1,)
    cuts          0      5      10
    opens     0b00  0b10   0b10    0b00     0b10: exactly what lies in lattice 1
    points        T      F      T

So `&`, `|` and `~` are bitwise. All arithmetic is on exact fractions: a float stands for the decimal that it prints as.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from grammars.errors import ConstraintSyntaxError, UnsupportedConstraintError
from grammars.json_schema.cells import Cells, Number, exact, lcm, membership, narrow, possible, spread
from grammars.json_schema.float_safety import LARGEST_POWER, as_floats
from grammars.json_schema.number_text import NumberText
from grammars.json_schema.remainders import state_count

MAX_LATTICES = 6
"""Different multiples that one set may tell apart (its tables have 2**k bits)."""
PLAIN_LIMIT = 10**16
"""From here on, writers of JSON use exponents for integers."""
MANY_REMAINDERS = 200
"""Multiples of an integer with more are written without a point: to count digits beside them is dear."""
MULTIPLES_LISTED = 2_000
"""Multiples in one bounded cell that are gone through to list members."""
SEARCH_STEPS = 100_000
"""Multiples looked at in one bounded cell before giving up."""


@dataclass(frozen=True, slots=True)
class NumberSet(Cells):
    """A set of numbers; see the module docstring. Build one by the class methods, not by the constructor."""

    @classmethod
    def all(cls) -> NumberSet:
        return _ALL

    @classmethod
    def none(cls) -> NumberSet:
        return _NONE

    @classmethod
    def integers(cls) -> NumberSet:
        """Numbers with an integer value, however they are written: 1, 1.0, 10e-1."""
        return _INTEGERS

    @classmethod
    def interval(
        cls,
        low: Number | None = None,
        high: Number | None = None,
        *,
        low_open: bool = False,
        high_open: bool = False,
    ) -> NumberSet:
        """Numbers between two bounds, None for no bound."""
        result = _ALL
        if low is not None:
            result &= cls((exact(low),), (0, 1), (not low_open,), ())
        if high is not None:
            result &= cls((exact(high),), (1, 0), (not high_open,), ())
        return result

    @classmethod
    def multiples(cls, of: Number) -> NumberSet:
        """`multipleOf`. Raises ConstraintSyntaxError unless `of` is greater than 0."""
        step = exact(of)
        if step <= 0:
            raise ConstraintSyntaxError(f"multipleOf must be greater than 0, not {of}")
        return cls((), (0b10,), (), (step,))

    @classmethod
    def of(cls, values: Iterable[Number]) -> NumberSet:
        """Exactly these numbers (`enum`, `const`)."""
        cuts = tuple(sorted({exact(value) for value in values}))
        return cls(cuts, (0,) * (len(cuts) + 1), (True,) * len(cuts), ())

    @classmethod
    def from_schema(cls, schema: Mapping[str, Any]) -> NumberSet:
        """The numbers that the numeric keywords of `schema` allow, other keywords and other types left aside.

        Reads type, minimum, maximum, exclusiveMinimum, exclusiveMaximum (a number, or draft 4's bool), multipleOf,
        divisibleBy, enum and const.
        """
        result = _typed(schema.get("type"))
        for name, value in schema.items():
            result &= keyword_set(name, value, schema)
        return result

    @property
    def key(self) -> Hashable:
        """Equal keys, equal sets. Equal sets have equal keys too, but for bounded cells that hold finitely many."""
        return self.cuts, self.opens, self.points, self.lattices

    def __and__(self, other: NumberSet) -> NumberSet:
        return self._combine(other, lambda a, b: a & b)

    def __or__(self, other: NumberSet) -> NumberSet:
        return self._combine(other, lambda a, b: a | b)

    def __sub__(self, other: NumberSet) -> NumberSet:
        return self & ~other

    def __invert__(self) -> NumberSet:
        full = possible(self.lattices)
        return NumberSet(
            self.cuts, tuple(full & ~t for t in self.opens), tuple(not p for p in self.points), self.lattices
        )

    def __contains__(self, value: Number) -> bool:
        return self.contains(value)

    def contains(self, value: Number) -> bool:
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return self.holds(exact(value))

    def is_empty(self) -> bool:
        return not any(self.points) and all(self._member(i) is None for i in range(len(self.opens)))

    def is_finite(self) -> bool:
        """Whether the set has finitely many members (an empty one too)."""
        return not any(t & 1 for t in self.opens) and not self.opens[0] and not self.opens[-1]

    def members(self, most: int) -> tuple[Fraction, ...] | None:
        """The members, sorted; None if they are more than `most`, or if it takes long to find out."""
        if not self.is_finite():
            return None
        found = {cut for cut, inside in zip(self.cuts, self.points, strict=True) if inside}
        for (low, high), table in zip(itertools.pairwise(self.cuts), self.opens[1:-1], strict=True):
            for held in (bits for bits in range(1, 1 << len(self.lattices)) if table >> bits & 1):
                step = lcm(lattice for i, lattice in enumerate(self.lattices) if held >> i & 1)
                first, last = low // step + 1, -(-high // step)  # half-open
                if last - first > MULTIPLES_LISTED or len(found) > most:
                    return None
                found.update(n * step for n in range(first, last) if membership(self.lattices, n * step) == held)
        return tuple(sorted(found)) if len(found) <= most else None

    def language(self, plain_integers: bool = False) -> NumberText:
        """The JSON texts of the members. `plain_integers`: draft 4, where 1.0 is no integer.

        Raises UnsupportedConstraintError where the automaton would be too large, or empty though the set is not.
        """
        return _language(self, plain_integers)

    def shortest(self) -> bytes:
        """A shortest JSON text of a member. Raises ValueError for the empty set."""
        language = self.language()
        return language.witness(language.start)

    def _combine(self, other: NumberSet, op: Callable[[int, int], int]) -> NumberSet:
        lattices = tuple(sorted({*self.lattices, *other.lattices}))
        if len(lattices) > MAX_LATTICES:
            shown = ", ".join(str(m) for m in lattices)
            raise UnsupportedConstraintError(f"multipleOf: more than {MAX_LATTICES} different multiples: {shown}")
        cuts = tuple(sorted({*self.cuts, *other.cuts}))
        a, b = self._refine(cuts, lattices), other._refine(cuts, lattices)
        opens = tuple(map(op, a[0], b[0]))
        points = tuple(bool(op(p, q)) for p, q in zip(a[1], b[1], strict=True))
        return _reduce(cuts, opens, points, lattices)

    def _refine(self, cuts: Sequence[Fraction], lattices: tuple[Fraction, ...]) -> tuple[list[int], list[bool]]:
        """`opens` and `points` of the same set, over more cuts and more lattices."""
        tables = {t: spread(t, self.lattices, lattices) for t in set(self.opens)}
        opens, points, i = [tables[self.opens[0]]], [], 0
        for cut in cuts:
            if i < len(self.cuts) and self.cuts[i] == cut:
                points.append(self.points[i])
                i += 1
            else:
                points.append(bool(self.opens[i] >> membership(self.lattices, cut) & 1))
            opens.append(tables[self.opens[i]])
        return opens, points

    def _member(self, cell: int) -> Fraction | None:
        """Some member in an open cell, None if there is none."""
        low = self.cuts[cell - 1] if cell > 0 else None
        high = self.cuts[cell] if cell < len(self.cuts) else None
        table = self.opens[cell]
        if table & 1:  # decimals outside all lattices are dense
            return _outside(self.lattices, low, high)
        for held in range(1, 1 << len(self.lattices)):
            if table >> held & 1:
                found = _first_multiple(self.lattices, held, low, high)
                if found is not None:
                    return found
        return None


def keyword_set(name: str, value: Any, schema: Mapping[str, Any]) -> NumberSet:
    """The numbers that one keyword allows; `schema` for draft 4's `exclusiveMinimum: true` beside `minimum`."""
    if name in ("enum", "const"):
        values = value if name == "enum" else [value]
        return NumberSet.of(v for v in values if isinstance(v, int | float | Decimal) and not isinstance(v, bool))
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return _ALL
    if name == "minimum":
        return NumberSet.interval(low=value, low_open=schema.get("exclusiveMinimum") is True)
    if name == "maximum":
        return NumberSet.interval(high=value, high_open=schema.get("exclusiveMaximum") is True)
    if name == "exclusiveMinimum":
        return NumberSet.interval(low=value, low_open=True)
    if name == "exclusiveMaximum":
        return NumberSet.interval(high=value, high_open=True)
    if name in ("multipleOf", "divisibleBy"):
        return NumberSet.multiples(value)
    return _ALL


def _reduce(
    cuts: tuple[Fraction, ...], opens: tuple[int, ...], points: tuple[bool, ...], lattices: tuple[Fraction, ...]
) -> NumberSet:
    """Drop lattices that no cell depends on, and cuts where nothing changes."""
    for drop in reversed(range(len(lattices))):
        narrowed = narrow(set(opens), lattices, drop)
        if narrowed is not None:
            opens, lattices = tuple(narrowed[t] for t in opens), lattices[:drop] + lattices[drop + 1 :]
    kept_cuts: list[Fraction] = []
    kept_opens, kept_points = [opens[0]], []
    for cut, point, table in zip(cuts, points, opens[1:], strict=True):
        if table == kept_opens[-1] and point == bool(table >> membership(lattices, cut) & 1):
            continue
        kept_cuts.append(cut)
        kept_points.append(point)
        kept_opens.append(table)
    return NumberSet(tuple(kept_cuts), tuple(kept_opens), tuple(kept_points), lattices)


def _outside(lattices: Sequence[Fraction], low: Fraction | None, high: Fraction | None) -> Fraction:
    """A decimal between the bounds in none of the lattices."""
    low = low if low is not None else (high - 1 if high is not None else Fraction(0))
    high = high if high is not None else low + 1
    step = Fraction(1)
    while True:
        step /= 10
        x = (low // step + 1) * step
        for _ in range(10):
            if low < x < high and not membership(lattices, x):
                return x
            x += step


def _first_multiple(
    lattices: Sequence[Fraction], held: int, low: Fraction | None, high: Fraction | None
) -> Fraction | None:
    """The member of exactly the lattices `held` between the bounds nearest to the lower one."""
    step = lcm(s for i, s in enumerate(lattices) if held >> i & 1)
    if low is not None:
        x = (low // step + 1) * step
    elif high is not None:
        x, step = -((-high) // step + 1) * step, -step
    else:
        x = step
    for _ in range(SEARCH_STEPS):
        if (high is not None and x >= high) or (low is not None and x <= low):
            return None
        if membership(lattices, x) == held:
            return x
        x += step
    raise UnsupportedConstraintError("multipleOf: these multiples, taken together, are too far apart to be told")


def _typed(names: Any) -> NumberSet:
    """The numbers of a `type` keyword."""
    if names is None:
        return _ALL
    names = [names] if isinstance(names, str) else names
    if "number" in names:
        return _ALL
    return _INTEGERS if "integer" in names else _NONE


@lru_cache(maxsize=4096)
def _language(numbers: NumberSet, plain_integers: bool) -> NumberText:
    spelled = numbers
    if plain_integers:  # with a point or an exponent only where integers are not told apart from other numbers
        full = possible(numbers.lattices)
        opens = tuple(full * (table == full) for table in numbers.opens)
        points = tuple(p and a == b == full for p, a, b in zip(numbers.points, opens, opens[1:], strict=False))
        spelled = NumberSet(numbers.cuts, opens, points, numbers.lattices) | numbers - _INTEGERS
    scientific = _NONE if _are_small_integers(numbers) else as_floats(spelled, LARGEST_POWER)
    dear = any(step.denominator == 1 and state_count(int(step)) > MANY_REMAINDERS for step in numbers.lattices)
    found = NumberText(numbers, _NONE if dear else as_floats(spelled), scientific)
    if found.is_empty() and not numbers.is_empty():  # no double is a member; the numbers themselves are
        found = NumberText(numbers, spelled, spelled)
        if found.is_empty():
            raise UnsupportedConstraintError("these bounds and multiples leave only numbers of too many digits to tell")
    return found


def _are_small_integers(numbers: NumberSet) -> bool:
    """Whether all members are integers that nobody writes with an exponent."""
    within = all(abs(cut) <= PLAIN_LIMIT for cut in numbers.cuts) and not numbers.opens[0] and not numbers.opens[-1]
    whole = all(step.denominator == 1 for step in numbers.lattices) and not any(table & 1 for table in numbers.opens)
    members = (cut for cut, held in zip(numbers.cuts, numbers.points, strict=True) if held)
    return within and whole and all(member.denominator == 1 for member in members)


_ALL = NumberSet((), (1,), (), ())
_NONE = NumberSet((), (0,), (), ())
_INTEGERS = NumberSet((), (0b10,), (), (Fraction(1),))
