"""Random JSON schemas of the keywords that interact, and a validator that counts numbers exactly. For tests only."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

import jsonschema
from jsonschema import validators

Schema = dict[str, Any]

NAMES = ["a", "b", "ab", "é", 'q"t', "n\u0000", "\U0001f600"]
PATTERNS = [
    "^a",
    r"b(?![\s\S])",
    "^[a-c]{2,4}(?![\\s\\S])",
    "[0-9]",
    "^(?:ab|c)+(?![\\s\\S])",
    "x?y",
]
"""Read alike by ECMA 262 and by `re`: no `$`, which in `re` also matches before a last line feed."""
VALUES = [None, True, False, 0, 1, 2, -1, 0.5, 1e3, "", "a", "ab", "é\n", [], [1], [1, "a"], {}, {"a": 1}]
DRAFT_7 = {"dependentRequired": "dependencies", "dependentSchemas": "dependencies"}


def is_integer(_: Any, value: Any) -> bool:
    """Whether JSON Schema counts a value as an integer: `1.0` is one."""
    return not isinstance(value, bool) and (
        isinstance(value, int) or (isinstance(value, Decimal) and value == value.to_integral_value())
    )


def _exact(draft: Any) -> Any:
    return validators.extend(draft, type_checker=draft.TYPE_CHECKER.redefine("integer", is_integer))


_VALIDATORS = {
    None: _exact(jsonschema.Draft202012Validator),
    "draft7": _exact(jsonschema.Draft7Validator),
}


def no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, no name twice."""
    value = dict(pairs)
    assert len(value) == len(pairs), f"a name twice: {pairs}"
    return value


def depth_of(value: Any) -> int:
    """How deep arrays and objects nest: 0 for a scalar."""
    if isinstance(value, list | dict):
        return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)
    return 0


def checker(schema: Any, draft: str | None = None, max_depth: int | None = None) -> Callable[[str], bool]:
    """Whether a text is JSON that is valid under the schema."""
    validator = _VALIDATORS[draft](json.loads(json.dumps(schema), parse_float=Decimal))

    def check(text: str) -> bool:
        try:
            value = json.loads(text, parse_float=_decimal, parse_constant=_refuse, object_pairs_hook=no_twins)
        except ValueError:
            return False
        with localcontext(prec=1500):
            return bool(validator.is_valid(value)) and (max_depth is None or depth_of(value) <= max_depth + 1)

    return check


def _decimal(text: str) -> Decimal:
    """The number, or one as far out where `Decimal` cannot hold the exponent."""
    try:
        return Decimal(text)
    except InvalidOperation:
        digits, _, exponent = text.lower().partition("e")
        return Decimal(f"{digits}e{max(-1000, min(1000, int(exponent)))}")


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def rich_schema(rng: random.Random, depth: int = 2) -> Schema:
    """A schema of one kind of value, or of any, with other schemas of that kind combined with it."""
    kind = rng.choice(["string", "number", "array", "array", "object", "object", "object", "any"])
    schema = _plain(rng, kind, depth)
    for _ in range(rng.choice([0, 1, 1, 2])):
        _combine(rng, schema, kind, depth)
    if kind == "object" and rng.random() < 0.25:
        schema["unevaluatedProperties"] = rng.choice([False, {"type": "integer"}])
    if kind == "array" and rng.random() < 0.25:
        schema["unevaluatedItems"] = rng.choice([False, {"type": "integer"}])
    return schema


def _combine(rng: random.Random, schema: Schema, kind: str, depth: int) -> None:
    def some(count: int) -> list[Schema]:
        return [_plain(rng, kind, depth - 1) for _ in range(count)]

    match rng.choice(["allOf", "anyOf", "oneOf", "not", "if"]):
        case "not":
            schema["not"] = some(1)[0]
        case "if":
            schema["if"], schema["then"], schema["else"] = some(3)
            if rng.random() < 0.5:
                del schema[rng.choice(["then", "else"])]
        case keyword:
            schema[keyword] = some(rng.randint(1, 3))


def _plain(rng: random.Random, kind: str, depth: int) -> Schema:
    """Random keywords about one kind of value."""
    typed = rng.random() < 0.8
    match kind:
        case "string":
            schema = _string(rng)
        case "number":
            return _number(rng)
        case "array" if depth > 0:
            schema = _array(rng, depth)
        case "object" if depth > 0:
            schema = _object(rng, depth)
        case _:
            return rng.choice(
                [{}, {"enum": rng.sample(VALUES, 4)}, {"const": rng.choice(VALUES)}, {"type": ["null", "string"]}]
            )
    return {"type": kind, **schema} if typed else schema


