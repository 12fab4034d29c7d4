"""Texts that masks are made for ahead: a compile neither fails nor takes long for them."""

from __future__ import annotations

import json
import time

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


def texts_of(schema: object, seconds: float = 10.0) -> list[bytes]:
    return list(compile_schema(JsonSchema(schema)).likely_texts(time.thread_time() + seconds))


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_likely_texts_are_read(schema: object) -> None:
    for text in texts_of(schema):
        json.loads(text)
        assert grammars.compile(JsonSchema(schema), VOCABULARY).matcher(prefix=text).is_accepting()


def test_each_text_takes_another_choice() -> None:
    schema = {
        "properties": {
            "a": {"enum": ["left", "right"]},
            "b": {"anyOf": [{"type": "null"}, {"items": {"type": "number"}}]},
        }
    }
    first, second = (json.loads(text) for text in texts_of(schema | {"type": "object"}))
    assert {first["a"], second["a"]} == {"left", "right"}
    assert first["b"] != second["b"]


def test_names_without_text_are_left_out() -> None:
    schema = '{"type": "object", "properties": {"\\ud800": {}, "a": {"const": 1}}}'
    assert texts_of(schema) == [b'{"a": 1}']


def test_the_beginning_is_enough() -> None:
    schema = {"type": "object", "properties": {f"name {number}": {"type": "object"} for number in range(5_000)}}
    assert all(len(text) < 100_000 for text in texts_of(schema, 0.001))
    assert texts_of(schema)[0].startswith(b'{"name 0": {')
