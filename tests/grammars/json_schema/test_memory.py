"""What a token tells is what its bytes tell one by one."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest

from grammars import DEFAULT_LIMITS, JsonSchema, Vocabulary
from grammars.automaton import DEAD
from grammars.json_schema.compiling import compile_schema
from grammars.masks.transitions import Transitions

BYTES = Vocabulary([*(bytes([byte]) for byte in range(256)), b""], eos_ids=[256])
NAMES = ["a", "b", "", "é", '"', "\\", "\\\\", ',"', "a,b", "\u0000", "😀", "long name", "x" * 40]
SCHEMAS: list[Any] = [
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "object"}, "b": {"type": "string"}}},
    {"additionalProperties": {"type": "object", "patternProperties": {"^a": True, "b$": {"minProperties": 1}}}},
    {"items": {"uniqueItems": True}, "additionalProperties": {"uniqueItems": True}},
    {"anyOf": [{"minProperties": 2}, {"properties": {"a": {"uniqueItems": True}}}]},
]


def value(rng: random.Random, depth: int) -> Any:
    if depth and rng.random() < 0.7:
        if rng.random() < 0.6:
            return {rng.choice(NAMES): value(rng, depth - 1) for _ in range(rng.randrange(5))}
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return rng.choice([1, -2.5, None, True, rng.choice(NAMES)])


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_tokens_tell_what_their_bytes_tell(schema: Any) -> None:
    steps = Transitions(compile_schema(JsonSchema(schema, property_order="any")), BYTES, DEFAULT_LIMITS.memory_bytes)
    rng, compared = random.Random(5), 0
    for _ in range(150):
        text = json.dumps(value(rng, 4), ensure_ascii=rng.random() < 0.5).encode()
        state, at = steps.automaton.start, 0
        while at < len(text) and state != DEAD:
            token = text[at : at + rng.choice([1, 2, 2, 3, 4, 8])]
            at += len(token)
            landing, told = steps.advance_text(state, token), DEAD
            if landing != DEAD:  # tables may refuse a token whose bytes lead on
                told = steps.remember(state, token, landing)
            for byte in token:
                after = steps.step(state, byte)
                state = after if after == DEAD else steps.remember(state, bytes([byte]), after)
                if state == DEAD:
                    break
            if told != DEAD and state != DEAD:
                compared += 1
                assert told == state, (text, at)
    assert compared > 1000


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_what_began_unseen_allows_less(schema: Any) -> None:
    steps = Transitions(compile_schema(JsonSchema(schema, property_order="any")), BYTES, DEFAULT_LIMITS.memory_bytes)
    rng, validator, accepted = random.Random(6), jsonschema.Draft202012Validator(schema), 0
    for _ in range(400):
        text = json.dumps(value(rng, 3), ensure_ascii=rng.random() < 0.5).encode()
        unseen = rng.randrange(len(text))
        state = steps.advance_text(steps.automaton.start, text[:unseen])
        for byte in text[unseen:]:
            after = DEAD if state == DEAD else steps.step(state, byte)
            state = after if after == DEAD else steps.remember(state, bytes([byte]), after)
        if state != DEAD and steps.is_accepting(state):
            accepted += 1
            assert validator.is_valid(json.loads(text)), text
    assert accepted > 100
