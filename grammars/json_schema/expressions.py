"""What a schema says, as a Boolean expression over facts of one JSON type each.

A fact about strings says nothing about values of other types: it is true of them. So an expression can be evaluated for
each type by itself, in that type's own algebra (see `algebra`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from grammars.json_schema.forms import ArrayForm, ObjectForm
from grammars.json_schema.numerals import Numerals
from grammars.json_schema.refs import Ref
from grammars.regex import Language

NULL, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT = (1 << bit for bit in range(6))
EVERY_TYPE = 63


@dataclass(frozen=True, eq=False, slots=True)
class Types:
    """The value's type is one of these bits."""

    bits: int


@dataclass(frozen=True, eq=False, slots=True)
class NumberFact:
    """A number is in this set."""

    numbers: Numerals


@dataclass(frozen=True, eq=False, slots=True)
class TextFact:
    """A string is in this language, which is made when it is first asked for.

    whole: where `language` is but a part of what is meant, a language that holds all of it. What is outside of the fact
    is outside of that.
    """

    language: Callable[[], Language]
    whole: Callable[[], Language] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class ArrayFact:
    """An array is of this form."""

    form: ArrayForm


@dataclass(frozen=True, eq=False, slots=True)
class ObjectFact:
    """An object is of this form."""

    form: ObjectForm


@dataclass(frozen=True, eq=False, slots=True)
class NameFact:
    """All names of an object are strings of `ref`."""

    ref: Ref


@dataclass(frozen=True, eq=False, slots=True)
class OneOfValues:
    """The value is one of these: `enum`, `const`."""

    values: tuple[Any, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Every:
    """All parts hold."""

    parts: tuple[Expression, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Some:
    """At least one part holds."""

    parts: tuple[Expression, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class ExactlyOne:
    """One part holds, no other."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Negation:
    """The part does not hold."""

    part: Expression


@dataclass(frozen=True, eq=False, slots=True)
class Condition:
    """If the first holds, so does the second, else the third. The first leaves its annotations where it holds."""

    test: Expression
    then: Expression
    otherwise: Expression


@dataclass(frozen=True, eq=False, slots=True)
class SchemaRef:
    """The schema of this number, about the same value."""

    number: int
    path: str


@dataclass(frozen=True, eq=False, slots=True)
class Leftover:
    """`base` holds, and members (`kind` OBJECT) or items (ARRAY) that it leaves unevaluated are in `ref`."""

    base: Expression
    kind: int
    ref: Ref


Expression: TypeAlias = (
    Types
    | NumberFact
    | TextFact
    | ArrayFact
    | ObjectFact
    | NameFact
    | OneOfValues
    | Every
    | Some
    | ExactlyOne
    | Negation
    | Condition
    | SchemaRef
    | Leftover
)

ALWAYS = Every()
NEVER = Some()


def fact_type(fact: Expression) -> int:
    """The type that a fact is about."""
    if isinstance(fact, NumberFact):
        return NUMBER
    if isinstance(fact, TextFact):
        return STRING
    return ARRAY if isinstance(fact, ArrayFact) else OBJECT


@dataclass(frozen=True, slots=True)
class Enforced:
    """One line of the report: what is done about a keyword. `how`: "exact" or "annotation"."""

    path: str
    keyword: str
    how: str
