"""Random constraints of all front ends, see `tests.grammars.fuzzing`, and what they once found."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest

from grammars import ConformError, JsonSchema, Regex, Repeat, Sequence, Vocabulary
from grammars.compiler import Compiler
from tests.grammars.fuzzing import SPARE, fuzz, plainly, walk
from tests.grammars.random_specs import FAMILIES
from tests.grammars.rich_schemas import checker
from tests.grammars.schemas import small_vocabulary
from tests.grammars.walks import allowed_tokens


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (rb'"\u0061\/\u000a\n\\"', r'"a/\n\n\\"'),
        (rb'"\uD83D\ude00"', '"\U0001f600"'),
        (rb'"\ud83d', '"'),
        (rb'"\ud83d\ud', '"'),
        (rb'"\\ud83d\u00', r'"\\ud83d'),
        (b'"\xf0\x9f', '"'),
    ],
)
def test_plain_spellings(text: bytes, plain: str) -> None:
    assert plainly(text) == plain


@pytest.mark.parametrize("family", FAMILIES)
def test_walks_end_valid(family: str) -> None:
    seen = fuzz(family, "few", walks=60, per_grammar=3, states=30)
    assert 2 * seen["grammars"] > seen["unsatisfiable"] + seen["refused"] + seen["over a limit"], seen


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("family", FAMILIES)
def test_many_walks_end_valid(family: str) -> None:
    walks = 640 if family in ("lark", "ebnf") else 3_072  # random grammars are slow to read
    seen = fuzz(family, "many", walks=walks, per_grammar=16, states=640)
    assert 2 * seen["grammars"] > seen["unsatisfiable"] + seen["refused"] + seen["over a limit"], seen
    assert seen["over a limit"] <= 0.15 * seen["grammars"], seen


FOUND = [
    {"type": "object", "not": {"const": {}}},
    {"type": "array", "minItems": 3, "uniqueItems": True},
    {"type": "array", "minItems": 12, "uniqueItems": True, "items": {"type": "integer"}},
    {"type": "array", "uniqueItems": True, "items": {"type": "number", "not": {"const": 0.5}}},
    {"type": "array", "uniqueItems": True, "minItems": 3, "contains": {"type": "number"}, "maxContains": 2},
    {"type": "array", "uniqueItems": True, "maxItems": 1, "contains": {"type": "integer"}},
    {"type": "array", "uniqueItems": True, "items": {"enum": [{"a": 1}, True, [1], "a"]}},
    {"type": "object", "minProperties": 2, "propertyNames": {"pattern": "^a"}},
    {"type": "array", "uniqueItems": True, "contains": {"type": "object"}, "minContains": 2, "maxContains": 2},
]
"""What random walks once found wrong"""


@pytest.mark.parametrize("schema", FOUND)
def test_what_was_found_once(schema: dict[str, object]) -> None:
    rng, compiler, vocabulary = random.Random(0), Compiler(), small_vocabulary()
    check = checker(schema)
    grammar = compiler.compile(JsonSchema(schema), vocabulary)
    for number in range(40):
        text = walk(grammar, rng, grammar.min_tokens() + rng.choice(SPARE), forced=number % 2 == 1)
        assert check(text.decode()), text


FEW = [
    ({"type": "integer"}, 3, [7, 2, 1]),
    ({"enum": ["a", "b", "c"]}, 2, ["a", "b", "c"]),
    ({"enum": [1, 2, 3]}, 3, [3, 1, 2]),
    ({"enum": [1, 2.5, 3, "a", None]}, 0, [2.5, "a", None, 3]),
    ({"type": "integer", "minimum": 0, "maximum": 20}, 3, [20, 2, 0, 12]),
    ({"type": "integer", "minimum": 1, "maximum": 65535}, 2, [1, 10, 65535]),
    ({"enum": [[1], [2], {"a": 3}]}, 2, [[2], {"a": 3}]),
    ({"type": "string", "maxLength": 1}, 2, ["", "a", "b"]),
    ({"type": "array", "items": {"enum": [1, 2]}, "maxItems": 2, "uniqueItems": True}, 4, [[], [2, 1], [1, 2], [1]]),
]
"""(items of which there are few, how many there must be, some that differ)"""


@pytest.mark.parametrize(("items", "least", "example"), FEW)
def test_few_items_that_differ(items: dict[str, object], least: int, example: list[object]) -> None:
    """Tokens that end one item and begin the next lead into no dead end, and no item is left out."""
    schema = {"type": "array", "items": items, "uniqueItems": True, "minItems": least}
    merged = [b'","', b'", "', b'"]', b'["', b", ", b", 2", b",1", b",2,1", b"1,", b"],[", b"]]", b"1,2"]
    vocabulary = Vocabulary([*(bytes((byte,)) for byte in range(256)), *merged, b""], [256 + len(merged)])
    rng, check = random.Random(0), checker(schema)
    grammar = Compiler().compile(JsonSchema(schema), vocabulary)
    for number in range(40):
        text = walk(grammar, rng, grammar.min_tokens() + rng.choice(SPARE), forced=number % 2 == 1)
        assert check(text.decode()), text
    assert grammar.matcher(prefix=json.dumps(example)).is_accepting()
    with pytest.raises(ConformError):
        grammar.matcher(prefix=json.dumps([*example, example[0]]))


MANY = [
    {"type": "integer"},
    {"type": "integer", "minimum": 0, "maximum": 100},
    {"enum": ["ab", *(f"{number}b" for number in range(80))]},
    {"type": "string", "pattern": "^(ab|x*)$"},
    {"type": "string", "maxLength": 2},
    {"type": "string"},
    {"type": "array", "items": {"type": "integer"}},
    {"type": "object", "additionalProperties": {"enum": [0, 1]}},
]
"""Items of which there are many, but few that begin like another one"""


@pytest.mark.parametrize("items", MANY)
def test_a_token_over_two_items_commits_the_second_to_nothing(items: dict[str, object]) -> None:
    merged = [
        b",0",
        b",12",
        b",100",
        b'","',
        b'","ab',
        b'","0',
        b'", "',
        b"],[",
        b"],[1",
        b'},{"',
        b'":0},{"a":',
        b", ",
    ]
    vocabulary = Vocabulary([*(bytes((byte,)) for byte in range(256)), *merged, b""], [256 + len(merged)])
    grammar = Compiler().compile(JsonSchema({"type": "array", "items": items, "uniqueItems": True}), vocabulary)
    rng, row = random.Random(0), np.empty(vocabulary.mask_width, np.int32)
    for begun in (b"[0", b"[12", b"[100", b'["ab', b'["0b', b"[[1", b'[{"a', b"["):
        for _ in range(40):
            try:
                matcher, text = grammar.matcher(prefix=begun), begun
            except ConformError:
                break
            for _ in range(6):
                matcher.fill_mask(row)
                allowed = allowed_tokens(row, vocabulary.size).tolist()
                choice = [token for token in allowed if 256 <= token < 256 + len(merged)] * 40 + allowed
                token = rng.choice(choice)
                if not matcher.advance(token) or token == 256 + len(merged):
                    break
                text += vocabulary.tokens[token]
                grammar.min_tokens(prefix=text)  # raises where no text begins like this


_OBJECTS = JsonSchema({"type": "object", "additionalProperties": {"type": "integer"}})
FOUND_COMPOSED = [Repeat(Repeat(_OBJECTS, 1, separator=","), 1), Repeat(Sequence(_OBJECTS, Regex(",?")), 1)]
"""A part that remembers, and ends only to begin anew"""


@pytest.mark.parametrize("spec", FOUND_COMPOSED)
def test_what_was_found_once_in_compositions(spec: Repeat) -> None:
    rng, check = random.Random(0), checker({"type": "array", "items": {"type": "object"}})
    grammar = Compiler().compile(spec, small_vocabulary())
    for number in range(60):
        text = walk(grammar, rng, grammar.min_tokens() + rng.choice(SPARE), forced=number % 2 == 1).decode()
        assert check("[" + re.sub(r"(?<=\}),?(?=\{)", ",", text).rstrip(",") + "]"), text
