"""A form made ready to run: its names numbered, what may come next and in which state that leaves it.

Comes in: forms. Goes out: branches, each a reference for the next value and the state after it. States are plain
tuples, equal where their futures are equal: counts saturate, names that can no longer come are dropped.

    object state   (position, seen, count, needs, others, unknown, equal)
        position   in the fixed order of names: only names from there on may follow
        seen       bits of the names without a fixed order that have been written
        count      of properties, up to what the bounds tell apart
        needs      bits of the needs that are still to be met
        others     the names written that the form does not list, sorted
        unknown    1 if one more was written whose text is not known yet
        equal      the constants to keep apart from that the object is equal to as far as it is written
    array state    (index, counts, seen, unknown, equal)
        counts     of each counter
        seen       of unique items: the numbers of the constants that were written, sorted
        unknown    1 if one more was written that is not known yet; 2 if another followed, which cannot be let through

The text of a name or an item is known only once it is written (see `memory`); within one token the machine goes on
without it as far as that is safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from grammars.json_schema.algebra import Algebra
from grammars.json_schema.forms import ArrayForm, Counter, ObjectForm
from grammars.json_schema.refs import NOTHING, Ref, both, opposites

ObjectState = tuple[int, int, int, int, tuple[str, ...], int, tuple[int, ...]]
ArrayState = tuple[int, tuple[int, ...], tuple[int, ...], int, tuple[int, ...]]
Cell = frozenset[int]
"""The names that nobody lists and that match exactly these patterns."""


@dataclass(eq=False)
class ObjectPlan:
    """An object form with its names numbered: the first `ordered` of them are written in that order only."""

    form: ObjectForm
    algebra: Algebra
    ordered: int
    number: int

    def __post_init__(self) -> None:
        values = {number: self.algebra.constant_value(number) for number in self.form.apart}
        self.names = tuple(dict.fromkeys((*self.form.listed, *(name for value in values.values() for name in value))))
        self.index = {name: number for number, name in enumerate(self.names)}
        self._apart = {
            number: {self.index[name]: _number(self.algebra.constant(part)) for name, part in value.items()}
            for number, value in values.items()
        }
        self._values: dict[int, Ref] = {}
        self._cells: dict[Cell, Ref] = {}
        self.required = sum(1 << self.index[name] for name in self.form.required)
        self.start: ObjectState = (0, 0, 0, (1 << len(self.form.needs)) - 1, (), 0, self.form.apart)
        self.counts_names = self.form.least > 1 or bool(self.form.needs)
        """Whether a name written twice could make an object valid that is not."""
        most = self.form.most
        self.is_plain = most is None and self.form.least <= 1 and not self.form.needs and not self.form.apart
        """Whether what can be completed still can with one more of its names, if the value of that can be"""
        self._saturation = self.form.least if most is None else most + 1

    @cached_property
    def _needed(self) -> list[int]:
        """For each listed name, bits of the needs that its value can meet."""
        matches = self.algebra.matches
        return [
            sum(1 << bit for bit, (group, _) in enumerate(self.form.needs) if group.has(name, matches))
            for name in self.names
        ]

    def value(self, number: int) -> Ref:
        """The reference of the value of a listed name."""
        ref = self._values.get(number)
        if ref is None:
            ref = self._values[number] = self.algebra.object_value(self.form, self.names[number])
        return ref

    def cell_value(self, cell: Cell) -> Ref:
        """The reference of the value of any name of a cell."""
        ref = self._cells.get(cell)
        if ref is None:
            ref = frozenset()
            for group, other in self.form.classes:
                if group.has_cell(cell):
                    ref = both(ref, other)
            self._cells[cell] = ref
        return ref

    def other_value(self, name: str) -> Ref:
        """The reference of the value of a name that the form does not list."""
        return self.algebra.object_value(self.form, name)

    # -- steps -----------------------------------------------------------------------------------

    def numbers(self, bits: int) -> Iterator[int]:
        """The numbers of some listed names, given as bits."""
        while bits:
            yield (bits & -bits).bit_length() - 1
            bits &= bits - 1

    def may_come(self, state: ObjectState) -> Iterator[str]:
        """The listed names for which `may_follow` holds."""
        position, seen = state[:2]
        for number in range(position, self.ordered):
            yield self.names[number]
            if self.required >> number & 1:
                break
        for number in range(self.ordered, len(self.names)):
            if not seen >> number & 1:
                yield self.names[number]

    def may_follow(self, state: ObjectState, number: int) -> bool:
        """Whether a listed name may be written next, by order and by what was written."""
        position, seen = state[:2]
        if number >= self.ordered:
            return not seen >> number & 1
        if number < position:
            return False
        skipped = (1 << number) - (1 << position)
        return not self.required & skipped

    def is_full(self, state: ObjectState) -> bool:
        return self.form.most is not None and state[2] >= self.form.most

    def steps(
        self, state: ObjectState, number: int | None, name: Cell | str, value: Ref, remembers: bool
    ) -> Iterator[tuple[Ref, ObjectState]]:
        """What the value of one more property may be, and the state after it."""
        following, met = self.after(state, number, name, remembers), self.needs_met(number, name)
        if not state[6]:
            yield from self._branches(following, value, met)
            return
        groups: dict[int, list[int]] = {}
        for constant in state[6]:
            parts = self._apart[constant]
            if number in parts and not any(state[0] <= other < min(number, self.ordered) for other in parts):
                groups.setdefault(parts[number], []).append(constant)
        for part, constants in groups.items():
            same = both(value, frozenset((part,)))
            yield from self._branches((*following[:6], tuple(constants)), same, met)
        other = both(value, frozenset(-part for part in groups))
        yield from self._branches((*following[:6], ()), other, met)

    def unwritten(self, state: ObjectState, constant: int) -> dict[int, int]:
        """The properties of a constant that are still to come, as constants by the number of the name."""
        position, seen = state[:2]
        return {
            number: part
            for number, part in self._apart[constant].items()
            if (number >= position if number < self.ordered else not seen >> number & 1)
        }

    def after(self, state: ObjectState, number: int | None, name: Cell | str, remembers: bool) -> ObjectState:
        """The state after one more property: a listed name by its number, or another one, known or of a cell."""
        position, seen, count, needs, others, unknown, equal = state
        if number is not None:
            if number < self.ordered:
                position = number + 1
            else:
                seen |= 1 << number
        elif isinstance(name, str):
            others = _inserted(others, name)
        elif remembers:
            unknown = 1
        return (position, seen, min(count + 1, self._saturation), needs, others, unknown, equal)

    def with_name(self, state: ObjectState, name: str) -> ObjectState:
        """The state in which the unknown name is known."""
        position, seen, count, needs, others, unknown, equal = state
        return (position, seen, count, needs, _inserted(others, name), 0, equal) if unknown else state

    def needs_met(self, number: int | None, cell: Cell | str) -> int:
        """Bits of the needs that a property of this name can meet."""
        if not self.form.needs:
            return 0
        if number is not None:
            return self._needed[number]
        if isinstance(cell, str):
            matches = self.algebra.matches
            return sum(1 << bit for bit, (group, _) in enumerate(self.form.needs) if group.has(cell, matches))
        return sum(1 << bit for bit, (group, _) in enumerate(self.form.needs) if group.has_cell(cell))

    def _branches(self, state: ObjectState, ref: Ref, met: int) -> Iterator[tuple[Ref, ObjectState]]:
        """What the value of a new property may be, by the needs that it meets. `state` is the one after it."""
        if ref == NOTHING:
            return
        position, seen, count, needs, others, unknown, equal = state
        met &= needs
        if not met:
            yield ref, state
            return
        subset = met
        while True:
            value = ref
            for bit, (_, wanted) in enumerate(self.form.needs):
                if subset >> bit & 1:
                    value = both(value, wanted)
            if value != NOTHING:
                yield value, (position, seen, count, needs & ~subset, others, unknown, equal)
            if not subset:
                return
            subset = (subset - 1) & met

    def missing(self, state: ObjectState) -> int:
        """Bits of the required names still to be written."""
        position, seen = state[:2]
        return self.required & ~seen & ~((1 << min(position, self.ordered)) - 1)

    def may_close(self, state: ObjectState) -> bool:
        if state[2] < self.form.least or state[3] or self.missing(state) or self._overfull(state):
            return False
        return all(self.unwritten(state, constant) for constant in state[6])

    def _overfull(self, state: ObjectState) -> bool:
        return self.form.most is not None and state[2] > self.form.most


@dataclass(eq=False)
class ArrayPlan:
    """An array form with its counters bounded.

    excluded: the constants that an item must not be although it could, lest later items have no value left.
    one_by_one: the values, as constants, that are in both references, where the first has so few that each is a branch
    of its own; else None.
    """

    form: ArrayForm
    algebra: Algebra
    number: int
    excluded: Callable[[ArrayPlan, ArrayState], Ref]
    one_by_one: Callable[[Ref, Ref], tuple[int, ...] | None]

    def __post_init__(self) -> None:
        form = self.form
        self.start: ArrayState = (0, (0,) * len(form.counters), (), 0, form.apart)
        self.apart = {
            number: [_number(self.algebra.constant(part)) for part in self.algebra.constant_value(number)]
            for number in form.apart
        }
        starts = [counter.start for counter in form.counters]
        self._saturation = max(len(form.prefix), form.least, *starts, *(len(v) + 1 for v in self.apart.values()), 0)
        if form.most is not None:
            self._saturation = max(self._saturation, form.most)

    def branches(self, state: ArrayState) -> Iterator[tuple[Ref, ArrayState]]:
        """What the next item may be, by the counters that it moves."""
        index, counts, seen, unknown, equal = state
        form = self.form
        if form.most is not None and index >= form.most:
            return
        own = form.item(index)
        if form.unique:
            own = both(both(own, self.algebra.none_of(seen)), self.excluded(self, state))
            unknown = 2 if unknown else 1
        options: list[tuple[Ref, tuple[int, ...]]] = [(own, ())]
        for counter, count in zip(form.counters, counts, strict=True):
            options = [
                (joint, (*after, moved))
                for ref, after in options
                for extra, moved in _count(counter, count, index)
                if not self.algebra.surely_empty(joint := both(ref, extra))
            ]
        following = min(index + 1, self._saturation)
        for ref, after in options:
            for value, constants in self._apart_branches(ref, index, equal):
                values = self.one_by_one(form.item(index), value) if form.unique else None
                if value != NOTHING and values is None:
                    yield value, (following, after, seen, unknown, constants)
                for known in values or ():
                    yield frozenset((known,)), (following, after, tuple(sorted((*seen, known))), 0, constants)

    def _apart_branches(self, ref: Ref, index: int, equal: tuple[int, ...]) -> Iterator[tuple[Ref, tuple[int, ...]]]:
        """What an item may be, by the constants that the array is still equal to after it."""
        groups: dict[int, list[int]] = {}
        for constant in equal:
            parts = self.apart[constant]
            if index < len(parts):
                groups.setdefault(parts[index], []).append(constant)
        for part, constants in groups.items():
            yield both(ref, frozenset((part,))), tuple(constants)
        yield both(ref, frozenset(-part for part in groups)), ()

    def with_item(self, state: ArrayState, constant: int) -> ArrayState:
        """The state in which the unknown item is known."""
        index, counts, seen, unknown, equal = state
        return (index, counts, tuple(sorted((*seen, constant))), 0, equal) if unknown else state

    def may_close(self, state: ArrayState) -> bool:
        index, counts = state[:2]
        if any(len(self.apart[constant]) == index for constant in state[4]):
            return False
        return index >= self.form.least and all(
            count >= counter.least for counter, count in zip(self.form.counters, counts, strict=True)
        )


def _number(ref: Ref) -> int:
    (number,) = ref
    return number


def _inserted(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(sorted({*names, name}))


def _count(counter: Counter, count: int, index: int) -> list[tuple[Ref, int]]:
    """What one counter asks of the item at `index`, and its count after it."""
    if index < counter.start or (counter.most is None and count >= counter.least):
        return [(frozenset(), count)]
    if counter.most is None:
        return [(counter.ref, count + 1), (frozenset(), count)]
    outside = [(other, count) for other in opposites(counter.ref)]
    return [(counter.ref, count + 1), *outside] if count < counter.most else outside
