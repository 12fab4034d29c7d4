"""From one subschema to the expression that it means. References and subschemas stay numbers, so nothing else is read.

Comes in: a number of `schemas`. Goes out: an `Expression`. Keyword values have passed `keywords.check_shapes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from grammars.errors import GrammarError, UnsupportedConstraintError
from grammars.json_schema.dialect import DRAFT_NAMES, Draft
from grammars.json_schema.expressions import (
    ALWAYS,
    ARRAY,
    BOOLEAN,
    EVERY_TYPE,
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
from grammars.json_schema.formats import format_language, whole_format
from grammars.json_schema.forms import ALL_NAMES, ArrayForm, Counter, Names, ObjectForm
from grammars.json_schema.keywords import KEYWORDS
from grammars.json_schema.numbers import NumberSet
from grammars.json_schema.numerals import Numerals
from grammars.json_schema.refs import ANYTHING, Ref, literal
from grammars.json_schema.resolver import Place, Scope, escape
from grammars.json_schema.schemas import REFERENCES, Schemas
from grammars.regex import Language

_TYPE_BITS = {
    "null": NULL,
    "boolean": BOOLEAN,
    "number": NUMBER,
    "integer": NUMBER,
    "string": STRING,
    "array": ARRAY,
    "object": OBJECT,
    "any": EVERY_TYPE,
}

T = TypeVar("T")

_VALIDATION = frozenset(
    [
        "type",
        "enum",
        "const",
        "multipleOf",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "uniqueItems",
        "maxContains",
        "minContains",
        "maxProperties",
        "minProperties",
        "required",
        "dependentRequired",
    ]
)
"""Keywords of the validation vocabulary, which a meta-schema may leave out."""


class Translator:
    """Expressions by schema number. Knows the patterns by number too, as forms name them."""

    def __init__(self, schemas: Schemas, formats: bool, language_number: Callable[[Language], int]) -> None:
        self._schemas = schemas
        self._formats = formats
        self._language_number = language_number
        self._patterns: dict[str, Language] = {}

    def translate(self, number: int) -> Expression:
        """What the schema of a (positive) number means."""
        entry = self._schemas[number]
        if not isinstance(entry, tuple):
            return entry
        place, scope = entry
        if place.schema is True:
            return ALWAYS
        return _Reading(self, self._schemas, place, scope).expression()

    def pattern(self, source: str, path: str) -> Language:
        """The language of an ECMA pattern, found anywhere in the text."""
        if source not in self._patterns:
            self._patterns[source] = located(lambda: Language.parse(source, dialect="ecma", search=True), path)
        return self._patterns[source]

    def pattern_number(self, source: str, path: str) -> int:
        return self._language_number(self.pattern(source, path))

    def format(self, name: str, draft: Draft) -> Language | None:
        """The language of a format, None where it is an annotation."""
        return format_language(name, DRAFT_NAMES[draft]) if self._formats else None


class _Reading:
    """One subschema being read."""

    def __init__(self, translator: Translator, schemas: Schemas, place: Place, scope: Scope) -> None:
        self._translator = translator
        self._schemas = schemas
        self._place = place
        self._scope = scope
        self._draft = place.resource.draft
        known = KEYWORDS[self._draft]
        self._schema: dict[str, Any] = {
            keyword: value
            for keyword, value in place.schema.items()
            if keyword in known and (place.resource.validates or keyword not in _VALIDATION)
        }

    def expression(self) -> Expression:
        schema = self._schema
        if self._draft <= 7 and "$ref" in schema:
            return self._reference("$ref")
        parts = [self._reference(keyword) for keyword in REFERENCES if keyword in schema]
        parts += [*self._scalars(), *self._arrays(), *self._objects(), *self._applied()]
        whole: Expression = parts[0] if len(parts) == 1 else Every(tuple(parts))
        if "unevaluatedItems" in schema:
            whole = Leftover(whole, ARRAY, self._ref(schema["unevaluatedItems"], "/unevaluatedItems"))
        if "unevaluatedProperties" in schema:
            whole = Leftover(whole, OBJECT, self._ref(schema["unevaluatedProperties"], "/unevaluatedProperties"))
        return whole

    # -- parts -----------------------------------------------------------------------------------

    def _number(self, schema: Any, suffix: str) -> int:
        return self._schemas.number(self._schemas.resolver.child(self._place, schema, suffix), self._scope)

    def _ref(self, schema: Any, suffix: str) -> Ref:
        return literal(self._number(schema, suffix))

    def _here(self, schema: Any, suffix: str) -> Expression:
        """A subschema about the same value."""
        number = self._number(schema, suffix)
        path = self._place.pointer + suffix
        return SchemaRef(number, path) if number > 0 else Negation(SchemaRef(-number, path))

    def _reference(self, keyword: str) -> Expression:
        target = self._schemas.resolver.reference(self._place, keyword, self._scope)
        number = self._schemas.number(target, self._scope)
        path = f"{self._place.pointer}/{keyword}"
        return SchemaRef(number, path) if number > 0 else Negation(SchemaRef(-number, path))

    # -- facts -----------------------------------------------------------------------------------

    def _scalars(self) -> list[Expression]:
        schema, parts = self._schema, list[Expression]()
        if "type" in schema:
            parts.append(_types(schema["type"], self._draft))
        if "enum" in schema:
            parts.append(OneOfValues(tuple(schema["enum"])))
        if "const" in schema:
            parts.append(OneOfValues((schema["const"],)))
        parts += [NumberFact(Numerals.of(numbers)) for numbers in self._numbers()]
        if "minLength" in schema or "maxLength" in schema:
            least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
            parts.append(TextFact(lambda: Language.length(least, None if most is None else int(most))))
        if "pattern" in schema:
            source, path = schema["pattern"], f"{self._place.pointer}/pattern"
            parts.append(TextFact(lambda: self._translator.pattern(source, path)))
        if "format" in schema:
            language = self._translator.format(schema["format"], self._draft)
            if language is not None:
                whole = whole_format(schema["format"])
                parts.append(TextFact(lambda: language, None if whole is None else lambda: whole))
        return parts

    def _numbers(self) -> list[NumberSet]:
        schema, sets = self._schema, []
        old = self._draft == 4
        for keyword, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            side = "low" if keyword == "minimum" else "high"
            if keyword in schema:
                is_open = old and schema.get(exclusive) is True
                sets.append(NumberSet.interval(**{side: schema[keyword], f"{side}_open": is_open}))
            if exclusive in schema and not old:
                sets.append(NumberSet.interval(**{side: schema[exclusive], f"{side}_open": True}))
        if "multipleOf" in schema:
            sets.append(NumberSet.multiples(schema["multipleOf"]))
        return sets

    def _arrays(self) -> list[Expression]:
        schema = self._schema
        prefix: list[Ref] = []
        tail, evaluated = ANYTHING, 0  # type: Ref, int | None
        listed = schema.get("prefixItems") if self._draft >= 2020 else schema.get("items")
        rest = "items" if self._draft >= 2020 else "additionalItems"
        if isinstance(listed, list):
            name = "prefixItems" if self._draft >= 2020 else "items"
            prefix = [self._ref(part, f"/{name}/{index}") for index, part in enumerate(listed)]
            evaluated = len(prefix)
        elif self._draft < 2020:
            rest = "items"
        if rest in schema and not isinstance(schema[rest], list):
            tail, evaluated = self._ref(schema[rest], f"/{rest}"), None
        counters, matched = self._contains()
        form = ArrayForm(
            tuple(prefix),
            tail,
            int(schema.get("minItems", 0)),
            int(schema["maxItems"]) if "maxItems" in schema else None,
            counters,
            schema.get("uniqueItems", False),
            (evaluated, matched),
        )
        return [] if form.key == _NO_ARRAY_FACT else [ArrayFact(form)]

    def _contains(self) -> tuple[tuple[Counter, ...], frozenset[Ref]]:
        schema = self._schema
        if "contains" not in schema:
            return (), frozenset()
        ref = self._ref(schema["contains"], "/contains")
        least = int(schema.get("minContains", 1))
        most = int(schema["maxContains"]) if "maxContains" in schema else None
        matched = frozenset((ref,)) if self._draft >= 2020 else frozenset()
        return (Counter(ref, least, most),) if least or most is not None else (), matched

    def _objects(self) -> list[Expression]:
        schema, path = self._schema, self._place.pointer
        properties, patterned = schema.get("properties", {}), schema.get("patternProperties", {})
        named = {name: self._ref(part, f"/properties/{escape(name)}") for name, part in properties.items()}
        classes: list[tuple[Names, Ref]] = []
        numbers = set()
        for source, part in patterned.items():
            suffix = f"/patternProperties/{escape(source)}"
            number = self._translator.pattern_number(source, path + suffix)
            numbers.add(number)
            classes.append((Names(patterns=frozenset((number,))), self._ref(part, suffix)))
        evaluated = Names(frozenset(named), frozenset(numbers))
        if "additionalProperties" in schema:
            rest = Names(frozenset(named), frozenset(numbers), inverted=True)
            classes.append((rest, self._ref(schema["additionalProperties"], "/additionalProperties")))
            evaluated = ALL_NAMES
        form = ObjectForm(
            named,
            tuple(rule for rule in classes if rule[1] != ANYTHING),
            frozenset(schema.get("required", ())),
            (),
            int(schema.get("minProperties", 0)),
            int(schema["maxProperties"]) if "maxProperties" in schema else None,
            tuple(named),
            evaluated,
        )
        parts: list[Expression] = [] if form.key == _NO_OBJECT_FACT else [ObjectFact(form)]
        if "propertyNames" in schema:
            parts.append(NameFact(self._ref(schema["propertyNames"], "/propertyNames")))
        return parts

    # -- applicators -----------------------------------------------------------------------------

    def _applied(self) -> list[Expression]:
        schema, parts = self._schema, list[Expression]()
        for keyword, make in (("allOf", Every), ("anyOf", Some), ("oneOf", ExactlyOne)):
            if keyword in schema:
                branches = [self._here(part, f"/{keyword}/{i}") for i, part in enumerate(schema[keyword])]
                parts.append(branches[0] if len(branches) == 1 else make(tuple(branches)))
        if "not" in schema:
            parts.append(Negation(self._here(schema["not"], "/not")))
        if "if" in schema:
            branches = [self._here(schema[key], f"/{key}") if key in schema else ALWAYS for key in ("then", "else")]
            parts.append(Condition(self._here(schema["if"], "/if"), *branches))
        return parts + self._dependencies()

    def _dependencies(self) -> list[Expression]:
        schema, parts = self._schema, list[Expression]()
        for keyword in ("dependencies", "dependentRequired", "dependentSchemas"):
            for name, value in schema.get(keyword, {}).items():
                value = [value] if isinstance(value, str) else value
                if isinstance(value, list):
                    then: Expression = ObjectFact(ObjectForm(required=frozenset(value)))
                else:
                    then = self._here(value, f"/{keyword}/{escape(name)}")
                parts.append(Condition(_has(name), then, ALWAYS))
        return parts


def _has(name: str) -> Expression:
    """An object with this property."""
    return Every((Types(OBJECT), ObjectFact(ObjectForm(required=frozenset((name,))))))


def _types(value: str | list[str], draft: int) -> Expression:
    names = {value} if isinstance(value, str) else set(value)
    bits = 0
    for name in names:
        bits |= _TYPE_BITS[name]
    if "integer" in names and not names & {"number", "any"}:
        integers = Numerals.digits() if draft == 4 else Numerals.of(NumberSet.integers())
        return Every((Types(bits), NumberFact(integers)))
    return Types(bits)


_NO_ARRAY_FACT = ArrayForm().key
_NO_OBJECT_FACT = ObjectForm().key


def located(make: Callable[[], T], path: str) -> T:
    """Run `make`; what it raises is raised again with the path in front."""
    try:
        return make()
    except GrammarError as error:
        if path and not str(error).startswith(path):
            if isinstance(error, UnsupportedConstraintError):
                raise UnsupportedConstraintError(str(error), path) from error
            raise type(error)(f"{path}: {error}") from error
        raise