def _string(rng: random.Random) -> Schema:
    low, high = sorted((rng.randint(0, 4), rng.randint(0, 6)))
    options = {
        "pattern": rng.choice(PATTERNS),
        "minLength": low,
        "maxLength": high,
        "enum": rng.sample(["a", "ab", "b1", "é", "\u0000", 'x"y\\', "cc"], 3),
    }
    return _some_of(rng, options, 2)


def _number(rng: random.Random) -> Schema:
    low = rng.choice([-20, -3, 0, 0.5, 1, 7])
    high = low + rng.choice([0, 1, 2.5, 10, 300])
    options: Schema = {
        rng.choice(["minimum", "exclusiveMinimum"]): low,
        rng.choice(["maximum", "exclusiveMaximum"]): high,
        "multipleOf": rng.choice([1, 2, 3, 7, 0.5, 0.1, 0.01, 1.5, 0.3]),
        "enum": rng.sample([0, 1, -1, 2, 3, 0.5, 1e3, 7, 10.0], 4),
    }
    return {"type": rng.choice(["integer", "number"]), **_some_of(rng, options, 3)}


def _array(rng: random.Random, depth: int) -> Schema:
    low, high = sorted((rng.randint(0, 3), rng.randint(0, 4)))
    options: Schema = {
        "items": _small(rng, depth),
        "prefixItems": [_small(rng, depth) for _ in range(rng.randint(1, 3))],
        "contains": _small(rng, depth),
        "uniqueItems": True,
        "minItems": low,
        "maxItems": high,
    }
    schema = _some_of(rng, options, 3)
    if "contains" in schema and rng.random() < 0.5:
        schema |= {"minContains": rng.randint(0, 2), "maxContains": rng.randint(2, 3)}
    return schema


def _object(rng: random.Random, depth: int) -> Schema:
    names = rng.sample(NAMES, 4)
    low, high = sorted((rng.randint(0, 2), rng.randint(1, 4)))
    options: Schema = {
        "required": rng.sample(names, rng.randint(1, 2)),
        "additionalProperties": rng.choice([False, _small(rng, depth)]),
        "patternProperties": {rng.choice(PATTERNS): _small(rng, depth)},
        "propertyNames": {rng.choice(["pattern", "maxLength"]): None},
        "minProperties": low,
        "maxProperties": high,
        "dependentRequired": {names[0]: [names[1]]},
        "dependentSchemas": {names[1]: {"properties": {names[2]: _small(rng, depth)}, "required": [names[2]]}},
    }
    options["propertyNames"] = {
        keyword: rng.choice(PATTERNS) if keyword == "pattern" else 3 for keyword in options["propertyNames"]
    }
    properties = {name: _small(rng, depth) for name in rng.sample(names, rng.randint(0, 3))}
    return {"properties": properties, **_some_of(rng, options, 3)}


def _small(rng: random.Random, depth: int) -> Schema:
    if depth > 1 and rng.random() < 0.4:
        return _plain(rng, rng.choice(["array", "object"]), depth - 1)
    return _plain(rng, rng.choice(["string", "number", "any"]), 0)


def _some_of(rng: random.Random, options: Schema, most: int) -> Schema:
    chosen = rng.sample(sorted(options), rng.randint(0, most))
    return {keyword: options[keyword] for keyword in chosen}


def as_draft_7(schema: Any) -> Any:
    """The schema in the words of draft 7; what draft 7 lacks is left out."""
    if isinstance(schema, list):
        return list(map(as_draft_7, schema))
    if not isinstance(schema, dict):
        return schema
    older: Schema = {}
    for keyword, value in schema.items():
        if keyword in ("enum", "const"):
            older[keyword] = value
        elif keyword == "properties" or keyword == "patternProperties":
            older[keyword] = {name: as_draft_7(part) for name, part in value.items()}
        elif keyword in DRAFT_7:
            older["dependencies"] = {
                **older.get("dependencies", {}),
                **{n: as_draft_7(part) for n, part in value.items()},
            }
        elif keyword == "prefixItems":
            older["items"] = as_draft_7(value)
            if "items" in schema:
                older["additionalItems"] = as_draft_7(schema["items"])
        elif keyword == "items":
            older.setdefault("items", as_draft_7(value))
        elif not keyword.startswith("unevaluated") and keyword not in ("minContains", "maxContains"):
            older[keyword] = as_draft_7(value)
    return older
