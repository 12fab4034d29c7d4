"""Alternatives that others make superfluous: one that says all that another says, and more, adds no value to it.

Comes in: forms. Goes out: those of them that are needed. What negations leave behind often repeats itself; without
this, the alternatives of a `oneOf` over objects alike would multiply.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from typing import TypeVar

from grammars.json_schema.forms import ArrayForm, ObjectForm

Facts = frozenset[Hashable]
F = TypeVar("F", bound=ArrayForm | ObjectForm)


def without_absorbed(forms: tuple[F, ...]) -> tuple[F, ...]:
    """The forms, without those whose values another one has too. Forms that evaluate differently are kept apart."""
    length = max((len(form.prefix) for form in forms if isinstance(form, ArrayForm)), default=0)
    facts = [frozenset(_facts(form, length)) for form in forms]
    frequency = Counter(fact for each in facts for fact in each)
    kept_by_fact: dict[Hashable, list[int]] = defaultdict(list)
    """numbers of the forms that are kept, each by the rarest of its facts"""
    kept: list[int] = []
    for number in sorted(range(len(forms)), key=lambda n: _looseness(forms[n], facts[n])):
        rivals = (other for fact in (None, *facts[number]) for other in kept_by_fact.get(fact, ()))
        if any(facts[other] <= facts[number] and _bounds_within(forms[number], forms[other]) for other in rivals):
            continue
        kept.append(number)
        kept_by_fact[min(facts[number], key=frequency.__getitem__, default=None)].append(number)
    return tuple(forms[number] for number in sorted(kept))


def _facts(form: ArrayForm | ObjectForm, length: int) -> Iterator[Hashable]:
    """What the form says, but for its bounds and orders, in pieces that are true or not by themselves."""
    yield "evaluated", form.evaluated
    for constant in form.apart:
        yield "apart", constant
    if isinstance(form, ArrayForm):
        for index in range(length):
            for literal in form.item(index):
                yield index, literal
        for literal in form.tail:
            yield "tail", literal
        yield from form.counters
        if form.unique:
            yield "unique"
        return
    for name, ref in form.named.items():
        for literal in ref:
            yield "named", name, literal
    for rule in form.classes:
        yield "class", rule
    for name in form.required:
        yield "required", name
    for rule in form.needs:
        yield "need", rule


def _looseness(form: ArrayForm | ObjectForm, facts: Facts) -> tuple[float, ...]:
    """Less for a form that may absorb than for what it absorbs."""
    order = len(form.order) if isinstance(form, ObjectForm) else 0
    return len(facts), form.least, float("-inf") if form.most is None else -form.most, order


def _bounds_within(form: ArrayForm | ObjectForm, other: ArrayForm | ObjectForm) -> bool:
    """Whether bounds and order of `form` are within those of `other`."""
    if form.least < other.least or (other.most is not None and (form.most is None or form.most > other.most)):
        return False
    if isinstance(form, ObjectForm) and isinstance(other, ObjectForm):
        rest = iter(form.order)
        return all(name in rest for name in other.order)
    return True
