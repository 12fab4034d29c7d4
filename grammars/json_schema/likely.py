"""A text that a model may well write under a schema: its masks are made before they are asked for.

In: references. Out: JSON text with all names that a schema lists, in order, and short values. Nothing hangs on it: it
need not be valid where keywords depend on each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from grammars.automaton import DEAD
from grammars.json_schema.algebra import Algebra
from grammars.json_schema.emptiness import Emptiness
from grammars.json_schema.expressions import ARRAY, OBJECT, STRING
from grammars.json_schema.plans import ArrayPlan, ObjectPlan
from grammars.json_schema.refs import ANYTHING, Ref
from grammars.json_schema.strings import StringLexeme
from grammars.json_schema.texts import Texts

_DEEPEST = 8
_LONGEST = 4_000
"""Bytes of the text"""
_ITEMS = 2
_WORD = "a"


class LikelyText:
    """One for each machine."""

    def __init__(self, algebra: Algebra, emptiness: Emptiness, texts: Texts) -> None:
        self._algebra = algebra
        self._emptiness = emptiness
        self._texts = texts
        self._left = _LONGEST

    def of(self, ref: Ref, seconds: float) -> bytes:
        """A text for the values of a reference, or the beginning of one where finding it would take longer."""
        self._left, until, parts = _LONGEST, time.thread_time() + seconds, list[bytes]()
        for part in self._value(ref, _DEEPEST):
            parts.append(part)
            if time.thread_time() > until:
                break
        return b"".join(parts)

    def _value(self, ref: Ref, depth: int) -> Iterator[bytes]:
        """The parts of a text, in order; none of what follows where there is no room left."""
        if self._left <= 0:
            return
        types = self._algebra.possible_types(ref)
        if ref != ANYTHING and depth and types & (OBJECT | ARRAY):
            plan = self._container(ref, types)
            if plan is not None:
                parts = self._members if isinstance(plan, ObjectPlan) else self._items
                yield from parts(plan, depth - 1)  # type: ignore[arg-type]
                return
        text = self._scalar(ref, types)
        self._left -= len(text)
        yield text

    def _container(self, ref: Ref, types: int) -> ObjectPlan | ArrayPlan | None:
        for shape in self._algebra.objects(ref) if types & OBJECT else ():
            plan = self._emptiness.object_plan(shape)
            if self._emptiness.object_alive(plan, plan.start):
                return plan
        for form in self._algebra.arrays(ref) if types & ARRAY else ():
            row = self._emptiness.array_plan(form)
            if self._emptiness.array_alive(row, row.start):
                return row
        return None

    def _scalar(self, ref: Ref, types: int) -> bytes:
        if types & STRING:
            language = self._algebra.texts(ref)
            if language is None or self._may_be(self._texts.lexeme(language), _WORD):
                return f'"{_WORD}"'.encode()
        return self._emptiness.shortest(ref) or b""

    def _may_be(self, lexeme: StringLexeme, word: str) -> bool:
        state = lexeme.start
        for byte in f'{word}"'.encode():
            state = lexeme.step(state, byte) if state != DEAD else DEAD
        return state != DEAD

    def _members(self, plan: ObjectPlan, depth: int) -> Iterator[bytes]:
        yield b"{"
        between = b""
        for name in plan.names or (() if plan.form.patterns else (_WORD,)):
            ref = plan.value(plan.index[name]) if plan.names else plan.cell_value(frozenset())
            if not _has_text(name) or not self._emptiness.is_alive(ref):
                continue
            key = between + self._texts.key(name) + b" "
            between = b", "
            self._left -= len(key)
            if self._left <= 0:
                return
            yield key
            yield from self._value(ref, depth)
        yield b"}"

    def _items(self, plan: ArrayPlan, depth: int) -> Iterator[bytes]:
        most = _ITEMS if plan.form.most is None else min(_ITEMS, plan.form.most)
        items = [plan.form.item(place) for place in range(max(most, min(plan.form.least, len(plan.form.prefix))))]
        yield b"["
        for place, ref in enumerate(items):
            if not self._emptiness.is_alive(ref):
                break
            yield b", " if place else b""
            yield from self._value(ref, depth)
        yield b"]"


def _has_text(name: str) -> bool:
    """Whether a name holds no half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
