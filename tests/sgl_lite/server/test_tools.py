"""Tool calls read from text: however the text is cut, the pieces are those of the whole; and it is what was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grammars
from sgl_lite.server.errors import ApiError
from sgl_lite.server.protocol import ChatBody
from sgl_lite.server.tools import BEGIN, END, CallReader, ContentPiece, tool_use

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from([END, "}\n" + END, '"', "\\", "}{"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.lists(
    st.tuples(st.sampled_from(["f", "get_weather", "a.b-c"]), st.dictionaries(st.text(), JSON, max_size=3))
)
CONTENT = st.text(alphabet="ab <tool_c>{}\n", max_size=12).filter(lambda text: BEGIN not in text)
VOCABULARY = grammars.Vocabulary([*(bytes([byte]) for byte in range(256)), b""], eos_ids=(256,))


def written(calls: list[tuple[str, Any]]) -> str:
    return "\n".join(f'{BEGIN}\n{{"name": "{name}", "arguments": {json.dumps(value)}}}\n{END}' for name, value in calls)


def read(pieces: list[str]) -> tuple[str, list[tuple[str, Any]]]:
    reader, content, calls = CallReader(), "", []
    for index, piece in enumerate(pieces):
        for one in reader.feed(piece, index == len(pieces) - 1):
            if isinstance(one, ContentPiece):
                content += one.text
            elif one.name is not None:
                calls.append([one.name, one.arguments])
                assert one.index == len(calls) - 1
            else:
                calls[one.index][1] += one.arguments
    return content, [(name, json.loads(arguments)) for name, arguments in calls]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(CONTENT, CALLS, st.data())
def test_reading(content: str, calls: list[tuple[str, Any]], data: st.DataObject) -> None:
    text = content + written(calls)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(pieces) == (content, calls)
    assert read(list(text) or [""]) == (content, calls)


def body(**fields: Any) -> ChatBody:
    parameters = {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "required": ["x"],
        "additionalProperties": False,
    }
    tools = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in ("f", "g")]
    return ChatBody.model_validate(
        {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools, **fields}
    )


def unchecked(path: str, schema: Any) -> Any:
    return schema


@pytest.mark.parametrize(
    ("fields", "fits", "fits_not"),
    [
        ({}, ["", "text", written([("f", {"x": 1})]), "a " + written([("f", {"x": 1}), ("g", {"x": 2})]) + " b"],
         [BEGIN, written([("h", {"x": 1})]), written([("f", {})])]),
        ({"tool_choice": "required"}, [written([("f", {"x": 1})]), written([("f", {"x": 1}), ("g", {"x": 2})])],
         ["", "text", written([("f", {"x": "1"})])]),
        ({"tool_choice": "required", "parallel_tool_calls": False}, [written([("g", {"x": 1})])],
         [written([("f", {"x": 1}), ("g", {"x": 2})])]),
        ({"parallel_tool_calls": False}, ["text", "a " + written([("g", {"x": 1})])],
         [written([("f", {"x": 1}), ("g", {"x": 2})])]),
        ({"tool_choice": {"type": "function", "function": {"name": "g"}}},
         ['{"x": 1}'], ["{}", written([("g", {"x": 1})])]),
    ],
)  # fmt: skip
def test_constraints(fields: dict[str, Any], fits: list[str], fits_not: list[str]) -> None:
    use = tool_use(body(**fields), unchecked)
    assert use.constraint is not None and '"name": "f"' in use.system
    grammar = grammars.compile(use.constraint, VOCABULARY)
    for text in fits:
        assert grammar.matcher(prefix=text).is_accepting(), text
    for text in fits_not:
        try:
            accepting = grammar.matcher(prefix=text).is_accepting()
        except grammars.ConformError:
            accepting = False
        assert not accepting, text


def test_none() -> None:
    assert tool_use(body(tool_choice="none"), unchecked).constraint is None


@pytest.mark.parametrize(
    "function",
    [{"name": "f"}, {"name": "h", "parameters": {"type": "array"}}, {"name": "h", "parameters": {"type": ["object"]}}],
)
def test_refused(function: dict[str, Any]) -> None:
    tools = [{"type": "function", "function": one} for one in ({"name": "f"}, function)]
    with pytest.raises(ApiError, match="tools"):
        tool_use(body(tools=tools), unchecked)
