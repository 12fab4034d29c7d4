"""What stands for "the values of this schema" before anyone looks inside: a conjunction of signed schema numbers.

A *literal* is the number of a schema (see `schemas.Schemas`), negative for its complement. A `Ref` is a set of
literals, all of which must hold. References are cheap, hashable and lazy: nothing behind one is read until its values
are asked for.
"""

from __future__ import annotations

from typing import TypeAlias

Ref: TypeAlias = frozenset[int]

TRUE_NUMBER = 1
"""The schema `true`."""

ANYTHING: Ref = frozenset()
NOTHING: Ref = frozenset((-TRUE_NUMBER,))


def literal(number: int) -> Ref:
    """The reference made of one signed schema number."""
    return ANYTHING if number == TRUE_NUMBER else frozenset((number,))


def both(left: Ref, right: Ref) -> Ref:
    """The values that satisfy both references."""
    if not left or left == right:
        return right
    if not right:
        return left
    union = left | right
    if -TRUE_NUMBER in union or any(-number in union for number in right):
        return NOTHING
    return union


def opposites(ref: Ref) -> list[Ref]:
    """The complement of a reference, as a disjunction."""
    return [literal(-number) for number in sorted(ref)]
