"""Texts that a model may well write under a schema: their masks are made before they are asked for.

In: references. Out: JSON texts with all names that a schema lists, in order, and plain values; where a schema leaves a
choice, each text takes another one. Nothing hangs on them: they need not be valid where keywords depend on each other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

from grammars.automaton import DEAD
from grammars.json_schema.algebra import Algebra
from grammars.json_schema.emptiness import Emptiness
from grammars.json_schema.expressions import ARRAY, NUMBER, OBJECT, STRING
from grammars.json_schema.forms import ObjectForm
from grammars.json_schema.plans import ArrayPlan, ObjectPlan
from grammars.json_schema.refs import ANYTHING, Ref
from grammars.json_schema.strings import StringLexeme
from grammars.json_schema.texts import Texts

_TURNS = 2
"""Choices of which each has a text of its own"""
_DEEPEST = 8
_LONGEST = 4_000
"""Bytes of a text"""
_ITEMS = 2
_WORDS = ("a", "Some text", "2024-01-01")
_NUMBERS = (b"10", b"1.5")

Option = TypeVar("Option")


class _Enough(Exception):
    """The text is long enough, or took long enough."""


class LikelyText:
    """One for each machine."""

    def __init__(self, algebra: Algebra, emptiness: Emptiness, texts: Texts) -> None:
        self._algebra = algebra
        self._emptiness = emptiness
        self._texts = texts
        self._turn = 0
        self._parts: list[bytes] = []
        self._left = _LONGEST
        self._until = 0.0

    def of(self, ref: Ref, until: float) -> Iterator[bytes]:
        """Texts for the values of a reference, the likeliest first, or the beginnings of some.

        until: of `time.thread_time()`; half of what is left until then may be taken for each.
        """
        seen: set[bytes] = set()
        for self._turn in range(_TURNS):
            text = self._text(ref, (time.thread_time() + until) / 2)
            if text not in seen:
                seen.add(text)
                yield text

    def _text(self, ref: Ref, until: float) -> bytes:
        self._parts, self._left, self._until = [], _LONGEST, until
        with suppress(_Enough):
            self._value(ref, _DEEPEST)
        return b"".join(self._parts)

    def _write(self, part: bytes) -> None:
        self._parts.append(part)
        self._left -= len(part)
        if self._left <= 0 or time.thread_time() > self._until:
            raise _Enough

    def _rotated(self, options: Sequence[Option]) -> Sequence[Option]:
        """The options in the order of preference of this turn."""
        first = self._turn % len(options) if options else 0
        return (*options[first:], *options[:first])

    def _value(self, ref: Ref, depth: int) -> None:
        types = self._algebra.possible_types(ref)
        if ref != ANYTHING and depth and types & (OBJECT | ARRAY):
            plan = self._container(ref, types)
            if isinstance(plan, ObjectPlan):
                return self._members(plan, depth - 1)
            if plan is not None:
                return self._items(plan, depth - 1)
        return self._write(self._scalar(ref, types))

    def _container(self, ref: Ref, types: int) -> ObjectPlan | ArrayPlan | None:
        """A plan of an object or an array; None: a scalar, because there is nothing else or it has its turn."""
        objects = self._algebra.objects(ref) if types & OBJECT else ()
        arrays = self._algebra.arrays(ref) if types & ARRAY else ()
        scalar = (None,) if types & ~(OBJECT | ARRAY) else ()
        for option in self._rotated((*objects, *arrays, *scalar)):
            if option is None:
                break
            if isinstance(option, ObjectForm):
                plan = self._emptiness.object_plan(option)
                if self._emptiness.object_alive(plan, plan.start):
                    return plan
            else:
                row = self._emptiness.array_plan(option)
                if self._emptiness.array_alive(row, row.start):
                    return row
        return None

    def _scalar(self, ref: Ref, types: int) -> bytes:
        for kind in self._rotated([kind for kind in (STRING, NUMBER) if types & kind]):
            text = self._string(ref) if kind == STRING else self._number(ref)
            if text is not None:
                return text
        return self._emptiness.shortest(ref) or b""

    def _string(self, ref: Ref) -> bytes | None:
        language = self._algebra.texts(ref)
        words = None if language is None else language.words
        if words and _has_text(word := words[self._turn % len(words)]):
            return json.dumps(word, ensure_ascii=False).encode()
        for word in self._rotated(_WORDS):
            if language is None or self._may_be(self._texts.lexeme(language), word):
                return f'"{word}"'.encode()
        return None

    def _number(self, ref: Ref) -> bytes | None:
        language = self._algebra.numbers(ref).language()
        return next((text for text in self._rotated(_NUMBERS) if language.accepts(text)), None)

    def _may_be(self, lexeme: StringLexeme, word: str) -> bool:
        state = lexeme.start
        for byte in f'{word}"'.encode():
            state = lexeme.step(state, byte) if state != DEAD else DEAD
        return state != DEAD

    def _members(self, plan: ObjectPlan, depth: int) -> None:
        before = b"{"
        for name in plan.names or (() if plan.form.patterns else (_WORDS[0],)):
            ref = plan.value(plan.index[name]) if plan.names else plan.cell_value(frozenset())
            if _has_text(name) and self._emptiness.is_alive(ref):
                self._write(before + self._texts.key(name) + b" ")
                self._value(ref, depth)
                before = b", "
        self._write(b"}" if before == b", " else b"{}")

    def _items(self, plan: ArrayPlan, depth: int) -> None:
        most = _ITEMS if plan.form.most is None else min(_ITEMS, plan.form.most)
        self._write(b"[")
        for place in range(max(most, min(plan.form.least, len(plan.form.prefix)))):
            ref = plan.form.item(place)
            if not self._emptiness.is_alive(ref):
                break
            if place:
                self._write(b", ")
            self._value(ref, depth)
        self._write(b"]")


def _has_text(name: str) -> bool:
    """Whether a name holds no half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
