"""Items that must differ: whether there are enough values for them, and which value one of them must leave to the
others.

Most references have more values than anyone can ask for; then nothing needs to be counted. Where values are few, they
are listed: items are matched with them (a system of distinct representatives: Hall 1935), and each value that an item
may take is a goal of its own, so that it is known which one was written.

Comes in: array plans with `unique`. Goes out: items, the values that one may take, or those that it must not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from grammars.errors import UnsupportedConstraintError
from grammars.json_schema.algebra import Algebra
from grammars.json_schema.expressions import ARRAY, EVERY_TYPE, NUMBER, OBJECT, STRING
from grammars.json_schema.refs import ANYTHING, NOTHING, Ref, both, opposites
from grammars.json_schema.values import loads

if TYPE_CHECKING:
    from grammars.json_schema.emptiness import Emptiness
    from grammars.json_schema.plans import ArrayPlan, ArrayState

MAX_LISTED = 1000
"""Values that are listed at most, for one array."""
MAX_FEW = 64
"""Values that are told apart while they are written. Where there are more, the text has to tell (see `memory`)."""
_DEPTH = 4


class Distinct:
    """Questions about unique items."""

    def __init__(self, algebra: Algebra, emptiness: Emptiness) -> None:
        self._algebra = algebra
        self._emptiness = emptiness
        self._endless: dict[Ref, bool] = {}
        self._few: dict[Ref, tuple[int, ...] | None] = {}
        self._excluded: dict[tuple[int, object], Ref] = {}

    def items(
        self, plan: ArrayPlan, state: ArrayState, value: Callable[[Ref], bytes | None], best: bool
    ) -> list[bytes] | None:
        """Items that complete an array in which all must differ, none if there are none; short ones, if `best`."""
        wanted = self._wanted(plan, state)
        if wanted is None:
            return None
        if len(wanted) == 1 or all(self._has(ref, len(wanted)) for ref in wanted):
            if best:
                return self._one_by_one(wanted, value)
            texts = [value(ref) for ref in dict.fromkeys(wanted)]
            return None if None in texts else [b"0"] * len(wanted)
        lists = [self._listed(ref, len(wanted)) for ref in wanted]
        chosen = _matched(lists)
        return None if chosen is None else [lists[place][rank] for place, rank in enumerate(chosen)]

    def _wanted(self, plan: ArrayPlan, state: ArrayState) -> list[Ref] | None:
        """The references of the items still needed; more by one if the last one is not known yet."""
        index, counts, seen, unknown, _ = state
        form = plan.form
        if form.counters and any(count < c.least for c, count in zip(form.counters, counts, strict=True)):
            return self._wanted_by_counters(plan, state)
        apart = self._algebra.none_of(seen)
        refs = [both(form.item(place), apart) for place in range(index, form.least)]
        if len(refs) > MAX_LISTED:
            raise UnsupportedConstraintError(f"uniqueItems with minItems above {MAX_LISTED}")
        if form.most is not None and form.least > form.most:
            return None
        refs = self._capped(plan, state, refs)
        if unknown and refs:
            refs.append(refs[-1])
        return refs

    def _capped(self, plan: ArrayPlan, state: ArrayState, refs: list[Ref]) -> list[Ref]:
        """The references, where `maxContains` lets only so many count: the first ones do, the others must not."""
        for counter, count in zip(plan.form.counters, state[1], strict=True):
            left = len(refs) if counter.most is None else max(0, counter.most - count)
            if len(refs) <= left:
                continue
            others = opposites(counter.ref)
            if len(others) > 1 or counter.start > state[0] or len(plan.form.prefix) > state[0] + left:
                raise UnsupportedConstraintError("uniqueItems next to maxContains, where items differ by their place")
            refs = refs[:left] + [both(ref, others[0] if others else NOTHING) for ref in refs[left:]]
        return refs

    def _wanted_by_counters(self, plan: ArrayPlan, state: ArrayState) -> list[Ref] | None:
        """The same where `contains` asks for more; only where values abound, so that nothing has to be counted."""
        index, counts, seen, unknown, _ = state
        form = plan.form
        (counter,), (count,) = form.counters[:1], counts[:1]
        places = range(index, max(form.least, index + counter.least - count))
        apart = self._algebra.none_of(seen)
        counted = [counter.ref if n - index < counter.least - count else ANYTHING for n in places]
        refs = [both(both(form.item(n), apart), ref) for n, ref in zip(places, counted, strict=True)]
        if len(form.counters) > 1 or not all(self.has_many(ref) for ref in refs) or counter.start > index:
            raise UnsupportedConstraintError("uniqueItems next to contains, where values are few")
        if form.most is not None and places.stop > form.most:
            return None
        refs = self._capped(plan, state, refs)
        return refs + refs[-1:] * unknown

    def _one_by_one(self, refs: list[Ref], value: Callable[[Ref], bytes | None]) -> list[bytes] | None:
        """Each item the shortest that differs from those before."""
        items: list[bytes] = []
        for ref in refs:
            text = value(ref)
            if text is not None and text in items:
                text = self._plain(ref, items) or value(both(ref, self._apart(items)))
            if text is None:
                return None
            items.append(text)
        return items

    def _plain(self, ref: Ref, items: list[bytes]) -> bytes | None:
        """A short integer of a reference that is none of the items, without building the set of what is left."""
        numbers, used = self._algebra.numbers(ref).plain, set(items)
        found = (n for n in range(2 * MAX_LISTED) if b"%d" % n not in used and numbers.contains(n))
        number = next(found, None)
        return None if number is None else b"%d" % number

    def _apart(self, texts: list[bytes]) -> Ref:
        """Values that differ from all of these."""
        numbers = {number for text in texts for number in self._algebra.constant(loads(text.decode()))}
        return self._algebra.none_of(sorted(numbers))

    def excluded(self, plan: ArrayPlan, state: ArrayState) -> Ref:
        """What the next item must not be, so that all later ones still find a value."""
        key = (plan.number, state)
        found = self._excluded.get(key)
        if found is None:
            found = self._excluded[key] = self._find_excluded(plan, state)
        return found

    def _find_excluded(self, plan: ArrayPlan, state: ArrayState) -> Ref:
        if state[3]:
            return both(self._unspoilt(plan, state), self._left_over(plan, state))
        return self._left_over(plan, state)

    def _unspoilt(self, plan: ArrayPlan, state: ArrayState) -> Ref:
        """The types that the next item may have while the one before is not known: those with so many values that its
        beginning (see `machine`) leaves it another than the unknown one."""
        own = plan.form.item(state[0])
        if len(state[2]) > MAX_FEW // 2:  # what was taken already may leave few of those that were many
            own = both(own, self._algebra.none_of(state[2]))
        types = (STRING, NUMBER, ARRAY, OBJECT)
        return self._algebra.of_types(
            sum(bit for bit in types if self.has_many(both(own, self._algebra.of_types(bit))))
        )

    def _left_over(self, plan: ArrayPlan, state: ArrayState) -> Ref:
        """What leaves a value to every item that must come later."""
        if state[0] + 1 >= plan.form.least:
            return ANYTHING
        wanted = self._wanted(plan, state) or []
        own, rest = wanted[0], wanted[1:]
        if all(self._has(ref, len(wanted)) for ref in rest):
            return ANYTHING
        lists = [self._listed(ref, len(wanted)) for ref in rest]
        barred = []
        for text in dict.fromkeys(text for values in lists for text in values):
            left = [[other for other in values if other != text] for values in lists]
            if _matched(left) is None:
                barred.append(text)
        if _matched(lists) is None:
            return NOTHING
        del own
        return self._apart(barred)

    def has_many(self, ref: Ref) -> bool:
        """Whether a reference has more values than are told apart one by one."""
        return self.few(ref) is None

    def _has(self, ref: Ref, count: int) -> bool:
        """Whether a reference has at least so many values, and not few: so many items find different ones there."""
        if not self.has_many(ref):
            return False
        if count <= MAX_FEW or self._is_endless(ref) or self._algebra.numbers(ref).members(count) is None:
            return True
        return len(self._listed(ref, count)) == count

    def few(self, ref: Ref) -> tuple[int, ...] | None:
        """The values of a reference, as numbers of constants, if they are few; None if they are many."""
        if ref not in self._few:
            self._few[ref] = None if self._is_endless(ref) else self._find_few(ref)
        return self._few[ref]

    def _find_few(self, ref: Ref) -> tuple[int, ...] | None:
        numbers = self._algebra.numbers(ref).members(MAX_FEW)
        if numbers is None:
            return None
        others = both(ref, self._algebra.of_types(EVERY_TYPE & ~NUMBER))
        texts = self._listed(others, MAX_FEW + 1 - len(numbers))
        if len(texts) + len(numbers) > MAX_FEW:
            return None
        values = [int(number) if number.denominator == 1 else number for number in numbers]
        values += [loads(text.decode()) for text in texts]
        return tuple(number for value in values for number in self._algebra.constant(value))

    def one_by_one(self, ref: Ref, within: Ref) -> tuple[int, ...] | None:
        """Those of the few values of a reference that are in another one too; None if they are many."""
        values = self.few(ref)
        if values is None:
            return None
        return tuple(number for number in values if self._emptiness.is_alive(both(within, frozenset((number,)))))

    def _is_endless(self, ref: Ref, depth: int = _DEPTH) -> bool:
        """Whether a reference surely has infinitely many values, or very many."""
        found = self._endless.get(ref)
        if found is None:
            found = self._find_endless(ref, depth)
            if found or depth == _DEPTH:
                self._endless[ref] = found
        return found

    def _find_endless(self, ref: Ref, depth: int) -> bool:
        algebra, bits = self._algebra, self._algebra.possible_types(ref)
        if not ref:
            return True
        if bits & STRING:
            texts = algebra.texts(ref)
            if texts is None or (texts.length_bounds or (0, 0))[1] not in (0, 1):
                return True
            if not (texts.is_empty() or texts.is_finite()):
                return True
        if bits & NUMBER and not algebra.numbers(ref).is_finite():
            return True
        if depth == 0 or not bits & (ARRAY | OBJECT) or not self._emptiness.is_alive(ref):
            return False
        return self._many_arrays(ref, depth) or self._many_objects(ref, depth)

    def _many_arrays(self, ref: Ref, depth: int) -> bool:
        for form in self._algebra.arrays(ref):
            plan = self._emptiness.array_plan(form)
            if form.counters or not self._emptiness.array_alive(plan, plan.start):
                continue
            if form.most is None and self._emptiness.is_alive(form.tail) and not form.unique:
                return True
            if any(self._is_endless(form.item(place), depth - 1) for place in range(form.least)):
                return True
        return False

    def _many_objects(self, ref: Ref, depth: int) -> bool:
        for form in self._algebra.objects(ref):
            plan = self._emptiness.object_plan(form)
            if not self._emptiness.object_alive(plan, plan.start):
                continue
            if any(self._is_endless(plan.value(plan.index[name]), depth - 1) for name in form.required):
                return True
            if form.most is not None and form.most <= max(form.least, len(form.required)):
                continue
            if not form.patterns and self._emptiness.is_alive(plan.cell_value(frozenset())):
                return True
            if any(self._is_endless(plan.value(number), depth - 1) for number in range(len(plan.names))):
                return True
        return False

    def _listed(self, ref: Ref, most: int) -> list[bytes]:
        """Up to `most` different values of a reference, shortest first."""
        found: list[bytes] = []
        while len(found) < most:
            text = self._emptiness.shortest(both(ref, self._apart(found)))
            if text is None:
                break
            found.append(text)
        return found


def _matched(lists: list[list[bytes]]) -> list[int] | None:
    """For each list the rank of one of its texts, all different; None if that cannot be."""
    holder: dict[bytes, int] = {}
    chosen = [0] * len(lists)

    def place(number: int, tried: set[bytes]) -> bool:
        for rank, text in enumerate(lists[number]):
            if text in tried:
                continue
            tried.add(text)
            if text not in holder or place(holder[text], tried):
                holder[text] = number
                chosen[number] = rank
                return True
        return False

    return chosen if all(place(number, set()) for number in range(len(lists))) else None
