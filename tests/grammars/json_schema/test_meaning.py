"""Schemas share a grammar where they differ in prose only."""

from __future__ import annotations

import json
from typing import Any

import pytest

from grammars import JsonSchema, Vocabulary
from grammars.compiler import Compiler
from grammars.json_schema.meaning import digest_of

PERSON = {
    "title": "Person",
    "type": "object",
    "properties": {"title": {"type": "string", "description": "of honour"}, "age": {"$ref": "#/$defs/age"}},
    "$defs": {"age": {"title": "Age", "$comment": "in years", "type": "integer", "minimum": 0}},
    "items": [{"title": "first"}],
}


def changed(path: list[Any], value: object) -> str:
    schema = json.loads(json.dumps(PERSON))
    here = schema
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    return json.dumps(schema, indent=2)


@pytest.mark.parametrize(
    "path",
    [
        ["title"],
        ["properties", "title", "description"],
        ["$defs", "age", "title"],
        ["$defs", "age", "$comment"],
        ["items", 0, "title"],
    ],
    ids=str,
)
def test_prose_is_nothing(path: list[Any]) -> None:
    assert digest_of(changed(path, "something else")) == digest_of(json.dumps(PERSON))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ('{"const": {"title": "a"}}', '{"const": {"title": "b"}}'),
        ('{"enum": [{"description": "a"}]}', '{"enum": [{"description": "b"}]}'),
        ('{"const": 1}', '{"const": true}'),
        ('{"const": 1}', '{"const": "1"}'),
        ('{"minimum": 0.1}', '{"minimum": 0.10000000000000000001}'),
        ('{"properties": {"a": {}, "b": {}}}', '{"properties": {"b": {}, "a": {}}}'),
        ('{"properties": {"title": {"type": "string"}}}', '{"properties": {"title": {"type": "null"}}}'),
        ('{"required": ["title"]}', '{"required": ["description"]}'),
        ('{"title": "a"}', "{}"),
        ('{"const": ["number", "1"]}', '{"const": 1}'),
    ],
)
def test_all_else_counts(left: str, right: str) -> None:
    assert digest_of(left) is not None
    assert digest_of(left) != digest_of(right)


def test_what_is_no_json_has_none() -> None:
    assert digest_of("{") is None
    assert digest_of("[" * 100_000) is None


def test_they_share_a_grammar_unless_options_differ() -> None:
    compiler, vocabulary = Compiler(), Vocabulary([*(bytes([byte]) for byte in range(256)), b""], eos_ids=[256])
    first = compiler.compile(JsonSchema(PERSON | {"items": {}}), vocabulary)
    other = PERSON | {"items": {}, "title": "Somebody"}
    assert compiler.compile(JsonSchema(other), vocabulary) is first
    assert compiler.compile(JsonSchema(other, max_depth=3), vocabulary) is not first
    assert compiler.compile(JsonSchema(other, property_order="any"), vocabulary) is not first
