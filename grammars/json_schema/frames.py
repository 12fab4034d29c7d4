"""The open arrays and objects of a text, as sets of alternatives that run in parallel.

A value that is being written may have to answer several questions at once: its *goals*, a tuple of references, one
for each thing that an alternative further out still hopes for. A frame holds what is possible inside one array or
object:

    between values   alternatives (goal, plan, state): the plan that is being followed, for which goal of this value
    inside a value   the goals of that value, and alternatives (goal met by it, goal, plan, state after it)

When a value ends, the goals that it met are a set of bits, and the alternatives that hoped for others are gone. So
`anyOf`, `oneOf`, `contains` and their like need no look ahead and no backtracking. Every alternative in a frame can
be completed.

Comes in: plans. Goes out: frames by number, and the steps between them, each worked out once. Knows no bytes and no
stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grammars.json_schema.algebra import Algebra
from grammars.json_schema.emptiness import Emptiness
from grammars.json_schema.names import NameCells
from grammars.json_schema.plans import ArrayPlan, ArrayState, Cell, ObjectPlan, ObjectState
from grammars.json_schema.refs import Ref
from grammars.regex import Language

BLOCKED = 2
"""See `plans`: an item that may equal one that is not known yet."""

Goals = tuple[Ref, ...]
Name = str | Cell
"""A property name that some plan lists, or the cell of those that none does."""


@dataclass(eq=False)
class ObjectFrame:
    """An open object between its members.

    pending (in all frames): something was written that is not known yet. records: it will have to be known.
    settled: no item that must differ from others was completed without its being known.
    plain: the frame that has the same masks where a value is open in it.
    """

    alternatives: tuple[tuple[int, ObjectPlan, ObjectState], ...]
    number: int
    after_name: dict[Name, ValueFrame | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plain: Frame = self
        self.pending = any(state[5] for _, _, state in self.alternatives)
        self.records = False
        self.settled = True


@dataclass(eq=False)
class ArrayFrame:
    """An open array between its items. `item` is the frame inside the next one; None if no more may come."""

    alternatives: tuple[tuple[int, ArrayPlan, ArrayState], ...]
    number: int
    item: ValueFrame | bool | None = False

    def __post_init__(self) -> None:
        self.plain: Frame = self
        self.pending = any(state[3] for _, _, state in self.alternatives)
        self.records = False
        self.settled = not self.pending


@dataclass(eq=False)
class ValueFrame:
    """Inside a member or an item: what it is for."""

    is_object: bool
    goals: Goals
    waiting: tuple[tuple[int, int, Any, Any], ...]
    number: int
    after: dict[int, ObjectFrame | ArrayFrame | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.plain: Frame = self
        states = [state for _, _, plan, state in self.waiting if plan is not None]
        self.pending = self.is_object and any(state[5] for state in states)
        self.records = not self.is_object and any(state[3] for state in states)
        self.settled = self.is_object or all(state[3] < BLOCKED for state in states)


Frame = ObjectFrame | ArrayFrame | ValueFrame


class Frames:
    """All frames of one automaton, interned."""

    def __init__(self, algebra: Algebra, emptiness: Emptiness, cells: NameCells, remembers: bool) -> None:
        self.remembers = remembers
        self._algebra = algebra
        self._emptiness = emptiness
        self._cells = cells
        self._interned: dict[object, Frame] = {}
        self._names: dict[object, tuple[tuple[str, ...], Mapping[Cell, Language]]] = {}
        self.whole_names: frozenset[str] | None = None
        """the names that a single token can write behind a comma; None: not known"""

    @property
    def commas_part(self) -> bool:
        """Whether what may follow in an array or object can depend on what was written last and is not known yet."""
        return self._emptiness.tells_apart

    # -- interning -------------------------------------------------------------------------------

    def _object(self, alternatives: set[tuple[int, ObjectPlan, ObjectState]]) -> ObjectFrame:
        ordered = _sorted(alternatives)
        key = ("object", *ordered)
        frame = self._interned.get(key)
        if frame is None:
            frame = self._interned[key] = ObjectFrame(ordered, len(self._interned))
        assert isinstance(frame, ObjectFrame)
        return frame

    def _array(self, alternatives: set[tuple[int, ArrayPlan, ArrayState]]) -> ArrayFrame:
        ordered = _sorted(alternatives)
        key = ("array", *ordered)
        frame = self._interned.get(key)
        if frame is None:
            frame = self._interned[key] = ArrayFrame(ordered, len(self._interned))
        assert isinstance(frame, ArrayFrame)
        return frame

    def _value(self, is_object: bool, options: Sequence[tuple[Ref, int, object, object]]) -> ValueFrame:
        goals = tuple(dict.fromkeys(option[0] for option in options))
        rank = {ref: number for number, ref in enumerate(goals)}
        waiting = dict.fromkeys((rank[ref], goal, plan, state) for ref, goal, plan, state in options)
        return self._waiting(is_object, goals, tuple(waiting))

    def _waiting(self, is_object: bool, goals: Goals, waiting: tuple[tuple[int, int, Any, Any], ...]) -> ValueFrame:
        key = (is_object, goals, waiting)
        frame = self._interned.get(key)
        if frame is None:
            frame = self._interned[key] = ValueFrame(is_object, goals, waiting, len(self._interned))
            frame.plain = self._plain(frame) if is_object else frame
        assert isinstance(frame, ValueFrame)
        return frame

    def _plain(self, frame: ValueFrame) -> ValueFrame:
        """The frame that has the same masks while the value in it is being written.

        In a frame between members, a name that nobody lists is refused if it has been written. Inside the value of a
        member that is far away: only a token that writes the name from the comma to its closing quote could tell. So a
        map of a thousand objects needs the masks of one. Where patterns are told apart, names may run out: a comma
        can tell.
        """
        known = self.whole_names
        if known is None:
            return frame
        waiting = []
        for own, goal, plan, state in frame.waiting:
            if plan is None or plan.form.patterns:
                return frame
            others = tuple([name for name in state[4] if name in known])
            waiting.append((own, goal, plan, (*state[:4], others, *state[5:])))
        return self._waiting(True, frame.goals, tuple(dict.fromkeys(waiting)))

    # -- opening ---------------------------------------------------------------------------------

    def root(self, ref: Ref) -> ValueFrame:
        """The frame around the whole text."""
        return self._value(True, [(ref, 0, None, None)])

    def open_object(self, goals: Goals) -> ObjectFrame | None:
        """The frame after `{` of a value with these goals; None if none of them has objects."""
        found = set()
        for goal, ref in enumerate(goals):
            for form in self._algebra.objects(ref):
                plan = self._emptiness.object_plan(form)
                if self._emptiness.object_alive(plan, plan.start):
                    found.add((goal, plan, plan.start))
        return self._object(found) if found else None

    def open_array(self, goals: Goals) -> ArrayFrame | None:
        """The frame after `[`."""
        found = set()
        for goal, ref in enumerate(goals):
            for form in self._algebra.arrays(ref):
                plan = self._emptiness.array_plan(form)
                if self._emptiness.array_alive(plan, plan.start):
                    found.add((goal, plan, plan.start))
        return self._array(found) if found else None

    # -- steps -----------------------------------------------------------------------------------

    def item(self, frame: ArrayFrame) -> ValueFrame | None:
        """Inside the next item; None if there can be none."""
        if frame.item is False:
            options: list[tuple[Ref, int, object, object]] = []
            for goal, plan, state in frame.alternatives:
                for ref, after in plan.branches(state):
                    if self._emptiness.is_alive(ref) and self._emptiness.array_alive(plan, after):
                        options.append((ref, goal, plan, after))
            frame.item = self._value(False, options) if options else None
        assert not isinstance(frame.item, bool)
        return frame.item

    def member(self, frame: ObjectFrame, name: Name) -> ValueFrame | None:
        """Inside the value of a member of this name; None if there can be none."""
        if name not in frame.after_name:
            options = [
                (ref, goal, plan, after)
                for goal, plan, state in frame.alternatives
                for ref, after in self._member_branches(plan, state, name)
            ]
            frame.after_name[name] = self._value(True, options) if options else None
        return frame.after_name[name]

    def has_member(self, frame: ObjectFrame, name: Name) -> bool:
        """Whether there can be a member of this name; its frame is not made for that."""
        if name in frame.after_name:
            return frame.after_name[name] is not None
        return any(self._may_have(plan, state, name) for _, plan, state in frame.alternatives)

    def _may_have(self, plan: ObjectPlan, state: ObjectState, name: Name) -> bool:
        if not plan.is_plain or name in state[4]:
            return any(True for _ in self._member_branches(plan, state, name))
        if not isinstance(name, str):
            return self._emptiness.is_alive(plan.cell_value(name))
        number = plan.index.get(name)
        if number is None:
            return self._emptiness.is_alive(plan.other_value(name))
        return plan.may_follow(state, number) and self._emptiness.is_alive(plan.value(number))

    def _member_branches(self, plan: ObjectPlan, state: ObjectState, name: Name) -> Iterator[tuple[Ref, ObjectState]]:
        if plan.is_full(state):
            return
        number = plan.index.get(name) if isinstance(name, str) else None
        if name in state[4] or (state[5] and number is None and plan.counts_names):
            return
        if number is not None:
            if not plan.may_follow(state, number):
                return
            value = plan.value(number)
        else:
            value = plan.other_value(name) if isinstance(name, str) else plan.cell_value(name)
        for ref, after in plan.steps(state, number, name, value, self.remembers):
            if self._emptiness.is_alive(ref) and self._emptiness.object_alive(plan, after):
                yield ref, after

    def after_value(self, frame: ValueFrame, met: int) -> ObjectFrame | ArrayFrame | None:
        """Between values again, after one that met the goals of these bits; None if it may equal one not known yet."""
        if met not in frame.after:
            kept = {(goal, plan, state) for own, goal, plan, state in frame.waiting if met >> own & 1}
            if frame.is_object:
                frame.after[met] = self._object(kept)
            else:
                kept = {entry for entry in kept if entry[2][3] < BLOCKED}
                frame.after[met] = self._array(kept) if kept else None
        return frame.after[met]

    # -- memory ----------------------------------------------------------------------------------

    def with_name(self, frame: ValueFrame, name: str) -> ValueFrame:
        """The frame in which the name just written is known."""
        waiting = [(own, goal, plan, plan.with_name(state, name)) for own, goal, plan, state in frame.waiting]
        return self._waiting(True, frame.goals, tuple(dict.fromkeys(waiting)))

    def with_item(self, frame: ArrayFrame, value: Any) -> ArrayFrame:
        """The frame in which the item just written is known."""
        (constant,) = self._algebra.constant(value)
        known = {(goal, plan, plan.with_item(state, constant)) for goal, plan, state in frame.alternatives}
        return self._array(known)

    def met_by_closing(self, frame: ObjectFrame | ArrayFrame) -> int:
        """Bits of the goals that are met if the array or object ends here."""
        met = 0
        alternatives: tuple[tuple[int, Any, Any], ...] = frame.alternatives
        for goal, plan, state in alternatives:
            if plan.may_close(state):
                met |= 1 << goal
        return met

    # -- names -----------------------------------------------------------------------------------

    def names(self, frame: ObjectFrame) -> tuple[tuple[str, ...], Mapping[Cell, Language]]:
        """All names that the plans of a frame list, and the cells of the others with their languages."""
        key = tuple((plan.number, state[4]) for _, plan, state in frame.alternatives)
        found = self._names.get(key)
        if found is None:
            found = self._names[key] = self._find_names(frame)
        return found

    def listed(self, frame: ObjectFrame) -> Iterable[str]:
        """The names of plans that may come next, as far as a short look tells."""
        return dict.fromkeys(name for _, plan, state in frame.alternatives for name in plan.may_come(state))

    def _find_names(self, frame: ObjectFrame) -> tuple[tuple[str, ...], Mapping[Cell, Language]]:
        names = dict.fromkeys(name for _, plan, state in frame.alternatives for name in (*plan.names, *state[4]))
        patterns = frozenset().union(*(plan.form.patterns for _, plan, _ in frame.alternatives))
        return tuple(names), self._cells.of(frozenset(names), patterns)


def _sorted(alternatives: set) -> tuple:
    return tuple(sorted(alternatives, key=lambda entry: (entry[0], entry[1].number, entry[2])))
