"""The arrays, or the objects, of a reference as alternatives of forms: the disjunctive normal form of its expressions.

Negations are pushed down to facts, conjunctions are multiplied out, and what contradicts itself is dropped on the
way, so that schemas as people write them come to few alternatives. Where `unevaluatedProperties` or
`unevaluatedItems` looks on (`tracked`), the alternatives are disjoint and know what they evaluate.

Comes in: expressions. Goes out: forms. Knows no scalars but by `Algebra.surely_empty`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from grammars.errors import ConstraintLimitError
from grammars.json_schema.absorption import without_absorbed
from grammars.json_schema.expressions import (
    ALWAYS,
    ARRAY,
    OBJECT,
    ArrayFact,
    Condition,
    Every,
    ExactlyOne,
    Expression,
    Leftover,
    NameFact,
    Negation,
    NumberFact,
    ObjectFact,
    OneOfValues,
    SchemaRef,
    Some,
    TextFact,
    Types,
    fact_type,
)
from grammars.json_schema.forms import (
    ALL_NAMES,
    ANY_OBJECT,
    NO_NAMES,
    ArrayForm,
    Counter,
    Names,
    ObjectForm,
    meet_arrays,
    meet_objects,
)
from grammars.json_schema.refs import ANYTHING, NOTHING, Ref, both, opposites

if TYPE_CHECKING:
    from grammars.json_schema.algebra import Algebra

MAX_FORMS = 2000
"""Alternatives that one reference may come to."""

F = TypeVar("F", bound=ArrayForm | ObjectForm)


class Alternatives(Generic[F]):
    """The forms of one of the two types. meet, negate: of single forms; anything: the form of all its values."""

    def __init__(
        self, algebra: Algebra, bit: int, anything: F, meet: Callable[[F, F], F], negate: Callable[[F], Iterable[F]]
    ) -> None:
        self._algebra = algebra
        self._bit = bit
        self._anything = anything
        self._meet = meet
        self._negate = negate
        self._memo: dict[tuple[object, ...], tuple[F, ...]] = {}

    def of(self, ref: Ref) -> tuple[F, ...]:
        key = ("forms", ref)
        if key not in self._memo:
            forms: tuple[F, ...] = (self._anything,)
            for number in sorted(ref, key=lambda n: (n < 0, abs(n))):
                if number > 0:
                    forms = self._product(forms, self._forms_for(number, True, False, ""))
                else:
                    forms = self._minus(forms, SchemaRef(-number, ""))
            self._memo[key] = forms
        found: tuple[F, ...] = self._memo[key]
        return found

    def _forms_for(self, number: int, sign: bool, tracked: bool, path: str) -> tuple[F, ...]:
        """The forms of a schema or of its complement. `tracked`: alternatives disjoint, with what they evaluate."""
        key = ("forms of", self._bit, number, sign, tracked)
        if key not in self._memo:
            self._algebra.enter(key, path)
            try:
                self._memo[key] = self._forms(self._algebra.expression(number), sign, tracked)
            finally:
                self._algebra.leave(key)
        found: tuple[F, ...] = self._memo[key]
        return found

    def _forms(self, expression: Expression, sign: bool, tracked: bool) -> tuple[F, ...]:
        everything, nothing = (self._anything,), ()
        match expression:
            case Types(bits):
                return everything if bool(bits & self._bit) == sign else nothing
            case ArrayFact(form) | ObjectFact(form):
                if fact_type(expression) != self._bit:
                    return everything if sign else nothing
                return self._fact(cast(F, form), sign, tracked)
            case NameFact(ref) if self._bit == OBJECT:
                return cast(tuple[F, ...], self._names(ref, sign))
            case NumberFact() | TextFact() | NameFact():
                return everything if sign else nothing
            case OneOfValues(values):
                return self._values(values, sign)
            case Every(parts) | Some(parts):
                lists = [(part, sign) for part in parts]
                if isinstance(expression, Every) == sign:
                    return self._all_of(lists, tracked)
                return self._any_of(lists, tracked)
            case ExactlyOne(parts):
                if sign:
                    return self._one_of(parts, (self._anything,), tracked)
                return self._none_or_several(parts)
            case Negation(part):
                return self._forms(part, not sign, False)
            case Condition():
                return self._condition(expression, sign, tracked)
            case SchemaRef(number, path):
                return self._forms_for(number, sign, tracked, path)
            case Leftover():
                return self._leftover(expression, sign, tracked)

    def _condition(self, expression: Condition, sign: bool, tracked: bool) -> tuple[F, ...]:
        """Both ways. Where the consequence is one fact, what it says is asked first: many conditions share it."""
        test, then, otherwise = expression.test, expression.then, expression.otherwise
        if sign and not tracked and otherwise is ALWAYS:
            held = self._forms(then, True, False)
            failed = self._forms(then, False, False) if len(held) == 1 else ()
            if len(failed) == 1:
                untested = self._forms(test, False, False)
                return self._limited(held + self._product(failed, untested))
        yes = self._all_of([(test, True), (then, sign)], tracked)
        return self._limited(yes + self._all_of([(test, False), (otherwise, sign)], tracked))

    def _fact(self, form: F, sign: bool, tracked: bool) -> tuple[F, ...]:
        if sign:
            kept = form if tracked else _without_evaluated(form)
            return () if self._plainly_empty(kept) else (kept,)
        return tuple(other for other in self._negate(form) if not self._plainly_empty(other))

    def _names(self, ref: Ref, sign: bool) -> tuple[ObjectForm, ...]:
        """`propertyNames`, or its complement."""
        texts = self._algebra.texts(ref, whole=not sign)
        if texts is None:
            return (ANY_OBJECT,) if sign else ()
        outside = Names(patterns=frozenset((self._algebra.language_number(texts),)), inverted=True)
        return (ObjectForm(classes=((outside, NOTHING),)),) if sign else (ObjectForm(needs=((outside, ANYTHING),)),)

    def _values(self, values: tuple[Any, ...], sign: bool) -> tuple[F, ...]:
        """`enum` and `const`, of the values of this type."""
        kind = list if self._bit == ARRAY else dict
        if not sign:
            apart = tuple(
                sorted({number for v in values if isinstance(v, kind) for number in self._algebra.constant(v)})
            )
            return (replace(self._anything, apart=apart),)
        forms = [self._constant(value) for value in values if isinstance(value, kind)]
        return tuple(forms)

    def _constant(self, value: list[Any] | dict[str, Any]) -> Any:
        """The form of one array or object."""
        if isinstance(value, list):
            return ArrayForm(tuple(self._algebra.constant(part) for part in value), least=len(value), most=len(value))
        names = frozenset(value)
        named = {name: self._algebra.constant(part) for name, part in value.items()}
        return ObjectForm(named, ((Names(names, inverted=True), NOTHING),), names, order=tuple(value))

    def _all_of(self, parts: Sequence[tuple[Expression, bool]], tracked: bool) -> tuple[F, ...]:
        forms: tuple[F, ...] = (self._anything,)
        last = [part for part, sign in parts if sign and isinstance(part, ExactlyOne)]
        found = [self._forms(part, sign, tracked) for part, sign in parts if not sign or part not in last]
        for other in sorted(found, key=len):
            if not forms:
                break
            forms = self._product(forms, other)
        for choice in sorted(last, key=lambda each: len(each.parts)):  # what is known by then keeps its branches apart
            forms = self._one_of(choice.parts, forms, tracked) if forms else ()
        return forms

    def _any_of(self, parts: Sequence[tuple[Expression, bool]], tracked: bool) -> tuple[F, ...]:
        if not tracked:
            joined = [form for part, sign in parts for form in self._forms(part, sign, False)]
            return self._limited(tuple(joined))
        forms: tuple[F, ...] = ()
        none: tuple[F, ...] = (self._anything,)  # where no part so far holds
        for part, sign in parts:
            held, failed = self._forms(part, sign, True), self._forms(part, not sign, False)
            forms = self._product(forms, held) + self._product(forms, failed)
            forms = self._limited(forms + self._product(none, held))
            none = self._product(none, failed)
        return forms

    def _one_of(self, parts: tuple[Expression, ...], given: tuple[F, ...], tracked: bool) -> tuple[F, ...]:
        """The given forms where exactly one part holds."""
        held = [self._product(given, self._forms(part, True, tracked)) for part in parts]
        meets = self._meets(parts, held)
        result: list[F] = []
        for i, forms in enumerate(held):
            for j, part in enumerate(parts):
                if i != j and forms and meets.get((min(i, j), max(i, j))):
                    forms = self._minus(forms, part)
            result += forms
        return self._limited(tuple(result))

    def _minus(self, forms: tuple[F, ...], part: Expression) -> tuple[F, ...]:
        """The forms where a part does not hold. Those where it plainly cannot are left as they are."""
        held = self._forms(part, True, False)
        if forms == (self._anything,) or len(held) * len(forms) > MAX_FORMS:
            return self._product(forms, self._forms(part, False, False))
        kept = [form for form in forms if not self._product((form,), held)]
        cut = tuple(form for form in forms if form not in kept)
        if cut:
            kept += self._product(cut, self._forms(part, False, False))
        return self._limited(tuple(kept))

    def _none_or_several(self, parts: tuple[Expression, ...]) -> tuple[F, ...]:
        """The complement of exactly one."""
        none = self._all_of([(part, False) for part in parts], False)
        held = [self._forms(part, True, False) for part in parts]
        several = [form for forms in self._meets(parts, held).values() for form in forms]
        return self._limited(none + tuple(several))

    def _meets(self, parts: tuple[Expression, ...], held: list[tuple[F, ...]]) -> dict[tuple[int, int], tuple[F, ...]]:
        """What two parts have in common, for each two that are not plainly apart."""
        plain = [self._forms(part, True, False) for part in parts]
        meets = {}
        for j in range(len(parts)):
            for i in range(j):
                if held[i] and held[j]:
                    common = self._product(held[i], plain[j])
                    if common:
                        meets[i, j] = common
        return meets

    def _product(self, left: tuple[F, ...], right: tuple[F, ...]) -> tuple[F, ...]:
        """The forms of both."""
        if left == (self._anything,) or right == (self._anything,):
            return right if left == (self._anything,) else left
        if len(left) * len(right) > MAX_FORMS * 10:
            raise ConstraintLimitError(f"the schema has more than {MAX_FORMS} alternatives; state it more plainly")
        met = (self._meet(a, b) for a in left for b in right)
        return self._limited(tuple(form for form in met if not self._plainly_empty(form)))

    def _limited(self, forms: tuple[F, ...]) -> tuple[F, ...]:
        """Those that are needed, if they are not too many."""
        if len(forms) > 1:
            forms = without_absorbed(tuple({form.key: form for form in forms}.values()))
        if len(forms) > MAX_FORMS:
            raise ConstraintLimitError(f"the schema has more than {MAX_FORMS} alternatives; state it more plainly")
        return forms

    def _plainly_empty(self, form: ArrayForm | ObjectForm) -> bool:
        """Whether a form contradicts itself, as far as a short look tells."""
        if form.most is not None and form.most < form.least:
            return True
        if isinstance(form, ArrayForm):
            return any(self._algebra.surely_empty(form.item(i)) for i in range(min(form.least, len(form.prefix) + 1)))
        if form.most is not None and len(form.required) > form.most:
            return True
        return any(self._algebra.surely_empty(self._algebra.object_value(form, name)) for name in form.required)

    # -- unevaluated -----------------------------------------------------------------------------

    def _leftover(self, expression: Leftover, sign: bool, tracked: bool) -> tuple[F, ...]:
        """`unevaluatedProperties` and `unevaluatedItems`, or the complement of the schema that has one of them."""
        if expression.kind != self._bit:
            return self._forms(expression.base, sign, tracked)
        held = self._forms(expression.base, True, True)
        result: list[F] = [] if sign else list(self._forms(expression.base, False, False))
        for form in held:
            result += self._rest(form, expression.ref, sign, tracked)
        return self._limited(tuple(form for form in result if not self._plainly_empty(form)))

    def _rest(self, form: Any, ref: Ref, sign: bool, tracked: bool) -> Iterable[Any]:
        if isinstance(form, ObjectForm):
            rest = form.evaluated.complement()
            if sign:
                fact = ObjectForm(classes=((rest, ref),) if rest != NO_NAMES else (), evaluated=ALL_NAMES)
                return [_kept(meet_objects(form, fact), tracked)]
            if form.evaluated == ALL_NAMES:
                return []
            return [_kept(meet_objects(form, ObjectForm(needs=((rest, other),))), False) for other in opposites(ref)]
        return self._array_rest(form, ref, sign, tracked)

    def _array_rest(self, form: ArrayForm, ref: Ref, sign: bool, tracked: bool) -> list[ArrayForm]:
        count, matched = form.evaluated
        if sign:
            if count is None:
                return [_kept(form, tracked)]
            fact = ArrayForm((ANYTHING,) * count, self._algebra.either(ref, matched), evaluated=(None, frozenset()))
            return [_kept(meet_arrays(form, fact), tracked)]
        if count is None:
            return []
        unmatched = [ANYTHING]
        for part in matched:
            unmatched = [both(left, other) for left in unmatched for other in opposites(part)]
        return [
            _kept(meet_arrays(form, ArrayForm(counters=(Counter(both(left, other), 1, None, count),))), False)
            for left in unmatched
            for other in opposites(ref)
        ]


def _kept(form: Any, tracked: bool) -> Any:
    return form if tracked else _without_evaluated(form)


def _without_evaluated(form: F) -> F:
    if isinstance(form, ObjectForm):
        if form.evaluated == NO_NAMES:
            return form
        return replace(form, evaluated=NO_NAMES)
    return form if form.evaluated == (0, frozenset()) else replace(form, evaluated=(0, frozenset()))
