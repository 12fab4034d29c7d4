"""The values of a `Ref`, type by type: literals as bits, numbers as `NumberSet`, strings as `Language`, arrays and
objects as alternatives of `forms`. Everything is worked out when it is first asked for, and kept.

Comes in: references. Goes out: what they hold. Whether a form can be satisfied is not asked here (see `emptiness`),
only whether it plainly cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, cast

from grammars.errors import ConstraintSyntaxError
from grammars.json_schema.alternatives import Alternatives
from grammars.json_schema.domains import Domain, Literals, Numbers, Texts, V
from grammars.json_schema.expressions import (
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
    fact_type,
)
from grammars.json_schema.forms import (
    ALL_NAMES,
    ANY_ARRAY,
    ANY_OBJECT,
    ArrayForm,
    ObjectForm,
    meet_arrays,
    meet_objects,
    negate_array,
    negate_object,
)
from grammars.json_schema.numbers import NumberSet
from grammars.json_schema.numerals import Numerals
from grammars.json_schema.refs import ANYTHING, NOTHING, Ref, both, literal
from grammars.json_schema.resolver import escape
from grammars.json_schema.schemas import Schemas
from grammars.json_schema.translate import Translator, located
from grammars.json_schema.values import identity
from grammars.regex import Language

_EVERY_NUMBER = Numerals.of(NumberSet.all())


class Algebra:
    """See the module docstring. One for each compile."""

    def __init__(self, schemas: Schemas, formats: bool) -> None:
        self._schemas = schemas
        self._translator = Translator(schemas, formats, self.language_number)
        self._expressions: dict[int, Expression] = {}
        self._languages: list[Language] = []
        self._language_numbers: dict[object, int] = {}
        self._matched: dict[tuple[int, str], bool] = {}
        self._literals, self._numbers, self._texts = Literals(), Numbers(), Texts()
        self._memo: dict[tuple[object, ...], Any] = {}
        self._open: set[tuple[object, ...]] = set()
        self._arrays = Alternatives(self, ARRAY, ANY_ARRAY, meet_arrays, negate_array)
        self._objects = Alternatives(self, OBJECT, ANY_OBJECT, meet_objects, negate_object)
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
                located(partial(self._try_numbers, ref), f"{path}/multipleOf")

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

    def texts(self, ref: Ref, whole: bool = False) -> Language | None:
        """The strings, None for all of them. whole: with those that a format means but does not cover here."""
        return self._scalar(ref, self._texts, whole)

    def objects(self, ref: Ref) -> tuple[ObjectForm, ...]:
        return self._objects.of(ref)

    def arrays(self, ref: Ref) -> tuple[ArrayForm, ...]:
        return self._arrays.of(ref)

    def object_value(self, form: ObjectForm, name: str) -> Ref:
        """The reference that the value of a property is in."""
        ref = form.named.get(name, ANYTHING)
        for names, other in form.classes:
            if names.has(name, self.matches):
                ref = both(ref, other)
        return ref

    def expression(self, number: int) -> Expression:
        if number not in self._expressions:
            self._expressions[number] = self._translator.translate(number)
        return self._expressions[number]

    def enter(self, key: tuple[object, ...], path: str) -> None:
        if key in self._open:
            raise ConstraintSyntaxError(f"{path or '/'}: the schema refers to itself about the same value, without end")
        self._open.add(key)

    def leave(self, key: tuple[object, ...]) -> None:
        """The end of what `enter` began."""
        self._open.discard(key)

    # -- scalars ---------------------------------------------------------------------------------

    # `whole`: whether the values wanted are at least, not at most, those that are meant. It makes a difference for
    # formats that are covered in part: what is outside of one is outside of all that it may mean.

    def _scalar(self, ref: Ref, domain: Domain[V], whole: bool = False) -> V | None:
        whole = whole and self._schemas.has_partial_formats
        key = ("scalar", domain.bit, ref, whole)
        if key in self._memo:
            found: V | None = self._memo[key]
            return found
        value: V | None = None
        for number in sorted(ref, key=abs):
            part = self._scalar_of(abs(number), domain, "", whole == (number > 0))
            value = self._meet(domain, value, self._complement(domain, part) if number < 0 else part)
        self._memo[key] = value
        return value

    def _scalar_of(self, number: int, domain: Domain[V], path: str, whole: bool) -> V | None:
        whole = whole and self._schemas.has_partial_formats
        key = ("scalar of", domain.bit, number, whole)
        if key not in self._memo:
            self.enter(key, path)
            try:
                self._memo[key] = self._evaluate(self.expression(number), domain, whole)
            finally:
                self.leave(key)
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

    def _evaluate(self, expression: Expression, domain: Domain[V], whole: bool) -> V | None:
        """The values of the domain that satisfy an expression."""
        match expression:
            case Every(parts):
                value: V | None = None
                for part in parts:
                    if value is domain.empty:
                        break
                    value = self._meet(domain, value, self._evaluate(part, domain, whole))
                return value
            case Some(parts):
                value = domain.empty
                for part in parts:
                    value = self._join(domain, value, self._evaluate(part, domain, whole))
                return value
            case ExactlyOne(parts):
                held = [self._evaluate(part, domain, whole) for part in parts]
                return self._exactly_one(held, [self._evaluate(part, domain, not whole) for part in parts], domain)
            case Negation(part):
                return self._complement(domain, self._evaluate(part, domain, not whole))
            case Condition(test, then, otherwise):
                failed = self._complement(domain, self._evaluate(test, domain, not whole))
                yes = self._meet(domain, self._evaluate(test, domain, whole), self._evaluate(then, domain, whole))
                no = self._meet(domain, failed, self._evaluate(otherwise, domain, whole))
                return self._join(domain, yes, no)
            case SchemaRef(number, path):
                return self._scalar_of(number, domain, path, whole)
            case Leftover(base, _, _):
                return self._evaluate(base, domain, whole)
            case TextFact(_, more) if whole and more is not None and domain.bit == STRING:
                return cast(V, more())
            case _:
                return domain.fact(expression)

    def _exactly_one(self, values: Sequence[V | None], rivals: Sequence[V | None], domain: Domain[V]) -> V | None:
        """In one of the values; not in the rivals that belong to the others."""
        once: V | None = domain.empty
        before: V | None = domain.empty
        for value, rival in zip(values, rivals, strict=True):
            fresh = self._meet(domain, value, self._complement(domain, before))
            once = self._join(domain, self._meet(domain, once, self._complement(domain, rival)), fresh)
            before = self._join(domain, before, rival)
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
            self._memo[key] = self._types(self.expression(number), sign)
        found: int = self._memo[key]
        return found

    def _types(self, expression: Expression, sign: bool) -> int:
        match expression:
            case Types(bits):
                return bits if sign else EVERY_TYPE & ~bits
            case NumberFact() | TextFact() | ArrayFact() | ObjectFact() | NameFact():
                return EVERY_TYPE if sign else fact_type(expression)
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

    # -- references made here --------------------------------------------------------------------

    def constant(self, value: Any) -> Ref:
        """The reference of one value."""
        number = self._schemas.made(("constant", identity(value)), OneOfValues((value,)))
        self._constants.setdefault(number, value)
        return literal(number)

    def none_of(self, constants: Sequence[int]) -> Ref:
        """The reference of all values but these constants: one literal, however many there are."""
        if len(constants) < 2:
            return frozenset(-number for number in constants)
        values = tuple(self._constants[number] for number in constants)
        return literal(-self._schemas.made(("one of", *constants), OneOfValues(values)))

    def constant_value(self, number: int) -> Any:
        """The value of a constant, by the number in its reference."""
        return self._constants[number]

    def of_types(self, bits: int) -> Ref:
        """Values of these types, as bits."""
        return literal(self._schemas.made(("types", bits), Types(bits)))

    def within_depth(self, depth: int) -> Ref:
        """Values whose arrays and objects nest at most `depth` deep; 0: neither."""
        ref = literal(self._schemas.made(("depth", 0), Types(NULL | BOOLEAN | NUMBER | STRING)))
        for level in range(1, depth + 1):
            facts = (ArrayFact(ArrayForm(tail=ref)), ObjectFact(ObjectForm(classes=((ALL_NAMES, ref),))))
            ref = literal(self._schemas.made(("depth", level), Every(facts)))
        return ref

    def either(self, ref: Ref, others: frozenset[Ref]) -> Ref:
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
