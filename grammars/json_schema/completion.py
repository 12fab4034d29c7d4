"""Shortest completions of one array or object, as text. What is around it is the machine's business.

Comes in: plans and states. Goes out: texts, remembered.
"""

from __future__ import annotations

from collections.abc import Iterator

from grammars.json_schema.emptiness import Emptiness
from grammars.json_schema.names import NameCells
from grammars.json_schema.plans import ArrayPlan, Cell, ObjectPlan
from grammars.json_schema.refs import Ref
from grammars.json_schema.texts import Texts
from grammars.json_schema.values import loads

Plan = ArrayPlan | ObjectPlan


class Completion:
    """Asked only when a budget gets tight, or for a witness."""

    def __init__(self, emptiness: Emptiness, texts: Texts, cells: NameCells) -> None:
        self._emptiness = emptiness
        self._texts = texts
        self._cells = cells
        self._rests: dict[tuple[object, ...], bytes] = {}

    def value(self, ref: Ref) -> bytes:
        """A shortest text of a reference that holds values."""
        text = self._emptiness.shortest(ref)
        assert text is not None
        return text

    def rest(self, plan: Plan, state: tuple) -> bytes:
        """From after a member or item to the closing bracket."""
        key = (id(plan), state)
        text = self._rests.get(key)
        if text is None:
            parts = self._parts(plan, state)
            text = self._rests[key] = b"".join(b"," + part for part in parts) + _closer(plan)
        return text

    def first(self, plan: Plan, state: tuple) -> bytes:
        """From after the opening bracket to the closing one."""
        return b",".join(self._parts(plan, state)) + _closer(plan)

    def _parts(self, plan: Plan, state: tuple) -> list[bytes]:
        if isinstance(plan, ArrayPlan):
            parts = self._emptiness.array_rest(plan, state)
        else:
            parts = self._emptiness.object_rest(plan, state)
        assert parts is not None
        return parts

    def next_item(self, plan: ArrayPlan, state: tuple) -> Iterator[bytes]:
        """From before an item that must come to the closing bracket: the best for each way to go on."""
        for ref, after in plan.branches(state):
            text = self._emptiness.shortest(ref)
            if text is None:
                continue
            if plan.form.unique:  # the rest is told what this item is; one before it may still be unknown
                (constant,) = plan.algebra.constant(loads(text.decode()))
                known = plan.with_item(after, constant)
                after = (*known[:3], state[3], known[4])
            if self._emptiness.array_alive(plan, after):
                yield text + self.rest(plan, after)

    def next_member(self, plan: ObjectPlan, state: tuple) -> Iterator[bytes]:
        """From before a member that must come to the closing bracket."""
        parts = self._parts(plan, state)
        if parts:
            yield b",".join(parts) + _closer(plan)
            return
        names: list[tuple[str, int | None, Cell | str, Ref]] = [
            (name, number, name, plan.value(number))
            for number, name in enumerate(plan.names)
            if plan.may_follow(state, number)
        ]
        for cell in self._cells.of(frozenset(plan.names), plan.form.patterns):
            other = self._cells.shortest(plan, cell, state[5], state[4])
            if other is not None:
                names.append((other, None, other, plan.cell_value(cell)))
        for name, number, place, value in names:
            for ref, after in plan.steps(state, number, place, value, True):
                text = self._emptiness.shortest(ref)
                if text is not None and self._emptiness.object_alive(plan, after):
                    yield self._texts.key(name) + text + self.rest(plan, after)


def _closer(plan: Plan) -> bytes:
    return b"]" if isinstance(plan, ArrayPlan) else b"}"
