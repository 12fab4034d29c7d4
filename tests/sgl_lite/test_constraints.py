"""From arguments to one constraint, and from text back to values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypedDict

import pytest
from pydantic import BaseModel, Field

from grammars.errors import ConstraintSyntaxError
from grammars.spec import Choice, Ebnf, Format, JsonSchema, Lark, Regex
from sgl_lite.constraints import REGEX_FLOAT, REGEX_INT, REGEX_STR, constraint_of
from sgl_lite.errors import ArgumentError
from sgl_lite.types import TypedJson


class Person(BaseModel):
    name: str = Field(min_length=1)
    age: int


@dataclass
class Point:
    x: float
    y: float


class Movie(TypedDict):
    title: str
    year: int


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


def book(room: str, nights: int = 1) -> str:
    """Book a room."""
    return f"{room} {nights}"


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (Person, '{"name": "Ada", "age": 36}', Person(name="Ada", age=36)),
        (Point, '{"x": 1, "y": 2.5}', Point(1.0, 2.5)),
        (Movie, '{"title": "M", "year": 1931}', {"title": "M", "year": 1931}),
        (Colour, '"red"', Colour.RED),
        (Literal["yes", "no"], '"no"', "no"),
        (list[int], "[1, 2]", [1, 2]),
        (dict[str, Point], '{"a": {"x": 0, "y": 1}}', {"a": Point(0, 1)}),
        (int | None, "null", None),
        (book, '{"room": "12", "nights": 3}', {"room": "12", "nights": 3}),
        (book, '{"room": "12"}', {"room": "12", "nights": 1}),
    ],
)
def test_types(hint: Any, text: str, value: Any) -> None:
    constraint = constraint_of(type=hint)
    assert constraint is not None and isinstance(constraint.spec, JsonSchema) and constraint.is_json
    assert constraint.parse(text) == value


def test_a_function_is_its_parameters() -> None:
    schema = TypedJson.of(book).schema
    assert schema["required"] == ["room"] and schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["room", "nights"]


def test_a_text_that_is_not_of_the_type() -> None:
    constraint = constraint_of(type=Person)
    assert constraint is not None
    with pytest.raises(ValueError, match="age"):
        constraint.parse('{"name": "Ada"}')


@pytest.mark.parametrize("hint", [object(), lambda *args: None])
def test_what_has_no_json_form(hint: Any) -> None:
    with pytest.raises(ArgumentError):
        constraint_of(type=hint)


@pytest.mark.parametrize(
    ("given", "spec"),
    [
        ({"regex": "a+"}, Regex("a+")),
        ({"choices": ["a", "b"]}, Choice(["a", "b"])),
        ({"format": "json"}, Format("json")),
        ({"grammar": 'start: "a"'}, Lark('start: "a"')),
        ({"grammar": 'root ::= "a"'}, Ebnf('root ::= "a"')),
        ({"grammar": Regex("b")}, Regex("b")),
        ({"json_schema": {"type": "integer"}}, JsonSchema({"type": "integer"})),
        ({"json_schema": '{"type": "integer"}'}, JsonSchema({"type": "integer"})),
        ({"json_schema": True}, JsonSchema(True)),
    ],
)
def test_specs(given: dict[str, Any], spec: Any) -> None:
    constraint = constraint_of(**given)
    assert constraint is not None and constraint.spec == spec


def test_nothing_given() -> None:
    assert constraint_of() is None


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"regex": "a", "format": "json"}, ArgumentError, "regex and format"),
        ({"regex": "("}, ConstraintSyntaxError, "does not parse"),
        ({"regex": 3}, ArgumentError, "must be a str"),
        ({"json_schema": "{"}, ConstraintSyntaxError, "not JSON"),
        ({"choices": "abc"}, ArgumentError, "list of texts"),
        ({"choices": []}, ArgumentError, "empty"),
        ({"choices": ["a", ""]}, ArgumentError, "not empty"),
        ({"choices": ["a", "a"]}, ArgumentError, "twice"),
        ({"dtype": "complex"}, ArgumentError, "'int', 'float'"),
        ({"format": 1}, ArgumentError, "name such as"),
    ],
)
def test_bad_arguments(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        constraint_of(**given)


@pytest.mark.parametrize("text", ["0", "-0", "7", "-120", "10"])
def test_ints(text: str) -> None:
    assert re.fullmatch(REGEX_INT, text) and constraint_of(dtype=int).parse(text) == int(text)  # type: ignore[union-attr]


@pytest.mark.parametrize("text", ["007", "+1", "1.0", "", "-", "1e3"])
def test_not_ints(text: str) -> None:
    assert not re.fullmatch(REGEX_INT, text)


@pytest.mark.parametrize("text", ["0.5", "-1", "3.25e-7", "1E+3"])
def test_floats(text: str) -> None:
    assert re.fullmatch(REGEX_FLOAT, text) and constraint_of(dtype="float").parse(text) == float(text)  # type: ignore[union-attr]


@pytest.mark.parametrize("text", [".5", "1.", "1.e2", "00.1", "+2.0", "nan"])
def test_not_floats(text: str) -> None:
    assert not re.fullmatch(REGEX_FLOAT, text)


def test_strings_and_truth() -> None:
    assert re.fullmatch(REGEX_STR, r'"a \"b\" é"') and not re.fullmatch(REGEX_STR, '"a\nb"')
    string, truth = constraint_of(dtype=str), constraint_of(dtype=bool)
    assert string is not None and string.parse(r'"a \"b\""') == 'a "b"'
    assert truth is not None and truth.parse("True") is True and truth.parse("False") is False
