"""The normal form of arrays and objects: conjunctions of plain facts, closed under *and*; a *not* gives several of
them.

A set of arrays (or objects) is a tuple of forms, any of which may hold. Values inside are `Ref`s, so forms stay small
and recursion stays lazy. The idea of a form that is closed under negation, with `needs` and `counters` for what "not
all" leaves behind, follows Attouche et al., *Negation-closure for JSON Schema*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from grammars.json_schema.refs import ANYTHING, NOTHING, Ref, both, opposites


@dataclass(frozen=True, slots=True)
class Names:
    """A set of property names: those listed and those that match a pattern; or, inverted, all others.

    patterns: numbers of languages, see `Algebra.language_number`.
    """

    listed: frozenset[str] = frozenset()
    patterns: frozenset[int] = frozenset()
    inverted: bool = False

    def has(self, name: str, matches: Callable[[int, str], bool]) -> bool:
        """Whether the set has this name; `matches(pattern, name)` answers for one pattern."""
        inside = name in self.listed or any(matches(pattern, name) for pattern in self.patterns)
        return inside != self.inverted

    def has_cell(self, cell: frozenset[int]) -> bool:
        """Whether the set has the names that no one lists and that match exactly the patterns of `cell`."""
        return (not self.patterns.isdisjoint(cell)) != self.inverted

    def complement(self) -> Names:
        return Names(self.listed, self.patterns, not self.inverted)


ALL_NAMES = Names(inverted=True)
NO_NAMES = Names()


def join_names(left: Names, right: Names) -> Names:
    """The union; of inverted sets only `ALL_NAMES` is ever joined."""
    if left.inverted or right.inverted:
        return ALL_NAMES
    return Names(left.listed | right.listed, left.patterns | right.patterns)


Rule = tuple[Names, Ref]


@dataclass(frozen=True, eq=False)
class ObjectForm:
    """Objects of which all of this is true.

    named:     the value of this property, where present, is in this reference.
    classes:   so is the value of every property of these names.
    required:  these names are present.
    needs:     there is a property of these names with a value in this reference, for each.
    least, most: how many properties.
    order:     the order in which names are written where the order is fixed; others may stand anywhere.
    evaluated: the names that `unevaluatedProperties` leaves alone.
    apart:     the numbers of constants that the object must not equal, sorted.
    """

    named: dict[str, Ref] = field(default_factory=dict)
    classes: tuple[Rule, ...] = ()
    required: frozenset[str] = frozenset()
    needs: tuple[Rule, ...] = ()
    least: int = 0
    most: int | None = None
    order: tuple[str, ...] = ()
    evaluated: Names = NO_NAMES
    apart: tuple[int, ...] = ()

    @cached_property
    def key(self) -> tuple[object, ...]:
        """Equal for equal forms."""
        named, facts = frozenset(self.named.items()), (self.classes, self.required, self.needs, self.apart)
        return (named, facts, self.least, self.most, self.order, self.evaluated)

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """Every name that the form speaks of, those with an order first, in that order."""
        names = dict.fromkeys(self.order)
        names.update(dict.fromkeys(self.named))
        names.update(dict.fromkeys(sorted(self.required)))
        for group, _ in (*self.classes, *self.needs):
            names.update(dict.fromkeys(sorted(group.listed)))
        return tuple(names)

    @cached_property
    def patterns(self) -> frozenset[int]:
        """Every name pattern that the form speaks of."""
        return frozenset().union(*(group.patterns for group, _ in (*self.classes, *self.needs)))


@dataclass(frozen=True, slots=True)
class Counter:
    """Between `least` and `most` items from index `start` on are in `ref`."""

    ref: Ref
    least: int
    most: int | None
    start: int = 0


@dataclass(frozen=True, eq=False)
class ArrayForm:
    """Arrays of which all of this is true.

    prefix:    the references of the first items; tail: of all further ones.
    least, most: how many items.
    counters:  see `Counter`.
    unique:    no two items are equal.
    evaluated: how many leading items `unevaluatedItems` leaves alone (None: all), and the references whose items too.
    apart:     the numbers of constants that the array must not equal, sorted.
    """

    prefix: tuple[Ref, ...] = ()
    tail: Ref = ANYTHING
    least: int = 0
    most: int | None = None
    counters: tuple[Counter, ...] = ()
    unique: bool = False
    evaluated: tuple[int | None, frozenset[Ref]] = (0, frozenset())
    apart: tuple[int, ...] = ()

    @cached_property
    def key(self) -> tuple[object, ...]:
        """Equal for equal forms."""
        facts = (self.counters, self.unique, self.evaluated, self.apart)
        return (self.prefix, self.tail, self.least, self.most, facts)

    def item(self, index: int) -> Ref:
        """The reference of the item at `index`, counters aside."""
        return self.prefix[index] if index < len(self.prefix) else self.tail


ANY_OBJECT = ObjectForm()
ANY_ARRAY = ArrayForm()


def _smaller(left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return left if right is None else right
    return min(left, right)


def _distinct(left: tuple, right: tuple) -> tuple:
    return left if left == right else tuple(dict.fromkeys((*left, *right)))


def _sorted(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({*left, *right})) if left and right else left or right


def meet_objects(left: ObjectForm, right: ObjectForm) -> ObjectForm:
    """The objects of both forms."""
    if left is ANY_OBJECT or left is right:
        return right
    if right is ANY_OBJECT:
        return left
    named = dict(left.named)
    for name, ref in right.named.items():
        named[name] = both(named[name], ref) if name in named else ref
    return ObjectForm(
        named,
        _distinct(left.classes, right.classes),
        left.required | right.required,
        _distinct(left.needs, right.needs),
        max(left.least, right.least),
        _smaller(left.most, right.most),
        _distinct(left.order, right.order),
        join_names(left.evaluated, right.evaluated),
        _sorted(left.apart, right.apart),
    )


def meet_arrays(left: ArrayForm, right: ArrayForm) -> ArrayForm:
    """The arrays of both forms."""
    if left is ANY_ARRAY or left is right:
        return right
    if right is ANY_ARRAY:
        return left
    length = max(len(left.prefix), len(right.prefix))
    counts = [count for count, _ in (left.evaluated, right.evaluated) if count is not None]
    count = max(counts) if len(counts) == 2 else None
    return ArrayForm(
        tuple(both(left.item(index), right.item(index)) for index in range(length)),
        both(left.tail, right.tail),
        max(left.least, right.least),
        _smaller(left.most, right.most),
        _distinct(left.counters, right.counters),
        left.unique or right.unique,
        (count, left.evaluated[1] | right.evaluated[1]),
        _sorted(left.apart, right.apart),
    )


def negate_object(form: ObjectForm) -> Iterable[ObjectForm]:
    """The objects outside of a form that has no `needs` (what keywords say has none)."""
    for name, ref in form.named.items():
        present = frozenset((name,)) - form.required  # of a required name: absent, or with another value
        for other in opposites(ref):
            yield ObjectForm({name: other}, required=present)
    for names, ref in form.classes:
        for other in opposites(ref):
            yield ObjectForm(needs=((names, other),))
    for name in sorted(form.required):
        if not form.named.get(name):
            yield ObjectForm({name: NOTHING})
    if form.least > 0:
        yield ObjectForm(most=form.least - 1)
    if form.most is not None:
        yield ObjectForm(least=form.most + 1)


def negate_array(form: ArrayForm) -> Iterable[ArrayForm]:
    """The arrays outside of a form without uniqueness."""
    for index, ref in enumerate(form.prefix):
        for other in opposites(ref):
            yield ArrayForm((ANYTHING,) * index + (other,), least=index + 1)
    for other in opposites(form.tail):
        yield ArrayForm(counters=(Counter(other, 1, None, len(form.prefix)),))
    if form.least > 0:
        yield ArrayForm(most=form.least - 1)
    if form.most is not None:
        yield ArrayForm(least=form.most + 1)
    for counter in form.counters:
        if counter.least > 0:
            yield ArrayForm(counters=(Counter(counter.ref, 0, counter.least - 1, counter.start),))
        if counter.most is not None:
            yield ArrayForm(counters=(Counter(counter.ref, counter.most + 1, None, counter.start),))
