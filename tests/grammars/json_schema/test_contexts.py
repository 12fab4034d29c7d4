"""Masks that contexts share are those of each: names that have been written matter only where a token can tell."""

from __future__ import annotations

import random

import pytest

from grammars import DEFAULT_LIMITS, JsonSchema, Vocabulary
from grammars.json_schema.compiling import compile_schema
from grammars.masks.token_mask import TokenMasks
from tests.grammars.toy import allowed_by_trying, bits_of

BYTES = [bytes([byte]) for byte in range(256)]
WRITTEN = [b'"a"', b'"b"', b'"c": ', b'{"a": ', b'{"b":', b"1", b"[1", b'"x"', b", ", b"},", b"}", b"]", b": "]
WHOLE = [b',"a":', b'}, "b": {', b'1, "a": ', b'}}, "b"', b'], "\\u0061"', b'","', b',"",', b'"},"a":{"b":']

MAP = {"type": "object", "additionalProperties": {"type": "integer"}}
SCHEMAS: list[object] = [
    {"type": "object", "additionalProperties": MAP},
    {"type": "object", "properties": {"c": MAP}, "additionalProperties": {"items": MAP}, "minProperties": 2},
    {"type": "object", "patternProperties": {"^[ab]$": MAP}, "additionalProperties": False},
    {"type": "object", "patternProperties": {"^[ab]$": {"const": 1}}, "additionalProperties": MAP, "maxProperties": 3},
    {"anyOf": [{"additionalProperties": MAP, "required": ["a"]}, {"additionalProperties": {"items": MAP}}]},
    {"type": "object", "additionalProperties": {"uniqueItems": True, "items": MAP}, "propertyNames": {"maxLength": 1}},
    {"type": "object", "additionalProperties": MAP, "propertyNames": {"enum": ["a", "b"]}},
    {"type": "object", "additionalProperties": MAP, "propertyNames": {"pattern": "^[ab]$"}, "minProperties": 2},
]


@pytest.mark.parametrize("order", ["schema", "any"])
@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_masks_inside_of_maps(schema: object, order: str) -> None:
    vocabulary = Vocabulary([*BYTES, *WRITTEN, *WHOLE, b""], eos_ids=[256 + len(WRITTEN) + len(WHOLE)])
    assert vocabulary.whole_names == {"a", "b", ""}
    automaton = compile_schema(JsonSchema(schema, property_order=order))
    masks, rng, shared = TokenMasks(automaton, vocabulary, DEFAULT_LIMITS), random.Random(2), 0
    for _ in range(12):
        state = automaton.start
        for _ in range(40):
            allowed = bits_of(masks.row(state), len(vocabulary))
            assert allowed == allowed_by_trying(automaton, vocabulary, state)
            shared += masks.transitions.without_text(state) != state
            likely = sorted(
                token for token in allowed if 256 <= token < len(vocabulary) - 1 or token in set(b'{"1,:}]')
            )
            if not likely:
                break
            _, state = masks.take(state, rng.choice(likely))
    assert shared


def test_a_map_of_many_objects_needs_the_masks_of_few() -> None:
    vocabulary = Vocabulary([*BYTES, b'{"', b'": ', b""], eos_ids=[258])
    schema = {"type": "object", "additionalProperties": {"type": "object", "properties": {"k": {"type": "integer"}}}}
    masks = TokenMasks(compile_schema(JsonSchema(schema)), vocabulary, DEFAULT_LIMITS)
    made = 0
    original = masks._make

    def counted(*args: object) -> None:
        nonlocal made
        made += 1
        original(*args)  # type: ignore[arg-type]

    masks._make = counted  # type: ignore[method-assign]

    def write(state: int, text: str) -> int:
        for byte in text.encode():
            masks.row(state)
            _, state = masks.take(state, byte)
        assert state >= 0
        return state

    state = write(masks.transitions.automaton.start, '{"n00": {"k": 10}')
    before = made
    for number in range(1, 50):
        state = write(state, f', "n{number:02}": {{"k": 10}}')
    assert made - before < 49 * 8, "only the states between members are their own"
