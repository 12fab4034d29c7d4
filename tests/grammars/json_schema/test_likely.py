"""Texts that masks are made for ahead: a compile neither fails nor takes long for them."""

from __future__ import annotations

import json

import pytest

import grammars
from grammars import JsonSchema, Vocabulary
from grammars.json_schema.compiling import compile_schema

SCHEMAS = [
    ({"properties": {"b": {"type": "integer"}, "a": {"items": {"enum": ["x"]}, "type": "array"}}, "type": "object"}),
    {"type": "object", "additionalProperties": {"type": "boolean"}},
    {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}}},
    {"type": "array", "prefixItems": [{"const": 1}, {"type": "null"}], "minItems": 2, "items": False},
    {"type": "string", "pattern": "^[0-9]{3}$"},
]
VOCABULARY = Vocabulary([bytes([byte]) for byte in range(256)] + [b'{"', b'": ', b""], eos_ids=[258])


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_likely_texts_are_read(schema: object) -> None:
    spec = JsonSchema(schema)
    text = compile_schema(spec).likely_text(1.0)
    json.loads(text)
    assert grammars.compile(spec, VOCABULARY).matcher(prefix=text).is_accepting()


def test_names_without_text_are_left_out() -> None:
    spec = JsonSchema('{"type": "object", "properties": {"\\ud800": {}, "a": {"const": 1}}}')
    assert compile_schema(spec).likely_text(1.0) == b'{"a": 1}'


def test_the_beginning_is_enough() -> None:
    schema = {"type": "object", "properties": {f"name {number}": {"type": "object"} for number in range(5_000)}}
    assert len(compile_schema(JsonSchema(schema)).likely_text(0.001)) < 100_000
    assert compile_schema(JsonSchema(schema)).likely_text(10.0).startswith(b'{"name 0": {')
