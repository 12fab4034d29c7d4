"""The values of a `Ref`, type by type: literals as bits, numbers as `NumberSet`, strings as `Language`, arrays and
objects as alternatives of `forms`. Everything is worked out when it is first asked for, and kept.

Comes in: references. Goes out: what they hold. Whether a form can be satisfied is not asked here (see `emptiness`),
only whether it plainly cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar

from grammars.errors import ConstraintLimitError, ConstraintSyntaxError
from grammars.json_schema.expressions import (
    ALWAYS,
    ARRAY,
    BOOLEAN,
    EVERY_TYPE,
    NEVER,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
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
)
from grammars.json_schema.forms import (
    ALL_NAMES,
    ANY_ARRAY,
    ANY_OBJECT,
    NO_NAMES,
    ArrayForm,
    Counter,
    Names,
    ObjectForm,
    meet_arrays,
    meet_objects,
    negate_array,
    negate_object,
)
from grammars.json_schema.numbers import NumberSet
from grammars.json_schema.numerals import Numerals
from grammars.json_schema.refs import ANYTHING, NOTHING, Ref, both, literal, opposites
from grammars.json_schema.resolver import escape
from grammars.json_schema.schemas import Schemas
from grammars.json_schema.translate import Translator, located
from grammars.json_schema.values import canonical, is_number
from grammars.regex import Language

MAX_FORMS = 2000
"""Alternatives that one reference may come to."""

_EVERY_NUMBER = Numerals.of(NumberSet.all())

V = TypeVar("V")
F = TypeVar("F", ArrayForm, ObjectForm)


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


class _Literals(Domain[int]):
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
            return sum(
                {
                    1 << _LITERALS.index(value)
                    for value in expression.values
                    if value is None or value is True or value is False
                }
            )
        return None


class _Numbers(Domain[Numerals]):
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


class _Texts(Domain[Language]):
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


class _Shapes(Generic[F]):
    """What differs between the two kinds of forms."""

    def __init__(self, bit: int, anything: F, meet: Callable[[F, F], F], negate: Callable[[F], Iterable[F]]) -> None:
        self.bit, self.anything, self.meet, self.negate = bit, anything, meet, negate


class Algebra:
    """See the module docstring. One for each compile."""

    def __init__(self, schemas: Schemas, formats: bool) -> None:
        self._schemas = schemas
        self._translator = Translator(schemas, formats, self.language_number)
        self._expressions: dict[int, Expression] = {}
        self._languages: list[Language] = []
        self._language_numbers: dict[object, int] = {}
        self._matched: dict[tuple[int, str], bool] = {}
        self._literals, self._numbers, self._texts = _Literals(), _Numbers(), _Texts()
        self._memo: dict[tuple[object, ...], Any] = {}
        self._open: set[tuple[object, ...]] = set()
        self._array = _Shapes(ARRAY, ANY_ARRAY, meet_arrays, negate_array)
        self._object = _Shapes(OBJECT, ANY_OBJECT, meet_objects, negate_object)
        self._constants: dict[int, Any] = {}

    # -- names -----------------------------------------------------------------------------------

    def language_number(self, language: Language) -> int:
        """A number for a language of names."""
        key = language.key
        if key not in self._language_numbers:
            self._language_numbers[key] = len(self._languages)
            self._languages.append(language)
        return self._language_numbers[key]

    def language(self, number: int) -> Language:
        return self._languages[number]

    def matches(self, pattern: int, name: str) -> bool:
        """Whether a language of names, by number, has a name."""
        key = (pattern, name)
        if key not in self._matched:
            self._matched[key] = self._languages[pattern].accepts(name)
        return self._matched[key]

    def try_all(self) -> None:
        """Read the patterns and multiples of all subschemas that `Schemas.check` has found, and raise what is wrong."""
        for place, scope in self._schemas.to_try:
            schema, path = place.schema, place.pointer
            if isinstance(schema.get("pattern"), str):
                self._translator.pattern(schema["pattern"], f"{path}/pattern")
            for source in schema.get("patternProperties", ()):
                self._translator.pattern(source, f"{path}/patternProperties/{escape(source)}")
            if "multipleOf" in schema:
                ref = literal(self._schemas.number(place, scope))
                located(lambda ref=ref: self._try_numbers(ref), f"{path}/multipleOf")

    def _try_numbers(self, ref: Ref) -> None:
        numbers = self.numbers(ref)
        if not numbers.is_empty():
            language = numbers.language()
            language.row(language.start)

    # -- values of a reference -------------------------------------------------------------------

    def literals(self, ref: Ref) -> int:
        """Bits: 1 null, 2 true, 4 false."""
        found = self._scalar(ref, self._literals)
        return 7 if found is None else found

    def numbers(self, ref: Ref) -> Numerals:
        found = self._scalar(ref, self._numbers)
        return _EVERY_NUMBER if found is None else found

    def texts(self, ref: Ref) -> Language | None:
        """The strings, None for all of them."""
        return self._scalar(ref, self._texts)

    def objects(self, ref: Ref) -> tuple[ObjectForm, ...]:
        return self._forms_of(ref, self._object)

    def arrays(self, ref: Ref) -> tuple[ArrayForm, ...]:
        return self._forms_of(ref, self._array)

    def object_value(self, form: ObjectForm, name: str) -> Ref:
        """The reference that the value of a property is in."""
        ref = form.named.get(name, ANYTHING)
        for names, other in form.classes:
            if names.has(name, self.matches):
                ref = both(ref, other)
        return ref

    def _expression(self, number: int) -> Expression:
        if number not in self._expressions:
            self._expressions[number] = self._translator.translate(number)
        return self._expressions[number]

    def _enter(self, key: tuple[object, ...], path: str) -> None:
        if key in self._open:
            raise ConstraintSyntaxError(f"{path or '/'}: the schema refers to itself about the same value, without end")
        self._open.add(key)

    # -- scalars ---------------------------------------------------------------------------------

    def _scalar(self, ref: Ref, domain: Domain[V]) -> V | None:
        key = ("scalar", domain.bit, ref)
        if key in self._memo:
            found: V | None = self._memo[key]
            return found
        value: V | None = None
        for number in sorted(ref, key=abs):
            part = self._scalar_of(abs(number), domain, "")
            value = self._meet(domain, value, self._complement(domain, part) if number < 0 else part)
        self._memo[key] = value
        return value

    def _scalar_of(self, number: int, domain: Domain[V], path: str) -> V | None:
        key = ("scalar of", domain.bit, number)
        if key not in self._memo:
            self._enter(key, path)
            try:
                self._memo[key] = self._evaluate(self._expression(number), domain)
            finally:
                self._open.discard(key)
        found: V | None = self._memo[key]
        return found

    def _meet(self, domain: Domain[V], left: V | None, right: V | None) -> V | None:
        if left is None or right is None:
            return right if left is None else left
        return left if left is right else domain.meet(left, right)

    def _join(self, domain: Domain[V], left: V | None, right: V | None) -> V | None:
        if left is None or right is None:
            return None
        if left is domain.empty or right is domain.empty:
            return right if left is domain.empty else left
        return domain.join(left, right)

    def _complement(self, domain: Domain[V], value: V | None) -> V | None:
        if value is None:
            return domain.empty
        return None if value is domain.empty else domain.complement(value)

    def _evaluate(self, expression: Expression, domain: Domain[V]) -> V | None:
        """The values of the domain that satisfy an expression."""
        match expression:
            case Every(parts):
                value: V | None = None
                for part in parts:
                    if value is domain.empty:
                        break
                    value = self._meet(domain, value, self._evaluate(part, domain))
                return value
            case Some(parts):
                value = domain.empty
                for part in parts:
                    value = self._join(domain, value, self._evaluate(part, domain))
                return value
            case ExactlyOne(parts):
                return self._exactly_one([self._evaluate(part, domain) for part in parts], domain)
            case Negation(part):
                return self._complement(domain, self._evaluate(part, domain))
            case Condition(test, then, otherwise):
                held = self._evaluate(test, domain)
                yes = self._meet(domain, held, self._evaluate(then, domain))
                no = self._meet(domain, self._complement(domain, held), self._evaluate(otherwise, domain))
                return self._join(domain, yes, no)
            case SchemaRef(number, path):
                return self._scalar_of(number, domain, path)
            case Leftover(base, _, _):
                return self._evaluate(base, domain)
            case _:
                return domain.fact(expression)

    def _exactly_one(self, values: Sequence[V | None], domain: Domain[V]) -> V | None:
        once: V | None = domain.empty
        before: V | None = domain.empty
        for value in values:
            fresh = self._meet(domain, value, self._complement(domain, before))
            once = self._join(domain, self._meet(domain, once, self._complement(domain, value)), fresh)
            before = self._join(domain, before, value)
        return once

    # -- types, roughly --------------------------------------------------------------------------

    def possible_types(self, ref: Ref) -> int:
        """Bits of the types that a reference may have values of; others it has surely none of."""
        key = ("types", ref)
        if key not in self._memo:
            bits = EVERY_TYPE
            for number in ref:
                bits &= self._types_of(abs(number), number > 0)
            self._memo[key] = bits
        found: int = self._memo[key]
        return found

    def _types_of(self, number: int, sign: bool) -> int:
        key = ("types of", number, sign)
        if key not in self._memo:
            self._memo[key] = EVERY_TYPE  # for a schema that refers to itself; the evaluation proper tells
            self._memo[key] = self._types(self._expression(number), sign)
        found: int = self._memo[key]
        return found

    def _types(self, expression: Expression, sign: bool) -> int:
        match expression:
            case Types(bits):
                return bits if sign else EVERY_TYPE & ~bits
            case NumberFact() | TextFact() | ArrayFact() | ObjectFact() | NameFact():
                return EVERY_TYPE if sign else _fact_type(expression)
            case OneOfValues(values):
                return sum({type_bit(value) for value in values}) if sign else EVERY_TYPE
            case Every(parts) | Some(parts):
                found = [self._types(part, sign) for part in parts]
                return _every_bit(found) if isinstance(expression, Every) == sign else _some_bit(found)
            case ExactlyOne(parts):
                return _some_bit([self._types(part, True) for part in parts]) if sign else EVERY_TYPE
            case Negation(part):
                return self._types(part, not sign)
            case Condition(test, then, otherwise):
                yes = self._types(test, True) & self._types(then, sign)
                return yes | (self._types(test, False) & self._types(otherwise, sign))
            case SchemaRef(number, _):
                return self._types_of(number, sign)
            case Leftover(base, kind, _):
                return self._types(base, sign) | (0 if sign else kind)

    def surely_empty(self, ref: Ref) -> bool:
        """Whether no value can be in a reference, as far as its scalars and types tell."""
        key = ("surely empty", ref)
        if key not in self._memo:
            self._memo[key] = ref == NOTHING or self._has_no_scalar(ref)
        found: bool = self._memo[key]
        return found

    def _has_no_scalar(self, ref: Ref) -> bool:
        if not ref:
            return False
        bits = self.possible_types(ref)
        if bits & (ARRAY | OBJECT):
            return False
        if bits & (NULL | BOOLEAN) and self.literals(ref):
            return False
        if bits & NUMBER and not self.numbers(ref).is_empty():
            return False
        if not bits & STRING:
            return True
        texts = self.texts(ref)
        return texts is not None and texts.is_empty()

    # -- arrays and objects ----------------------------------------------------------------------

    def _forms_of(self, ref: Ref, shapes: _Shapes[F]) -> tuple[F, ...]:
        key = ("forms", shapes.bit, ref)
        if key not in self._memo:
            forms: tuple[F, ...] = (shapes.anything,)
            for number in sorted(ref, key=lambda n: (n < 0, abs(n))):
                if number > 0:
                    forms = self._product(forms, self._forms_for(number, True, False, shapes, ""), shapes)
                else:
                    forms = self._minus(forms, SchemaRef(-number, ""), shapes)
            self._memo[key] = forms
        found: tuple[F, ...] = self._memo[key]
        return found

    def _forms_for(self, number: int, sign: bool, tracked: bool, shapes: _Shapes[F], path: str) -> tuple[F, ...]:
        """The forms of a schema or of its complement. `tracked`: alternatives disjoint, with what they evaluate."""
        key = ("forms of", shapes.bit, number, sign, tracked)
        if key not in self._memo:
            self._enter(key, path)
            try:
                self._memo[key] = self._forms(self._expression(number), sign, tracked, shapes)
            finally:
                self._open.discard(key)
        found: tuple[F, ...] = self._memo[key]
        return found

    def _forms(self, expression: Expression, sign: bool, tracked: bool, shapes: _Shapes[F]) -> tuple[F, ...]:
        everything, nothing = (shapes.anything,), ()
        match expression:
            case Types(bits):
                return everything if bool(bits & shapes.bit) == sign else nothing
            case ArrayFact(form) | ObjectFact(form):
                if _fact_type(expression) != shapes.bit:
                    return everything if sign else nothing
                return self._fact(form, sign, tracked, shapes)  # type: ignore[arg-type]
            case NameFact(ref) if shapes.bit == OBJECT:
                return self._names(ref, sign)  # type: ignore[return-value]
            case NumberFact() | TextFact() | NameFact():
                return everything if sign else nothing
            case OneOfValues(values):
                return self._values(values, sign, shapes)
            case Every(parts) | Some(parts):
                lists = [(part, sign) for part in parts]
                if isinstance(expression, Every) == sign:
                    return self._all_of(lists, tracked, shapes)
                return self._any_of(lists, tracked, shapes)
            case ExactlyOne(parts):
                if sign:
                    return self._one_of(parts, (shapes.anything,), tracked, shapes)
                return self._none_or_several(parts, shapes)
            case Negation(part):
                return self._forms(part, not sign, False, shapes)
            case Condition():
                return self._condition(expression, sign, tracked, shapes)
            case SchemaRef(number, path):
                return self._forms_for(number, sign, tracked, shapes, path)
            case Leftover():
                return self._leftover(expression, sign, tracked, shapes)

    def _condition(self, expression: Condition, sign: bool, tracked: bool, shapes: _Shapes[F]) -> tuple[F, ...]:
        """Both ways. Where the consequence is one fact, what it says is asked first: many conditions share it."""
        test, then, otherwise = expression.test, expression.then, expression.otherwise
        if sign and not tracked and otherwise is ALWAYS:
            held, failed = self._forms(then, True, False, shapes), self._forms(then, False, False, shapes)
            if len(held) == len(failed) == 1:
                untested = self._forms(test, False, False, shapes)
                return self._limited((*held, *self._product(failed, untested, shapes)), shapes)
        yes = self._all_of([(test, True), (then, sign)], tracked, shapes)
        return self._limited((*yes, *self._all_of([(test, False), (otherwise, sign)], tracked, shapes)), shapes)

    def _fact(self, form: F, sign: bool, tracked: bool, shapes: _Shapes[F]) -> tuple[F, ...]:
        if sign:
            kept = form if tracked else _without_evaluated(form)
            return () if self._plainly_empty(kept) else (kept,)
        return tuple(other for other in shapes.negate(form) if not self._plainly_empty(other))

    def _names(self, ref: Ref, sign: bool) -> tuple[ObjectForm, ...]:
        """`propertyNames`, or its complement."""
        texts = self.texts(ref)
        if texts is None:
            return (ANY_OBJECT,) if sign else ()
        outside = Names(patterns=frozenset((self.language_number(texts),)), inverted=True)
        return (ObjectForm(classes=((outside, NOTHING),)),) if sign else (ObjectForm(needs=((outside, ANYTHING),)),)

    def _values(self, values: tuple[Any, ...], sign: bool, shapes: _Shapes[F]) -> tuple[F, ...]:
        """`enum` and `const`, of the values of this type."""
        kind = list if shapes.bit == ARRAY else dict
        if not sign:
            apart = tuple(sorted({number for v in values if isinstance(v, kind) for number in self.constant(v)}))
            return (replace(shapes.anything, apart=apart),)
        forms = [self._constant(value) for value in values if isinstance(value, kind)]
        return tuple(forms)

    def _constant(self, value: list[Any] | dict[str, Any]) -> Any:
        """The form of one array or object."""
        if isinstance(value, list):
            return ArrayForm(tuple(self.constant(part) for part in value), least=len(value), most=len(value))
        names = frozenset(value)
        named = {name: self.constant(part) for name, part in value.items()}
        return ObjectForm(named, ((Names(names, inverted=True), NOTHING),), names, order=tuple(value))

    def constant(self, value: Any) -> Ref:
        """The reference of one value."""
        number = self._schemas.made(("constant", canonical(value)), OneOfValues((value,)))
        self._constants.setdefault(number, value)
        return literal(number)

    def constant_value(self, number: int) -> Any:
        """The value of a constant, by the number in its reference."""
        return self._constants[number]

    def _all_of(self, parts: Sequence[tuple[Expression, bool]], tracked: bool, shapes: _Shapes[F]) -> tuple[F, ...]:
        forms: tuple[F, ...] = (shapes.anything,)
        last = [part for part, sign in parts if sign and isinstance(part, ExactlyOne)]
        found = [self._forms(part, sign, tracked, shapes) for part, sign in parts if not sign or part not in last]
        for other in sorted(found, key=len):
            if not forms:
                break
            forms = self._product(forms, other, shapes)
        for choice in sorted(last, key=lambda each: len(each.parts)):  # what is known by then keeps its branches apart
            forms = self._one_of(choice.parts, forms, tracked, shapes) if forms else ()
        return forms

    def _any_of(self, parts: Sequence[tuple[Expression, bool]], tracked: bool, shapes: _Shapes[F]) -> tuple[F, ...]:
        if not tracked:
            joined = [form for part, sign in parts for form in self._forms(part, sign, False, shapes)]
            return self._limited(tuple(joined), shapes)
        forms: tuple[F, ...] = ()
        none: tuple[F, ...] = (shapes.anything,)  # where no part so far holds
        for part, sign in parts:
            held, failed = self._forms(part, sign, True, shapes), self._forms(part, not sign, False, shapes)
            forms = (*self._product(forms, held, shapes), *self._product(forms, failed, shapes))
            forms = self._limited((*forms, *self._product(none, held, shapes)), shapes)
            none = self._product(none, failed, shapes)
        return forms

    def _one_of(
        self, parts: tuple[Expression, ...], given: tuple[F, ...], tracked: bool, shapes: _Shapes[F]
    ) -> tuple[F, ...]:
        """The given forms where exactly one part holds."""
        held = [self._product(given, self._forms(part, True, tracked, shapes), shapes) for part in parts]
        meets = self._meets(parts, held, shapes)
        result: list[F] = []
        for i, forms in enumerate(held):
            for j, part in enumerate(parts):
                if i != j and forms and meets.get((min(i, j), max(i, j))):
                    forms = self._minus(forms, part, shapes)
            result += forms
        return self._limited(tuple(result), shapes)

    def _minus(self, forms: tuple[F, ...], part: Expression, shapes: _Shapes[F]) -> tuple[F, ...]:
        """The forms where a part does not hold. Those where it plainly cannot are left as they are."""
        held = self._forms(part, True, False, shapes)
        if forms == (shapes.anything,) or len(held) * len(forms) > MAX_FORMS:
            return self._product(forms, self._forms(part, False, False, shapes), shapes)
        kept = [form for form in forms if not self._product((form,), held, shapes)]
        cut = tuple(form for form in forms if form not in kept)
        if cut:
            kept += self._product(cut, self._forms(part, False, False, shapes), shapes)
        return self._limited(tuple(kept), shapes)

    def _none_or_several(self, parts: tuple[Expression, ...], shapes: _Shapes[F]) -> tuple[F, ...]:
        """The complement of exactly one."""
        none = self._all_of([(part, False) for part in parts], False, shapes)
        held = [self._forms(part, True, False, shapes) for part in parts]
        several = [form for forms in self._meets(parts, held, shapes).values() for form in forms]
        return self._limited((*none, *several), shapes)

    def _meets(
        self, parts: tuple[Expression, ...], held: list[tuple[F, ...]], shapes: _Shapes[F]
    ) -> dict[tuple[int, int], tuple[F, ...]]:
        """What two parts have in common, for each two that are not plainly apart."""
        plain = [self._forms(part, True, False, shapes) for part in parts]
        meets = {}
        for j in range(len(parts)):
            for i in range(j):
                if held[i] and held[j]:
                    common = self._product(held[i], plain[j], shapes)
                    if common:
                        meets[i, j] = common
        return meets

    def _product(self, left: tuple[F, ...], right: tuple[F, ...], shapes: _Shapes[F]) -> tuple[F, ...]:
        """The forms of both."""
        if left == (shapes.anything,) or right == (shapes.anything,):
            return right if left == (shapes.anything,) else left
        if len(left) * len(right) > MAX_FORMS * 10:
            raise ConstraintLimitError(f"the schema has more than {MAX_FORMS} alternatives; state it more plainly")
        met = (shapes.meet(a, b) for a in left for b in right)
        return self._limited(tuple(form for form in met if not self._plainly_empty(form)), shapes)

    def _limited(self, forms: tuple[F, ...], shapes: _Shapes[F]) -> tuple[F, ...]:
        """The distinct ones, if they are not too many."""
        if len(forms) > 1:
            forms = tuple({form.key: form for form in forms}.values())
        if len(forms) > MAX_FORMS:
            raise ConstraintLimitError(f"the schema has more than {MAX_FORMS} alternatives; state it more plainly")
        return forms

    def _plainly_empty(self, form: ArrayForm | ObjectForm) -> bool:
        """Whether a form contradicts itself, as far as a short look tells."""
        if form.most is not None and form.most < form.least:
            return True
        if isinstance(form, ArrayForm):
            return any(self.surely_empty(form.item(i)) for i in range(min(form.least, len(form.prefix) + 1)))
        if form.most is not None and len(form.required) > form.most:
            return True
        return any(self.surely_empty(self.object_value(form, name)) for name in form.required)

    # -- unevaluated -----------------------------------------------------------------------------

    def _leftover(self, expression: Leftover, sign: bool, tracked: bool, shapes: _Shapes[F]) -> tuple[F, ...]:
        """`unevaluatedProperties` and `unevaluatedItems`, or the complement of the schema that has one of them."""
        if expression.kind != shapes.bit:
            return self._forms(expression.base, sign, tracked, shapes)
        held = self._forms(expression.base, True, True, shapes)
        result: list[F] = [] if sign else list(self._forms(expression.base, False, False, shapes))
        for form in held:
            result += self._rest(form, expression.ref, sign, tracked)  # type: ignore[arg-type]
        return self._limited(tuple(form for form in result if not self._plainly_empty(form)), shapes)

    def _rest(self, form: Any, ref: Ref, sign: bool, tracked: bool) -> Iterable[Any]:
        if isinstance(form, ObjectForm):
            rest = form.evaluated.complement()
            if sign:
                fact = ObjectForm(classes=((rest, ref),) if rest != NO_NAMES else (), evaluated=ALL_NAMES)
                return [_kept(meet_objects(form, fact), tracked)]
            if form.evaluated == ALL_NAMES:
                return []
            return [_kept(meet_objects(form, ObjectForm(needs=((rest, other),))), False) for other in opposites(ref)]
        count, matched = form.evaluated
        if sign:
            if count is None:
                return [_kept(form, tracked)]
            fact = ArrayForm((ANYTHING,) * count, self._either(ref, matched), evaluated=(None, frozenset()))
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

    def within_depth(self, depth: int) -> Ref:
        """Values whose arrays and objects nest at most `depth` deep; 0: neither."""
        ref = literal(self._schemas.made(("depth", 0), Types(NULL | BOOLEAN | NUMBER | STRING)))
        for level in range(1, depth + 1):
            facts = (ArrayFact(ArrayForm(tail=ref)), ObjectFact(ObjectForm(classes=((ALL_NAMES, ref),))))
            ref = literal(self._schemas.made(("depth", level), Every(facts)))
        return ref

    def _either(self, ref: Ref, others: frozenset[Ref]) -> Ref:
        """The reference of what is in one of these."""
        if not others or ref == ANYTHING:
            return ref
        options = sorted((ref, *others), key=sorted)
        expression = Some(tuple(_of_ref(option) for option in options))
        return literal(self._schemas.made(("either", *options), expression))


def _of_ref(ref: Ref) -> Expression:
    if ref == NOTHING:
        return NEVER
    parts = [SchemaRef(n, "") if n > 0 else Negation(SchemaRef(-n, "")) for n in sorted(ref)]
    return Every(tuple(parts))


def _kept(form: Any, tracked: bool) -> Any:
    return form if tracked else _without_evaluated(form)


def _without_evaluated(form: F) -> F:
    if isinstance(form, ObjectForm):
        if form.evaluated == NO_NAMES:
            return form
        return replace(form, evaluated=NO_NAMES)
    return form if form.evaluated == (0, frozenset()) else replace(form, evaluated=(0, frozenset()))


def _fact_type(fact: Expression) -> int:
    if isinstance(fact, NumberFact):
        return NUMBER
    if isinstance(fact, TextFact):
        return STRING
    return ARRAY if isinstance(fact, ArrayFact) else OBJECT


def type_bit(value: Any) -> int:
    """The type of a loaded JSON value."""
    if value is None:
        return NULL
    if isinstance(value, bool):
        return BOOLEAN
    for kind, bit in ((str, STRING), (list, ARRAY), (dict, OBJECT)):
        if isinstance(value, kind):
            return bit
    return NUMBER


def _every_bit(found: Iterable[int]) -> int:
    bits = EVERY_TYPE
    for each in found:
        bits &= each
    return bits


def _some_bit(found: Iterable[int]) -> int:
    bits = 0
    for each in found:
        bits |= each
    return bits
