"""From the keyword arguments of `gen` and `constrain` to one constraint: its spec, and how to read a text of it.

Knows no vocabulary and no backend: that the spec can be enforced is checked by the backend, where it is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grammars.errors import ConstraintSyntaxError
from grammars.spec import Choice, Ebnf, Format, JsonSchema, Lark, Regex, Spec
from sgl_lite.errors import ArgumentError

REGEX_INT = r"-?(0|[1-9][0-9]*)"
REGEX_FLOAT = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"
REGEX_BOOL = r"(True|False)"
REGEX_STR = r'"([^"\\\x00-\x1f]|\\["\\/bfnrt])*"'

_NUMBER_ENDS = "[ \\n,;)]?"
"""A model ends a number by what follows it. One of these may, and is cut off."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer must be.

    parse: reads a text of `spec`: `s.parsed(name)`.
    stops: texts that end the answer and do not belong to it.
    """

    spec: Spec
    parse: Callable[[str], Any] = str
    stops: tuple[str, ...] = ()

    @property
    def is_json(self) -> bool:
        return isinstance(self.spec, JsonSchema) or self.spec == Format("json")


def constraint_of(
    *,
    json_schema: Any = None,
    regex: str | None = None,
    choices: Sequence[str] | None = None,
    grammar: str | Spec | None = None,
    format: str | None = None,
    dtype: Any = None,
    type: Any = None,
    tools: Sequence[Callable[..., Any]] | None = None,
) -> Constraint | None:
    """The one constraint among the arguments, None without any. Errors: `ArgumentError` if there are several."""
    given = {
        name: value
        for name, value in (
            ("json_schema", json_schema),
            ("regex", regex),
            ("choices", choices),
            ("grammar", grammar),
            ("format", format),
            ("dtype", dtype),
            ("type", type),
            ("tools", tools),
        )
        if value is not None
    }
    if not given:
        return None
    if len(given) > 1:
        raise ArgumentError(f"{' and '.join(given)} are given together; a constraint is one of them")
    name, value = given.popitem()
    return _MAKERS[name](value)


def from_json_schema(schema: Any) -> Constraint:
    """A schema as dict, bool, JSON text or `JsonSchema`, or a Python type."""
    if isinstance(schema, JsonSchema):
        return Constraint(schema, json.loads)
    if isinstance(schema, str):
        try:
            json.loads(schema)
        except ValueError as error:
            raise ConstraintSyntaxError(f"json_schema is not JSON: {error}") from error
    if isinstance(schema, str | Mapping | bool):
        return Constraint(JsonSchema(schema), json.loads)
    return from_type(schema)


def from_type(hint: Any) -> Constraint:
    """JSON of a Python type: see `types.py`."""
    from sgl_lite.types import TypedJson  # brings pydantic, which `import sgl_lite` goes without

    typed = TypedJson.of(hint)
    return Constraint(JsonSchema(typed.schema), typed.parse)


def from_tools(tools: Sequence[Callable[..., Any]]) -> Constraint:
    """A call of one of the functions: `{"name": ..., "arguments": {...}}`. Its value is a `ToolCall`."""
    from sgl_lite.types import ToolSet  # brings pydantic

    tool_set = ToolSet.of(tools)
    return Constraint(JsonSchema(tool_set.schema()), tool_set.parse)


def from_regex(pattern: str) -> Constraint:
    if not isinstance(pattern, str):
        raise ArgumentError(f"regex must be a str, not {pattern!r}")
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConstraintSyntaxError(f"regex {pattern!r} does not parse: {error}") from error
    return Constraint(Regex(pattern))


def from_choices(choices: Sequence[str]) -> Constraint:
    return Constraint(Choice(checked_choices(choices)))


def from_grammar(grammar: str | Spec) -> Constraint:
    """Lark's notation, EBNF where rules are written with `::=`, or any spec."""
    if not isinstance(grammar, str):
        return Constraint(grammar)
    return Constraint(Ebnf(grammar) if "::=" in grammar else Lark(grammar))


def from_format(name: str) -> Constraint:
    if not isinstance(name, str):
        raise ArgumentError(f"format must be a name such as 'json', not {name!r}")
    return Constraint(Format(name), json.loads if name == "json" else str)


def from_dtype(dtype: Any) -> Constraint:
    """A number, a truth value or a string, written as Python does, or any other type as JSON."""
    key = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None)
    if key in ("int", "float") and dtype in (int, float, "int", "float"):
        pattern, parse = (REGEX_INT, int) if key == "int" else (REGEX_FLOAT, float)
        return Constraint(Regex(pattern + _NUMBER_ENDS), parse, (" ", "\n", ",", ";", ")"))
    if dtype in (bool, "bool"):
        return Constraint(Regex(REGEX_BOOL), "True".__eq__)
    if dtype in (str, "str"):
        return Constraint(Regex(REGEX_STR), json.loads)
    if isinstance(dtype, str):
        raise ArgumentError(f"dtype={dtype!r} is not one of 'int', 'float', 'bool', 'str'")
    return from_type(dtype)


def checked_choices(choices: Sequence[str]) -> tuple[str, ...]:
    """The choices as a tuple. Errors: `ArgumentError` if there are none, or one is no text, empty, or there twice."""
    if isinstance(choices, str) or not isinstance(choices, Sequence):
        raise ArgumentError(f"choices must be a list of texts, not {choices!r}")
    for choice in choices:
        if not isinstance(choice, str) or not choice:
            raise ArgumentError(f"choices must be texts, not empty; {choice!r} is not")
    if not choices:
        raise ArgumentError("choices is empty; give at least one")
    if len(set(choices)) < len(choices):
        raise ArgumentError(f"choices holds the same text twice: {list(choices)!r}")
    return tuple(choices)


_MAKERS: Mapping[str, Callable[[Any], Constraint]] = {
    "json_schema": from_json_schema,
    "regex": from_regex,
    "choices": from_choices,
    "grammar": from_grammar,
    "format": from_format,
    "dtype": from_dtype,
    "type": from_type,
    "tools": from_tools,
}
