"""The sets of values of the scalar types, each closed under and, or and not.

Comes in: facts of expressions. Goes out: sets: bits for null, true and false, `Numerals`, `Language`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from grammars.json_schema.expressions import (
    BOOLEAN,
    NULL,
    NUMBER,
    STRING,
    Expression,
    NumberFact,
    OneOfValues,
    TextFact,
    Types,
)
from grammars.json_schema.numbers import NumberSet
from grammars.json_schema.numerals import Numerals
from grammars.json_schema.values import is_number
from grammars.regex import Language

V = TypeVar("V")


class Domain(Generic[V]):
    """The sets of values of one scalar type. `None` stands for all values: what is not constrained costs nothing."""

    bit: int
    empty: V

    def meet(self, left: V, right: V) -> V:
        raise NotImplementedError

    def join(self, left: V, right: V) -> V:
        raise NotImplementedError

    def complement(self, value: V) -> V:
        raise NotImplementedError

    def fact(self, expression: Expression) -> V | None:
        """What an expression without parts says about this type."""
        raise NotImplementedError


class Literals(Domain[int]):
    """null, true and false: three bits."""

    bit, empty = NULL | BOOLEAN, 0

    def meet(self, left: int, right: int) -> int:
        return left & right

    def join(self, left: int, right: int) -> int:
        return left | right

    def complement(self, value: int) -> int:
        return value ^ 7

    def fact(self, expression: Expression) -> int | None:
        if isinstance(expression, Types):
            return (1 if expression.bits & NULL else 0) | (6 if expression.bits & BOOLEAN else 0)
        if isinstance(expression, OneOfValues):
            held = [
                index for index, value in enumerate((None, True, False)) if any(v is value for v in expression.values)
            ]
            return sum(1 << index for index in held)
        return None


class Numbers(Domain[Numerals]):
    bit, empty = NUMBER, Numerals.of(NumberSet.none())

    def meet(self, left: Numerals, right: Numerals) -> Numerals:
        return left & right

    def join(self, left: Numerals, right: Numerals) -> Numerals:
        return left | right

    def complement(self, value: Numerals) -> Numerals:
        return ~value

    def fact(self, expression: Expression) -> Numerals | None:
        if isinstance(expression, Types):
            return None if expression.bits & NUMBER else self.empty
        if isinstance(expression, OneOfValues):
            return Numerals.of(NumberSet.of(value for value in expression.values if is_number(value)))
        return expression.numbers if isinstance(expression, NumberFact) else None


class Texts(Domain[Language]):
    bit = STRING

    def __init__(self) -> None:
        self.empty = Language.empty()

    def meet(self, left: Language, right: Language) -> Language:
        return left & right

    def join(self, left: Language, right: Language) -> Language:
        return left | right

    def complement(self, value: Language) -> Language:
        return ~value

    def fact(self, expression: Expression) -> Language | None:
        if isinstance(expression, Types):
            return None if expression.bits & STRING else self.empty
        if isinstance(expression, OneOfValues):
            texts = [value for value in expression.values if isinstance(value, str)]
            return Language.union(texts) if texts else self.empty
        return expression.language() if isinstance(expression, TextFact) else None
