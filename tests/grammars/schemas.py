"""Random schemas, and a vocabulary whose tokens cross every border that JSON has. For tests only."""

from __future__ import annotations

import re
import string
from typing import Any

from hypothesis import strategies as st

from grammars import Vocabulary

PIECES = [
    '{"', '": "', '", "', '"}', '": ', '":', '"]', '["', '}, {"', "[{", "}]", "]}", "}}", ", ", "[]", "{}", '""', '"\n',
    "true", "false", "null", "tr", "ue", "12", "00", "1.", ".5", "e+", "-1", "\\u00", "\\n",
    "\\\"", "  ", "\n  ", "\n    ", "name", "ab", "abc", "id", "value", "é", "日", "本語", "\U0001f600",
]  # fmt: skip


def small_vocabulary() -> Vocabulary:
    """All 256 bytes, then pieces across borders, then two halves of a character; the last token ends the text."""
    tokens = [bytes([b]) for b in range(256)] + [p.encode() for p in PIECES]
    tokens += ["é".encode()[:1] + b"", "\U0001f600".encode()[:2], "\U0001f600".encode()[2:] + b'"', b""]
    return Vocabulary(tokens, [len(tokens) - 1], [len(tokens) - 1])


NAMES = ["a", "b", "name", "id", "é", 'q"t', "a b"]
PATTERNS = ["^a", "b$", "^[a-c]{2,4}$", r"\d", "^(ab|c)+$", "x?y", r"^\w+@\w+$"]

simple_values = st.one_of(
    st.none(), st.booleans(), st.integers(-50, 50), st.sampled_from([0.5, -1.25, 1e3]), st.text("ab\"\\é\n", max_size=4)
)  # fmt: skip


def _bounds(draw: st.DrawFn, low: str, high: str, values: st.SearchStrategy[Any]) -> dict[str, Any]:
    """None, one or both of a pair of bounds, in order."""
    least, most = sorted([draw(values), draw(values)])
    keep = draw(st.sampled_from([(), (low,), (high,), (low, high)]))
    return {key: value for key, value in ((low, least), (high, most)) if key in keep}


@st.composite
def string_schemas(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if draw(st.booleans()):
        schema["pattern"] = draw(st.sampled_from(PATTERNS))
    else:
        schema |= _bounds(draw, "minLength", "maxLength", st.integers(0, 8))
    return schema


@st.composite
def number_schemas(draw: st.DrawFn) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"]))}
    low = draw(st.sampled_from(["minimum", "exclusiveMinimum"]))
    high = draw(st.sampled_from(["maximum", "exclusiveMaximum"]))
    schema |= _bounds(draw, low, high, st.integers(-200, 200))
    if low in schema and high in schema and schema[high] - schema[low] < 2:
        schema[high] = schema[low] + 2
    return schema


@st.composite
def object_schemas(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    schema: dict[str, Any] = {"type": "object", "properties": {name: draw(inner) for name in names}}
    if names:
        schema["required"] = draw(st.lists(st.sampled_from(names), max_size=len(names), unique=True))
    rest = draw(st.one_of(st.none(), st.booleans(), inner))
    if rest is not None:
        schema["additionalProperties"] = rest
    return schema


@st.composite
def array_schemas(draw: st.DrawFn, inner: st.SearchStrategy[Any]) -> dict[str, Any]:
    return {"type": "array", "items": draw(inner)} | _bounds(draw, "minItems", "maxItems", st.integers(0, 4))


def schemas() -> st.SearchStrategy[Any]:
    """Schemas of the keywords of the first form, each with at least one instance."""
    leaves: st.SearchStrategy[Any] = st.one_of(
        st.just({"type": "null"}),
        st.just({"type": "boolean"}),
        st.just({"type": ["string", "null"]}),
        st.just({}),
        string_schemas(),
        number_schemas(),
        st.lists(simple_values, min_size=1, max_size=4).map(lambda values: {"enum": values}),
        simple_values.map(lambda value: {"const": value}),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            object_schemas(inner),
            array_schemas(inner),
            st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        ),
        max_leaves=6,
    )


def instances_of(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values valid under a schema that `schemas` made."""
    if "anyOf" in schema:
        return st.one_of(list(map(instances_of, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    match schema.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer" | "number":
            return _numbers(schema)
        case "string" if "pattern" in schema:
            # ECMA 262: classes are ASCII, and `$` is the very end.
            return st.from_regex(re.compile(schema["pattern"].replace("$", r"\Z"), re.ASCII))
        case "string":
            return st.text(min_size=schema.get("minLength", 0), max_size=schema.get("maxLength", 10))
        case "array":
            return st.lists(
                instances_of(schema["items"]), min_size=schema.get("minItems", 0), max_size=schema.get("maxItems", 5)
            )
        case "object":
            return _objects(schema)
        case ["string", "null"]:
            return st.one_of(st.none(), st.text(max_size=5))
    return st.recursive(simple_values, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4)


def _numbers(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -1001) + ("exclusiveMinimum" in schema))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 1001) - ("exclusiveMaximum" in schema))
    integers = st.integers(low, high)
    if schema["type"] == "integer":
        return integers
    return integers | st.decimals(low, high, places=3).map(float)


@st.composite
def _objects(draw: st.DrawFn, schema: dict[str, Any]) -> dict[str, Any]:
    required = schema.get("required", [])
    names = [name for name in schema["properties"] if name in required or draw(st.booleans())]
    value = {name: draw(instances_of(schema["properties"][name])) for name in names}
    rest = schema.get("additionalProperties", True)
    if rest is not False:
        others = st.text(max_size=4).filter(lambda name: name not in schema["properties"])
        value |= draw(st.dictionaries(others, instances_of({} if rest is True else rest), max_size=2))
    return value


@st.composite
def documents(draw: st.DrawFn) -> tuple[Any, st.SearchStrategy[Any]]:
    """A schema, sometimes with a recursive definition that it refers to, and its instances."""
    schema = draw(schemas())
    instances = instances_of(schema)
    if draw(st.integers(0, 3)):
        return schema, instances
    name = draw(st.sampled_from(string.ascii_lowercase))
    properties = {"v": schema, "next": {"$ref": f"#/$defs/{name}"}}
    node = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"$defs": {name: node}, "$ref": f"#/$defs/{name}"}, st.lists(instances, max_size=4).map(_chain)


def _chain(values: list[Any]) -> dict[str, Any]:
    chain: dict[str, Any] = {}
    for value in values:
        chain = {"v": value, "next": chain}
    return chain
