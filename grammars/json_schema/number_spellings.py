"""How a number that is not negative may be written: one small symbolic automaton for each spelling.

In: the cells of a set, the first cut at 0. Out: `step` and `accepts` over hashable states, None for no completion that
can be told at once. A state keeps a prefix exactly only while a cut lies among the numbers that it can still become;
then it keeps the tables that decide instead, so that states merge. `number_text` runs these side by side.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol, TypeAlias

from grammars.json_schema.cells import Cells, possible
from grammars.json_schema.float_safety import EXACT_DIGITS, distinguishes
from grammars.json_schema.remainders import Remainders

State: TypeAlias = tuple[Any, ...]
Run: TypeAlias = tuple[int | None, int | None, int]
"""Exponents from the first to the second, both in it, None for no bound, and the table that decides for them."""

MANTISSA_DIGITS = 16
SMALLEST_EXPONENT = -300
"""Below it, numbers that are no multiple might read as 0, which is one."""


class Spelling(Protocol):
    start: State

    def step(self, state: State, character: str) -> State | None: ...

    def accepts(self, state: State) -> bool: ...


_AFTER_DIGIT = {
    "begin": "int", "int": "int", ".": "fraction", "fraction": "fraction",
    "e": "exponent", "sign": "exponent",
}  # fmt: skip


_EXPONENT_DIGITS = 3
_MOST_EXPONENT = 10**_EXPONENT_DIGITS - 1


class AnyFloat:
    """RFC 8259's numbers with a fraction or an exponent or both; exponents of up to three digits, as doubles have.

    Without that bound a number could be written that nobody can compute with, such as 1e99999999999.
    """

    start: State = ("begin",)

    def step(self, state: State, character: str) -> State | None:
        at = state[0]
        if at == "exponent":
            return (at, state[1] + 1) if character.isdigit() and state[1] < _EXPONENT_DIGITS else None
        if character.isdigit():
            after = "zero" if at == "begin" and character == "0" else _AFTER_DIGIT.get(at)
        elif character == ".":
            after = "." if at in ("zero", "int") else None
        elif character in "eE":
            after = "e" if at in ("zero", "int", "fraction") else None
        else:
            after = "sign" if at == "e" else None
        return None if after is None else (after, 1) if after == "exponent" else (after,)

    def accepts(self, state: State) -> bool:
        return state[0] in ("fraction", "exponent")


class PlainDigits:
    """Digits without an exponent; `point`: with a point and at least one digit after it, else with none.

    States: ("begin",); ("int", where, remainders, digits), ("zero", ...) after a leading 0; ("fraction", where, place,
    needs, digits). `where` is the prefix (an integer) while a cut may decide, later the deciding tables: for the
    integer part a tuple, entry r for r more digits, the last table for all beyond; for the fraction (table,).
    """

    start: State = ("begin",)

    def __init__(self, cells: Cells, point: bool) -> None:
        self._point = point
        self._places = max(decimal_places(cut) for cut in cells.cuts)
        self._scale = 10**self._places
        self._cuts = [int(cut * self._scale) for cut in cells.cuts]
        self._lengths = [len(str(cut)) for cut in self._cuts]
        self._opens, self._points = cells.opens, cells.points
        self._full = possible(cells.lattices)
        self._remainders = Remainders.of(cells.lattices)
        self._digits = EXACT_DIGITS if point and distinguishes(cells) else None

    def step(self, state: State, character: str) -> State | None:
        kind = state[0]
        if character == ".":
            return self._open_fraction(state) if self._point and kind in ("int", "zero") else None
        if not character.isdigit() or kind == "zero":
            return None
        digit = int(character)
        digits = 0 if self._digits is None else (1 if kind == "begin" else state[-1] + 1)
        if self._digits is not None and digits > self._digits:
            return None
        if kind == "begin":
            kept = self._remainders.step(self._remainders.zero, digit)
            return self._whole("zero" if digit == 0 else "int", digit, kept, digits)
        if kind == "int":
            _, where, kept, _ = state
            kept = self._remainders.step(kept, digit) if kept else kept
            after = where[1:] if isinstance(where, tuple) else where * 10 + digit
            return self._whole("int", after, kept, digits)
        return self._fraction(state, digit, digits)

    def accepts(self, state: State) -> bool:
        kind = state[0]
        if self._point:
            if kind != "fraction" or state[2] == 0:
                return False
            _, where, _, needs, _ = state
            return self._member(where, where if isinstance(where, int) else 0, self._remainders.held(needs))
        if kind not in ("int", "zero"):
            return False
        _, where, kept, _ = state
        held = self._remainders.held(self._remainders.needs(kept)) if kept else 0
        value = where * self._scale if isinstance(where, int) else 0
        return self._member(where, value, held)

    def _member(self, where: int | tuple[int, ...], value: int, held: int) -> bool:
        """Whether the number belongs; `value` is it, scaled, where `where` is no table."""
        if isinstance(where, tuple):
            table = where[0] if where else self._opens[-1]
        else:
            i = bisect_left(self._cuts, value)
            if i < len(self._cuts) and self._cuts[i] == value:
                return self._points[i]
            table = self._opens[i]
        return table == self._full or bool(table >> held & 1)

    def _table(self, low: int, high: int) -> int | None:
        """The table of all numbers in [low, high), scaled; None if a cut lies there."""
        i = bisect_left(self._cuts, low)
        return None if i < len(self._cuts) and self._cuts[i] < high else self._opens[i]

    def _whole(self, kind: str, where: int | tuple[int, ...], kept: tuple[int, ...], digits: int) -> State | None:
        """The state in the integer part, its tables settled if they can be."""
        if isinstance(where, int) and kind == "int":
            where = self._settle(where)
        if isinstance(where, tuple):
            while where and where[-1] == self._opens[-1]:
                where = where[:-1]
            if not where and not self._opens[-1]:
                return None
            if all(table in (0, self._full) for table in (*where, self._opens[-1])):
                kept = ()
        return kind, where, kept, digits

    def _settle(self, value: int) -> int | tuple[int, ...]:
        """For each count of digits to come, the table of all that they can make; the value itself if a cut is near."""
        tables: list[int] = []
        low, width = value * self._scale, self._scale
        while low <= self._cuts[-1]:
            table = self._table(low, low + (width if self._point else width - self._scale + 1))
            if table is None:
                return value
            # as long as they have fewer digits than the next cut, nothing changes
            count = max(1, self._lengths[bisect_left(self._cuts, low)] - len(str(low + width)))
            tables += [table] * count
            low, width = low * 10**count, width * 10**count
        return tuple(tables)

    def _open_fraction(self, state: State) -> State | None:
        _, where, kept, digits = state
        needs = self._remainders.needs(kept) if kept else ()
        if isinstance(where, int):
            low = where * self._scale
            table = self._table(low, low + self._scale)
            return self._placed(low if table is None else (table,), 0, needs, digits)
        return self._placed((where[0] if where else self._opens[-1],), 0, needs, digits)

    def _fraction(self, state: State, digit: int, digits: int) -> State | None:
        _, where, place, needs, _ = state
        if isinstance(where, int):
            if place < self._places:
                width = 10 ** (self._places - place - 1)
                low = where + digit * width
                table = self._table(low, low + width)
                where = low if table is None else (table,)
            elif digit:
                where = (self._opens[bisect_right(self._cuts, where)],)
        return self._placed(where, place + 1, self._remainders.fraction(needs, place, digit), digits)

    def _placed(self, where: int | tuple[int, ...], place: int, needs: tuple[int, ...], digits: int) -> State | None:
        """The state in the fraction, forgetting what no longer matters."""
        distinct = max(1, self._remainders.places) if any(need >= 0 for need in needs) else 1
        if isinstance(where, int):
            return "fraction", where, min(place, max(distinct, self._places)), needs, digits
        table = where[0]
        if table == self._full:
            needs, distinct = (), 1
        elif not any(need >= 0 for need in needs) and not table & 1:
            return None
        return "fraction", where, min(place, distinct), needs, digits


class Scientific:
    """One digit, maybe a point and digits, then an exponent: its order of magnitude is the exponent itself.

    States: ("begin",); ("0", stage) while all digits are 0; ("digits", stage, where, places, zeros) with `where` the
    mantissa and its places, (mantissa, places), while a cut may decide, later the runs of exponents; ("e", exponents);
    ("sign", exponents); ("exponent", exponents, value or tables). Exponents are tuples of closed intervals.
    """

    start: State = ("begin",)

    def __init__(self, cells: Cells) -> None:
        self._zero = cells.points[0]
        self._opens, self._points = cells.opens, cells.points
        self._full = possible(cells.lattices)
        self._powers = [power_of_ten(step) for step in cells.lattices]
        self._varies = any(table not in (0, self._full) for table in cells.opens)
        self._close = distinguishes(cells)
        self._limit = (EXACT_DIGITS if self._close else MANTISSA_DIGITS) - 1
        orders = [order(cut) for cut in cells.cuts[1:]]
        mantissas = [cut / Fraction(10) ** k for cut, k in zip(cells.cuts[1:], orders, strict=True)]
        self._places = max((decimal_places(m) for m in mantissas), default=0)
        self._cuts: dict[int, list[int]] = {}  # order of magnitude -> scaled mantissas, ascending
        for k, mantissa in zip(orders, mantissas, strict=True):
            self._cuts.setdefault(k, []).append(int(mantissa * 10**self._places))
        self._mantissas = sorted({m for group in self._cuts.values() for m in group})

    def step(self, state: State, character: str) -> State | None:
        kind = state[0]
        if kind in ("e", "sign", "exponent"):
            return self._in_exponent(state, character)
        if kind == "begin":
            if character == "0":
                return ("0", "int") if self._zero else None
            return self._digits("int", 0, 0, int(character), 0, 0) if character.isdigit() else None
        stage = state[1]
        if character == ".":
            return (kind, ".", *state[2:]) if stage == "int" else None
        if character in "eE":
            return None if stage == "." else self._open_exponent(state)
        if not character.isdigit() or stage == "int":
            return None
        if kind == "0":
            return ("0", "fraction") if character == "0" else None
        return self._more_digits(state, int(character))

    def accepts(self, state: State) -> bool:
        if state[0] != "exponent":
            return False
        _, exponents, where = state
        if isinstance(where, int):
            return any(low <= where and (high is None or where <= high) for low, high in exponents)
        return bool(where[0] if where else exponents)

    def _more_digits(self, state: State, digit: int) -> State | None:
        _, _, where, places, zeros = state
        if self._varies:
            places, zeros = (places, zeros + 1) if digit == 0 else (places + zeros + 1, 0)
            if places + zeros > self._limit:
                return None
        if where and isinstance(where[0], int):
            return self._digits("fraction", where[0], where[1] + 1, digit, places, zeros)
        return ("digits", "fraction", where, places, zeros) if self._can_end(where, places) else None

    def _digits(self, stage: str, mantissa: int, place: int, digit: int, places: int, zeros: int) -> State | None:
        """The state after one more digit at `place`, settled if no cut's mantissa begins like it."""
        if place <= self._places:
            width = 10 ** (self._places - place)
            mantissa += digit * width
            i = bisect_left(self._mantissas, mantissa)
            if i < len(self._mantissas) and self._mantissas[i] < mantissa + width:
                return "digits", stage, (mantissa, place), places, zeros
            runs = self._runs(mantissa, False)
        elif digit == 0:
            return "digits", stage, (mantissa, self._places), places, zeros
        else:
            runs = self._runs(mantissa + 1, False)
        return ("digits", stage, runs, places, zeros) if self._can_end(runs, places) else None

    def _can_end(self, runs: tuple[Run, ...], places: int) -> bool:
        """Whether some exponent will do, after so many decimal places or more; exact where only multiples belong."""
        least = min((power for power in self._powers if power is not None), default=0)
        return any(
            table == self._full or table & 1 or high is None or high >= places + least for _, high, table in runs
        )

    def _runs(self, mantissa: int, exactly: bool) -> tuple[Run, ...]:
        """The table for each exponent: `exactly` for this mantissa, else for one that no cut is equal to."""
        found: list[Run] = []
        low, below = None, 1
        for k in sorted(self._cuts):
            found.append((low, k - 1, self._opens[below]))
            group = self._cuts[k]
            under = bisect_left(group, mantissa)
            if exactly and under < len(group) and group[under] == mantissa:
                found.append((k, k, self._full * self._points[below + under]))
            else:
                found.append((k, k, self._opens[below + under]))
            low, below = k + 1, below + len(group)
        found.append((low, None, self._opens[below]))
        return tuple(run for run in found if run[2] and (run[0] is None or run[1] is None or run[0] <= run[1]))

    def _open_exponent(self, state: State) -> State | None:
        if state[0] == "0":
            return "e", ((-_MOST_EXPONENT, _MOST_EXPONENT),)
        _, _, where, places, _ = state
        runs = self._runs(where[0], True) if isinstance(where[0], int) else where
        parts = [part for run in runs for part in self._exponents(run, places)]
        joined: list[tuple[int | None, int | None]] = []
        for low, high in parts:
            low = -_MOST_EXPONENT if low is None else max(low, -_MOST_EXPONENT)
            high = _MOST_EXPONENT if high is None else min(high, _MOST_EXPONENT)
            if low > high:
                continue
            if joined and joined[-1][1] is not None and low is not None and joined[-1][1] + 1 == low:
                joined[-1] = joined[-1][0], high
            else:
                joined.append((low, high))
        return ("e", tuple(joined)) if joined else None

    def _exponents(self, run: Run, places: int) -> list[tuple[int | None, int | None]]:
        """The exponents of a run with which a mantissa of so many decimal places belongs."""
        low, high, table = run
        if table == self._full:
            return [(low, high)]
        if any(power is None for power in self._powers):
            return []
        if self._close:
            low = SMALLEST_EXPONENT if low is None else max(low, SMALLEST_EXPONENT)
        # from exponent places + power on, the number is a multiple of 10 ** power
        starts = sorted({places + power for power in self._powers if power is not None})
        edges = [low, *(s for s in starts if (low is None or s > low) and (high is None or s <= high))]
        found = []
        for first, after in zip(edges, [*edges[1:], None], strict=True):
            last = high if after is None else after - 1
            at = first if first is not None else (last if last is not None else 0)
            held = sum(1 << i for i, power in enumerate(self._powers) if power is not None and at >= places + power)
            if table >> held & 1 and (first is None or last is None or first <= last):
                found.append((first, last))
        return found

    def _in_exponent(self, state: State, character: str) -> State | None:
        kind, exponents = state[0], state[1]
        if kind == "e":
            upward = _upward(exponents)
            if character in "+-":
                signed = upward if character == "+" else _upward(_mirrored(exponents))
                return ("sign", signed) if signed else None
            exponents = upward
        if not character.isdigit():
            return None
        if kind != "exponent":
            return self._exponent(exponents, int(character))
        where = state[2]
        if isinstance(where, int):
            return self._exponent(exponents, where * 10 + int(character))
        return self._settled(exponents, where[1:])

    def _exponent(self, exponents: Sequence[tuple[int, int | None]], value: int) -> State | None:
        """The state after an exponent's digits, settled if all that they can become is in or out alike."""
        if not exponents:
            return None
        if exponents == ((0, None),):
            return "exponent", True, ()
        last = max(exponents[-1][0], exponents[-1][1] or 0)
        answers, low, high = [], value, value
        while low <= last:
            inside = any(a <= low and (b is None or high <= b) for a, b in exponents)
            if not inside and any(a <= high and (b is None or low <= b) for a, b in exponents):
                return "exponent", exponents, value
            if low == 0 == value:
                return "exponent", exponents, 0
            answers.append(inside)
            low, high = low * 10, high * 10 + 9
        return self._settled(exponents[-1][1] is None, tuple(answers))

    def _settled(self, beyond: bool, answers: tuple[bool, ...]) -> State | None:
        while answers and answers[-1] == beyond:
            answers = answers[:-1]
        return ("exponent", beyond, answers) if answers or beyond else None


def decimal_places(value: Fraction) -> int:
    """Digits after the point of an exact decimal."""
    twos = fives = 0
    rest = value.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives)


def order(value: Fraction) -> int:
    """The k for which 10**k <= value < 10**(k + 1); value > 0."""
    k = len(str(value.numerator)) - len(str(value.denominator))
    while Fraction(10) ** k > value:
        k -= 1
    while Fraction(10) ** (k + 1) <= value:
        k += 1
    return k


def power_of_ten(value: Fraction) -> int | None:
    """The k for which value is 10**k, if there is one."""
    k = order(value)
    return k if Fraction(10) ** k == value else None


def _upward(exponents: Sequence[tuple[int | None, int | None]]) -> tuple[tuple[int, int | None], ...]:
    """The part from 0 up."""
    return tuple((max(low or 0, 0), high) for low, high in exponents if high is None or high >= 0)


def _mirrored(exponents: Sequence[tuple[int | None, int | None]]) -> list[tuple[int | None, int | None]]:
    """The exponents negated."""
    return [(None if high is None else -high, None if low is None else -low) for low, high in reversed(exponents)]
