"""Random schemas, and a vocabulary whose tokens cross every border that JSON has. For tests only."""

from __future__ import annotations

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


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """A schema, sometimes with a recursive definition that it refers to."""
    schema = draw(schemas())
    if draw(st.integers(0, 3)):
        return schema
    name = draw(st.sampled_from(string.ascii_lowercase))
    node = {
        "type": "object",
        "properties": {"v": schema, "next": {"$ref": f"#/$defs/{name}"}},
        "additionalProperties": False,
    }
    return {"$defs": {name: node}, "$ref": f"#/$defs/{name}"}
