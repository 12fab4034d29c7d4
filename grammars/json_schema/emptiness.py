"""Whether a reference holds any value, and a shortest one: the proof that a mask is allowed to trust.

A value of a schema needs values of others; the shortest texts are the least solution of that system of equations,
found by improving from "none" until nothing changes (Knuth 1977, *A generalization of Dijkstra's algorithm*). A
recursive schema without finite instance never gets a text, so it is empty. Only what the question needs is looked at.

Comes in: references, plans and their states. Goes out: compact JSON texts, or None.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import TypeVar

from grammars.errors import ConstraintLimitError
from grammars.json_schema.algebra import Algebra
from grammars.json_schema.distinct import Distinct
from grammars.json_schema.expressions import ARRAY, BOOLEAN, NULL, NUMBER, OBJECT, STRING
from grammars.json_schema.forms import ArrayForm, ObjectForm
from grammars.json_schema.names import NameCells
from grammars.json_schema.plans import ArrayPlan, ArrayState, Cell, ObjectPlan, ObjectState
from grammars.json_schema.refs import NOTHING, Ref, both
from grammars.json_schema.texts import Texts

MAX_STEPS = 200_000
"""Work that one question may take."""

MAX_CHOICES = 50_000
"""Ways to meet the needs of one object that are tried."""

MAX_TEXT = 1 << 20
"""Bytes of the longest shortest text."""

Value = Callable[[Ref], bytes | None]
T = TypeVar("T")

_LITERALS = ((1, b"null"), (2, b"true"), (4, b"false"))


class Emptiness:
    """Shortest texts by reference. `plan` and `array_plan` are shared with the machine that runs the plans."""

    def __init__(self, algebra: Algebra, texts: Texts, cells: NameCells, fixed_order: bool) -> None:
        self._algebra = algebra
        self._texts = texts
        self._cells = cells
        self._fixed_order = fixed_order
        self._object_plans: dict[object, ObjectPlan] = {}
        self._array_plans: dict[object, ArrayPlan] = {}
        self.tells_apart = False
        """whether items must differ, or names be counted, in some array or object that has been looked at"""
        self._shortest: dict[Ref, bytes | None] = {frozenset(): b"0", NOTHING: None}
        self._distinct = Distinct(algebra, self)
        self._alive: dict[Ref, bool] = {frozenset(): True, NOTHING: False}
        self._choices = 0

    # -- plans -----------------------------------------------------------------------------------

    def object_plan(self, form: ObjectForm) -> ObjectPlan:
        plan = self._object_plans.get(form.key)
        if plan is None:
            ordered = len(form.order) if self._fixed_order else 0
            plan = self._object_plans[form.key] = ObjectPlan(form, self._algebra, ordered, len(self._object_plans))
            self.tells_apart |= plan.counts_names
        return plan

    def array_plan(self, form: ArrayForm) -> ArrayPlan:
        plan = self._array_plans.get(form.key)
        if plan is None:
            self.tells_apart |= form.unique
            plan = self._array_plans[form.key] = ArrayPlan(
                form, self._algebra, len(self._array_plans), self._distinct.excluded, self._distinct.one_by_one
            )
        return plan

    # -- questions -------------------------------------------------------------------------------

    def is_alive(self, ref: Ref) -> bool:
        """Whether a reference holds a value."""
        found = self._alive.get(ref)
        if found is None:
            _solve(ref, self._any_text, self._alive, False, lambda text: text is not None)
            found = self._alive[ref]
        return found

    def shortest(self, ref: Ref) -> bytes | None:
        """A shortest text of a reference, None if it holds no value."""
        if ref not in self._shortest:
            _solve(ref, self._best_text, self._shortest, None, lambda text: text)
        return self._shortest[ref]

    def _token(self, ref: Ref) -> bytes | None:
        return b"0" if self.is_alive(ref) else None

    def object_alive(self, plan: ObjectPlan, state: ObjectState) -> bool:
        """Whether an object can be completed from a state."""
        if plan.may_close(state):
            return True
        if not state[3] and not state[6]:
            missing = plan.missing(state)
            count = state[2] + missing.bit_count()
            if plan.form.least <= count:  # nothing more is needed than what is missing
                within = plan.form.most is None or count <= plan.form.most
                return within and all(self.is_alive(plan.value(number)) for number in plan.numbers(missing))
        return self.members(plan, state, self._token, False) is not None

    def object_rest(self, plan: ObjectPlan, state: ObjectState) -> list[bytes] | None:
        """The members of a shortest completion."""
        return self.members(plan, state, self.shortest, True)

    def array_alive(self, plan: ArrayPlan, state: ArrayState) -> bool:
        if plan.may_close(state):
            return True
        return self.items(plan, state, self._token, False) is not None

    def array_rest(self, plan: ArrayPlan, state: ArrayState) -> list[bytes] | None:
        """The items of a shortest completion."""
        return self.items(plan, state, self.shortest, True)

    # -- equations -------------------------------------------------------------------------------

    def _scalars(self, ref: Ref) -> Iterable[bytes]:
        """The shortest text of each scalar type."""
        bits = self._algebra.possible_types(ref)
        if bits & NUMBER:
            numbers = self._algebra.numbers(ref)
            if not numbers.is_empty():
                yield self._texts.shortest_number(numbers)
        if bits & STRING:
            texts = self._algebra.texts(ref)
            if texts is None or not texts.is_empty():
                yield self._texts.shortest_string(texts)
        if bits & (NULL | BOOLEAN):
            found = self._algebra.literals(ref)
            for bit, text in _LITERALS:
                if found & bit:
                    yield text

    def _any_text(self, ref: Ref, alive: Callable[[Ref], bool]) -> bytes | None:
        """Some text, if values of the references asked about are there."""
        if self._has_scalar(ref):
            return b"0"

        def value(part: Ref) -> bytes | None:
            return b"0" if alive(part) else None

        return next(iter(self._containers(ref, value, False)), None)

    def _has_scalar(self, ref: Ref) -> bool:
        bits = self._algebra.possible_types(ref)
        if bits & (NULL | BOOLEAN) and self._algebra.literals(ref):
            return True
        if bits & STRING:
            texts = self._algebra.texts(ref)
            if texts is None or not texts.is_empty():
                return True
        return bool(bits & NUMBER) and not self._algebra.numbers(ref).is_empty()

    def _best_text(self, ref: Ref, value: Value) -> bytes | None:
        options = [*self._scalars(ref), *self._containers(ref, value, True)]
        return min(options, key=_size, default=None)

    def _containers(self, ref: Ref, value: Value, best: bool) -> Iterable[bytes]:
        bits = self._algebra.possible_types(ref)
        if bits & ARRAY:
            for form in self._algebra.arrays(ref):
                plan = self.array_plan(form)
                items = self.items(plan, plan.start, value, best)
                if items is not None:
                    yield b"[" + _joined(items) + b"]"
        if bits & OBJECT:
            for shape in self._algebra.objects(ref):
                whole = self.object_plan(shape)
                members = self.members(whole, whole.start, value, best)
                if members is not None:
                    yield b"{" + _joined(members) + b"}"

    # -- arrays ----------------------------------------------------------------------------------

    def items(self, plan: ArrayPlan, state: ArrayState, value: Value, best: bool) -> list[bytes] | None:
        """The items of a cheapest completion of an array; of any one, unless `best`."""
        if plan.may_close(state):
            return []
        if plan.form.unique and not state[4]:
            return self._distinct.items(plan, state, value, best)
        if not plan.form.counters and not state[4]:
            return self._plain_items(plan, state, value)
        queue: list[tuple[int, tuple[bytes, ...], bool, ArrayState]] = [(0, (), False, state)]
        done: set[ArrayState] = set()
        while queue:
            cost, items, complete, here = heapq.heappop(queue)
            if complete or plan.may_close(here):
                return list(items)
            if here in done:
                continue
            done.add(here)
            if len(done) > MAX_STEPS:
                raise ConstraintLimitError("an array's `contains` takes too long to satisfy")
            if plan.form.unique and not here[4]:  # nothing is left to keep apart from but the other items
                rest = self._distinct.items(plan, here, value, best)
                if rest is not None:
                    heapq.heappush(queue, (cost + _total(rest), (*items, *rest), True, here))
                continue
            for ref, after in plan.branches(here):
                text = value(ref) if after not in done else None
                if text is not None:
                    heapq.heappush(queue, (cost + len(text) + 1, (*items, text), False, after))
        return None

    def _plain_items(self, plan: ArrayPlan, state: ArrayState, value: Value) -> list[bytes] | None:
        form, index = plan.form, state[0]
        if form.most is not None and form.least > form.most:
            return None
        items = []
        for position in range(index, min(form.least, max(len(form.prefix), index))):
            text = value(form.item(position))
            if text is None:
                return None
            items.append(text)
        missing = form.least - index - len(items)
        if missing > 0:
            text = value(form.tail)
            if text is None:
                return None
            if missing > MAX_STEPS:
                raise ConstraintLimitError(f"minItems: {form.least} items are more than can be planned for")
            items += [text] * missing
        return items

    # -- objects ---------------------------------------------------------------------------------

    def members(self, plan: ObjectPlan, state: ObjectState, value: Value, best: bool) -> list[bytes] | None:
        """The members of a cheapest completion of an object; of any one, unless `best`."""
        missing = plan.missing(state)
        chosen = {number: plan.value(number) for number in plan.numbers(missing)}
        if not state[3]:
            return self._filled(plan, state, chosen, [], value)
        self._choices = 0
        return self._with_needs(plan, state, chosen, [], state[3], value, best)

    def _with_needs(
        self,
        plan: ObjectPlan,
        state: ObjectState,
        chosen: dict[int, Ref],
        others: list[tuple[Cell, Ref]],
        needs: int,
        value: Value,
        best: bool,
    ) -> list[bytes] | None:
        """Meet the needs one by one: by a member already chosen, another listed name, or a further name."""
        if not needs:
            return self._filled(plan, state, chosen, others, value)
        self._choices += 1
        if self._choices > MAX_CHOICES:
            raise ConstraintLimitError(f"an object can meet what is asked of it in more than {MAX_CHOICES} ways")
        bit = (needs & -needs).bit_length() - 1
        group, wanted = plan.form.needs[bit]
        rest, found = needs & (needs - 1), list[list[bytes]]()
        for number, name in enumerate(plan.names):
            if not group.has(name, self._algebra.matches) or not self._available(plan, state, number):
                continue
            ref = both(chosen.get(number, plan.value(number)), wanted)
            if value(ref) is not None:
                met = self._with_needs(plan, state, {**chosen, number: ref}, others, rest, value, best)
                if met is not None:
                    found.append(met)
            if found and not best:
                return found[0]
        for cell in self._cells.of(frozenset(plan.names), plan.form.patterns):
            if not group.has_cell(cell):
                continue
            options = [(*others, (cell, both(plan.cell_value(cell), wanted)))]
            for place, (other, ref) in enumerate(others):
                if other == cell:
                    options.append((*others[:place], (cell, both(ref, wanted)), *others[place + 1 :]))
            for option in options:
                if all(value(ref) is not None for _, ref in option):
                    met = self._with_needs(plan, state, chosen, list(option), rest, value, best)
                    if met is not None:
                        found.append(met)
                if found and not best:
                    return found[0]
        return min(found, key=_total, default=None)

    def _available(self, plan: ObjectPlan, state: ObjectState, number: int) -> bool:
        """Whether a listed name can still be written at some time."""
        position, seen = state[:2]
        return number >= position if number < plan.ordered else not seen >> number & 1

    def _filled(
        self,
        plan: ObjectPlan,
        state: ObjectState,
        chosen: dict[int, Ref],
        others: list[tuple[Cell, Ref]],
        value: Value,
    ) -> list[bytes] | None:
        """The chosen members and as many more as the least count asks for, as texts in a right order."""
        count = state[2] + len(chosen) + len(others)
        lacking = max(0, plan.form.least - count)
        if plan.form.most is not None and count + lacking > plan.form.most:
            return None
        if state[6] and not others:
            return self._apart(plan, state, chosen, lacking, value)
        listed: dict[int, bytes] = {}
        for number, ref in chosen.items():
            text = value(ref)
            if text is None:
                return None
            listed[number] = self._texts.key(plan.names[number]) + text
        used: dict[Cell, int] = {}
        extra: list[bytes] = []
        for cell, ref in others:
            text, name = value(ref), self._cells.shortest(plan, cell, used.get(cell, 0) + state[5], state[4])
            if text is None or name is None:
                return None
            used[cell] = used.get(cell, 0) + 1
            extra.append(self._texts.key(name) + text)
        if lacking:
            options = self._fillers(plan, state, listed, used, lacking, value)
            if len(options) < lacking:
                return None
            for _, place, text in sorted(options, key=lambda option: option[0])[:lacking]:
                if place is None:
                    extra.append(text)
                else:
                    listed[place] = text
        return [listed[number] for number in sorted(listed)] + extra

    def _apart(
        self, plan: ObjectPlan, state: ObjectState, chosen: dict[int, Ref], lacking: int, value: Value
    ) -> list[bytes] | None:
        """The chosen members, with others if need be, so that they are not equal to a constant."""
        free = [n for n in range(len(plan.names)) if n not in chosen and self._available(plan, state, n)]
        free = [number for number in free if value(plan.value(number)) is not None]
        found = []
        room = len(plan.names) + 1 if plan.form.most is None else plan.form.most - state[2] - len(chosen)
        for extra in ([], *([number] for number in free), free):
            if lacking <= len(extra) <= room:
                texts = self._differing(plan, state, {**chosen, **{n: plan.value(n) for n in extra}}, value)
                if texts is not None:
                    found.append(texts)
        plain = (*state[:6], ())
        for cell in self._cells.of(frozenset(plan.names), plan.form.patterns):
            if room > 0 and value(plan.cell_value(cell)) is not None:
                texts = self._filled(plan, plain, chosen, [(cell, plan.cell_value(cell))], value)
                if texts is not None:
                    found.append(texts)
        return min(found, key=_total, default=None)

    def _differing(
        self, plan: ObjectPlan, state: ObjectState, chosen: dict[int, Ref], value: Value
    ) -> list[bytes] | None:
        """Exactly the chosen members, not equal to a constant."""
        rivals = {constant: plan.unwritten(state, constant) for constant in state[6]}
        rivals = {constant: parts for constant, parts in rivals.items() if parts.keys() == chosen.keys()}
        texts = self._values_apart(sorted(chosen.items()), list(rivals.values()), value)
        if texts is None:
            return None
        return [self._texts.key(plan.names[number]) + text for number, text in zip(sorted(chosen), texts, strict=True)]

    def _values_apart(
        self, members: list[tuple[int, Ref]], rivals: list[dict[int, int]], value: Value
    ) -> list[bytes] | None:
        """A value for each member; not all of them those of any rival."""
        if not members:
            return None if rivals else []
        (number, ref), rest = members[0], members[1:]
        groups: dict[int, list[dict[int, int]]] = {}
        for rival in rivals:
            groups.setdefault(rival[number], []).append(rival)
        options = [(both(ref, frozenset((part,))), same) for part, same in groups.items()]
        options.insert(0, (both(ref, frozenset(-part for part in groups)), []))
        found = []
        for own, left in options:
            text = value(own)
            others = self._values_apart(rest, left, value) if text is not None else None
            if text is not None and others is not None:
                found.append([text, *others])
        return min(found, key=_total, default=None)

    def _fillers(
        self,
        plan: ObjectPlan,
        state: ObjectState,
        listed: dict[int, bytes],
        used: dict[Cell, int],
        lacking: int,
        value: Value,
    ) -> list[tuple[int, int | None, bytes]]:
        """(size, listed name, text) of members that could be added."""
        options: list[tuple[int, int | None, bytes]] = []
        for number, name in enumerate(plan.names):
            if number not in listed and self._available(plan, state, number):
                text = value(plan.value(number))
                if text is not None:
                    member = self._texts.key(name) + text
                    options.append((len(member), number, member))
        if lacking > MAX_STEPS:
            raise ConstraintLimitError(f"minProperties: {plan.form.least} are more than can be planned for")
        for cell in self._cells.of(frozenset(plan.names), plan.form.patterns):
            text = value(plan.cell_value(cell))
            for rank in range(used.get(cell, 0), used.get(cell, 0) + lacking if text is not None else 0):
                other = self._cells.shortest(plan, cell, rank + state[5], state[4])
                if other is None:
                    break
                member = self._texts.key(other) + (text or b"")
                options.append((len(member), None, member))
        return options


def _joined(parts: list[bytes]) -> bytes:
    if _total(parts) > MAX_TEXT:
        raise ConstraintLimitError(f"the shortest value that is valid takes more than {MAX_TEXT} bytes")
    return b",".join(parts)


def _size(text: bytes) -> tuple[int, bytes]:
    return len(text), text


def _total(texts: list[bytes]) -> int:
    return sum(map(len, texts)) + len(texts)


def _solve(
    ref: Ref,
    equation: Callable[[Ref, Callable[[Ref], T]], bytes | None],
    known: dict[Ref, T],
    nothing: T,
    made: Callable[[bytes | None], T],
) -> None:
    """Solve for `ref` and all that it turns out to need; add the answers to `known`."""
    values: dict[Ref, T] = {ref: nothing}
    users: dict[Ref, set[Ref]] = {ref: set()}
    queue = [ref]
    steps = 0
    while queue:
        here = queue.pop()
        steps += 1
        if steps > MAX_STEPS:
            raise ConstraintLimitError("whether the schema can be satisfied takes too long to find out")

        def ask(part: Ref, here: Ref = here) -> T:
            if part in known:
                return known[part]
            if part not in values:
                values[part] = nothing
                users[part] = set()
                queue.append(part)
            users[part].add(here)
            return values[part]

        better = made(equation(here, ask))
        if better != values[here] and better != nothing:
            values[here] = better
            queue.extend(users[here])
    known.update(values)
