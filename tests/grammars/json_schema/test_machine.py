"""The machine as a whole: white space, names, memory, order, depth, emptiness, errors."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import jsonschema
import pytest

from grammars.errors import ConstraintSyntaxError, UnsatisfiableConstraintError, UnsupportedConstraintError
from grammars.json_schema import compile_json, compile_schema
from grammars.spec import JsonSchema
from tests.grammars.json_schema.runner import Runner

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"items": {"type": "string"}}},
    "required": ["name"],
}


@pytest.mark.parametrize("layout", [{"indent": 2}, {"indent": 4}, {"indent": "\t"}, {}, {"separators": (",", ":")}])
@pytest.mark.parametrize("value", [{"name": "Ada", "tags": ["x", "y"]}, {"name": "", "tags": []}])
def test_white_space_as_models_write_it(layout: dict[str, Any], value: Any) -> None:
    text = json.dumps(value, **layout)
    assert Runner.of(PERSON).accepts(text)
    assert Runner.of(PERSON, whitespace="any").accepts(f" \n{text}\t ")
    assert Runner.of(PERSON, whitespace="compact").accepts(text) == ("indent" not in layout)


def test_white_space_is_bounded() -> None:
    for policy in ("model", "any", "compact"):
        runner = Runner.of({"type": "array"}, whitespace=policy)
        assert not runner.accepts("[\n" + " " * 500 + "1]")
        assert not runner.accepts("[1,  \u00a02]")
    assert not Runner.of({"type": "array"}).accepts("[1,  2]")


def test_escaped_names_are_their_values() -> None:
    runner = Runner.of({"properties": {"ab": {"type": "integer"}}, "additionalProperties": False})
    assert runner.accepts('{"\\u0061b": 1}')
    assert not runner.accepts('{"\\u0061b": "x"}')
    assert not runner.accepts('{"ab": 1, "a\\u0062": 1}')


def test_names_are_never_repeated() -> None:
    for schema in (PERSON, {}, {"patternProperties": {"^a": {}}}, {"minProperties": 2}):
        runner = Runner.of(schema, property_order="any")
        assert runner.accepts('{"name": "x", "ab": 1, "abc": 1}') or schema == PERSON
        assert not runner.accepts('{"name": "x", "ab": 1, "ab": 1}')
        assert not runner.accepts('{"name": "x", "name": "x"}')
        assert not runner.accepts('{"name": "x", "q\\"": 1, "\\u0071\\"": 1}')
    assert Runner(compile_json()).accepts('{"a": 1, "a": 1}')


def test_repeats_are_refused_across_tokens() -> None:
    runner = Runner.of({"minProperties": 2})
    state = runner.automaton.start
    for token in (b'{"', b"ab", b'": ', b'1, "', b"a", b"b"):
        state = runner.advance(state, token)
    assert runner.advance(state, b'"') < 0
    assert runner.advance(state, b'c": 2}') >= 0


def test_order_of_names() -> None:
    fixed, free = Runner.of(PERSON), Runner.of(PERSON, property_order="any")
    assert fixed.takes({"name": "x", "age": 1})
    assert not fixed.takes({"age": 1, "name": "x"})
    assert free.takes({"age": 1, "name": "x"})
    assert fixed.takes({"other": 1, "name": "x", "more": 2, "age": 1})


def test_depth() -> None:
    values = [[], [[]], [[[]]], {"a": {"b": 1}}, {"a": [{"b": 1}]}]
    for bound, taken in ((0, [True, False, False, False, False]), (1, [True, True, False, True, False])):
        runner = Runner.of({}, max_depth=bound)
        assert [runner.takes(value) for value in values] == taken
    recursive = {"type": "array", "items": {"$ref": "#"}, "minItems": 1}
    with pytest.raises(UnsatisfiableConstraintError):
        Runner.of(recursive, max_depth=3)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "string", "enum": [1]},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": True, "minItems": 3},
        {"type": "object", "additionalProperties": False, "minProperties": 1},
        {"type": "object", "propertyNames": {"maxLength": 0}, "minProperties": 2},
        {"not": {}},
        {"allOf": [{"type": "object", "required": ["a"]}, {"not": {"required": ["a"]}}]},
        {"type": "array", "contains": {"type": "string"}, "items": {"type": "number"}},
    ],
)
def test_unsatisfiable(schema: Any) -> None:
    with pytest.raises(UnsatisfiableConstraintError):
        compile_schema(JsonSchema(schema))


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a": {"type": 5}}}, "/properties/a/type"),
        ({"minLength": -1}, "/minLength"),
        ({"items": [{"type": "strnig"}], "$schema": "http://json-schema.org/draft-07/schema#"}, "/items/0/type"),
        ({"allOf": []}, "/allOf"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}}, "itself"),
        ('{"type": ', "JSON"),
        ({"pattern": "("}, "/pattern"),
    ],
)
def test_what_is_no_schema(schema: Any, path: str) -> None:
    with pytest.raises(ConstraintSyntaxError, match=path):
        compile_schema(JsonSchema(schema))


def test_references_that_lead_nowhere() -> None:
    for reference in ("#/$defs/none", "http://example.com/other.json", "#anchor"):
        with pytest.raises(UnsupportedConstraintError, match="/properties/a/\\$ref") as caught:
            compile_schema(JsonSchema({"properties": {"a": {"$ref": reference}}}))
        assert reference in str(caught.value)
    other = {"http://example.com/other.json": {"type": "null"}}
    runner = Runner.of({"properties": {"a": {"$ref": "http://example.com/other.json"}}}, resources=other)
    assert runner.takes({"a": None})
    assert not runner.takes({"a": 1})


def test_report() -> None:
    lines = compile_schema(JsonSchema({"title": "t", "properties": {"a": {"minimum": 1, "x-y": 2}}})).report()
    assert [(line.path, line.keyword, line.how) for line in lines] == [
        ("", "title", "annotation"),
        ("", "properties", "exact"),
        ("/properties/a", "minimum", "exact"),
        ("/properties/a", "x-y", "annotation"),
    ]


def test_unique_items() -> None:
    runner = Runner.of({"type": "array", "uniqueItems": True})
    for value, taken in (
        ([1, 2, "1", True, None, [1], {"a": 1}], True),
        ([1, 1.0], False),
        ([{"a": 1, "b": [2]}, {"b": [2], "a": 1}], False),
        ([{"a": 1, "b": [2]}, {"b": [3], "a": 1}], True),
        ([[1, 2], [2, 1], [1, 2, 3]], True),
        ([[], []], False),
        (["é", "\u00e9"], False),
    ):
        assert runner.takes(value) == taken, value
    assert not runner.accepts('["a", "\\u0061"]')


def test_unique_items_leave_values_to_others() -> None:
    schema = {
        "type": "array",
        "prefixItems": [{"enum": [1, 2]}, {"enum": [1]}],
        "items": False,
        "minItems": 2,
        "uniqueItems": True,
    }
    runner = Runner.of(schema)
    assert runner.automaton.witness(runner.automaton.start) == b"[2,1]"
    assert not runner.accepts("[1,")


SMALL_VALUES: list[Any] = [
    None,
    True,
    0,
    1,
    2.5,
    "",
    "a",
    "ab",
    [],
    [1],
    [1, "a"],
    {},
    {"a": 1},
    {"a": "x", "b": 2},
    {"b": 1},
]

PIECES: list[Any] = [
    {"type": "object"},
    {"type": ["array", "integer"]},
    {"enum": [1, "a", [1], {"a": 1}]},
    {"required": ["a"]},
    {"properties": {"a": {"type": "integer"}, "b": {"const": 2}}},
    {"additionalProperties": {"type": "number"}, "properties": {"a": True}},
    {"minProperties": 1},
    {"maxItems": 1},
    {"contains": {"const": "a"}},
    {"items": {"type": "integer"}},
    {"minLength": 1},
    {"pattern": "^a"},
    {"multipleOf": 1},
    {"propertyNames": {"pattern": "a"}},
    {"dependentRequired": {"a": ["b"]}},
]


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf"])
def test_algebra_against_a_validator(keyword: str) -> None:
    rng = random.Random(keyword)
    pairs = list(itertools.product(PIECES, PIECES))
    for left, right in rng.sample(pairs, 40):
        parts = [left, {"not": right}] if rng.random() < 0.5 else [left, right]
        schema = {keyword: [*parts, rng.choice(PIECES)] if rng.random() < 0.5 else parts}
        schema = {"not": schema} if rng.random() < 0.3 else schema
        validator = jsonschema.Draft202012Validator(schema)
        valid = [value for value in SMALL_VALUES if validator.is_valid(value)]
        try:
            runner = Runner.of(schema, property_order="any")
        except UnsatisfiableConstraintError:
            assert not valid, schema
            continue
        assert [value for value in SMALL_VALUES if runner.takes(value)] == valid, schema
        assert validator.is_valid(json.loads(runner.automaton.witness(runner.automaton.start)))
