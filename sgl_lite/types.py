"""Python types to JSON Schema, and JSON text back to values. Pydantic does both.

In: pydantic models, dataclasses, TypedDict, Literal, Enum, `list[int]`, unions, or a function, whose parameters are
taken (its JSON is an object of arguments).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, PydanticUserError, TypeAdapter, create_model
from typing_extensions import TypedDict, is_typeddict

from sgl_lite.errors import ArgumentError

_PORTABLE: type = type(TypedDict("_", {}))  # type: ignore[operator]


@dataclass(frozen=True, slots=True)
class TypedJson:
    """schema: the JSON Schema of a type. parse: JSON text -> a value of the type."""

    schema: dict[str, Any]
    parse: Callable[[str], Any]

    @classmethod
    def of(cls, hint: Any) -> TypedJson:
        """Objects of a type hold the type's keys and no others. Errors: `ArgumentError` for what has no JSON form."""
        if inspect.isroutine(hint):
            model = arguments_model(hint)
            return cls(model.model_json_schema(), lambda text: dict(model.model_validate_json(text)))
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(_with_portable_dicts(hint))
            return cls(_closed(adapter.json_schema()), adapter.validate_json)
        except PydanticUserError as error:
            why = str(error).splitlines()[0].partition(". ")[0]
            raise ArgumentError(
                f"{hint!r} has no JSON form ({why}); "
                "give a type (a pydantic model, a dataclass, a TypedDict, an Enum, list[int], ...) or a schema"
            ) from error


def _with_portable_dicts(hint: Any) -> Any:
    """The same type with each `typing.TypedDict` as that of `typing_extensions`: pydantic takes no other below 3.12."""
    if is_typeddict(hint) and not isinstance(hint, _PORTABLE):
        fields = get_type_hints(hint, include_extras=True)
        wrapped = {
            name: (Required if name in hint.__required_keys__ else NotRequired)[_with_portable_dicts(field)]
            for name, field in fields.items()
        }
        made = TypedDict(hint.__name__, wrapped)  # type: ignore[misc]
        made.__doc__ = hint.__doc__
        return made
    parts = get_args(hint)
    if not parts or get_origin(hint) in (Literal, Annotated):
        return hint
    portable = tuple(_with_portable_dicts(part) for part in parts)
    if portable == parts:
        return hint
    origin: Any = Union if isinstance(hint, UnionType) else get_origin(hint)
    return origin[portable]


def _closed(schema: Any) -> Any:
    """The schema with objects that hold no keys but those of their type, unless the type says `extra="allow"`."""
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for key in ("properties", "patternProperties", "$defs"):
        if key in closed:
            closed[key] = {name: _closed(inner) for name, inner in closed[key].items()}
    for key in ("items", "additionalProperties"):
        if key in closed:
            closed[key] = _closed(closed[key])
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if key in closed:
            closed[key] = [_closed(inner) for inner in closed[key]]
    if "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the model wants to be called. Calling it does so: `result = state.parsed("call")()`."""

    name: str
    arguments: dict[str, Any]
    function: Callable[..., Any] = field(repr=False, compare=False)

    def __call__(self) -> Any:
        return self.function(**self.arguments)


@dataclass(frozen=True, slots=True)
class ToolSet:
    """Functions that a model may call, with the models of their parameters."""

    tools: Mapping[str, tuple[Callable[..., Any], type[BaseModel]]]

    @classmethod
    def of(cls, functions: Sequence[Callable[..., Any]]) -> ToolSet:
        """Errors: `ArgumentError` for no function, two of one name, or parameters without a JSON form."""
        names = [getattr(function, "__name__", "") for function in functions]
        if not names or "" in names or len(set(names)) < len(names):
            raise ArgumentError(f"tools={functions!r} must be functions with names of their own, and at least one")
        return cls({name: (one, arguments_model(one)) for name, one in zip(names, functions, strict=True)})

    def schema(self) -> dict[str, Any]:
        """One object a tool. Its name comes first, so that the arguments are those of the tool."""
        calls = []
        definitions: dict[str, Any] = {}
        for name, (_, model) in self.tools.items():
            arguments = _closed(model.model_json_schema())
            definitions |= arguments.pop("$defs", {})
            calls.append(
                {
                    "type": "object",
                    "properties": {"name": {"const": name}, "arguments": arguments},
                    "required": ["name", "arguments"],
                    "additionalProperties": False,
                }
            )
        whole = calls[0] if len(calls) == 1 else {"anyOf": calls}
        return {**whole, "$defs": definitions} if definitions else whole

    def parse(self, text: str) -> ToolCall:
        """The call, its arguments as values of the parameters' types."""
        call = json.loads(text)
        function, model = self.tools[call["name"]]
        return ToolCall(call["name"], dict(model.model_validate(call["arguments"])), function)


def arguments_model(function: Callable[..., Any]) -> type[BaseModel]:
    """A model whose fields are the function's parameters. Errors: `ArgumentError` for `*args` and `**kwargs`."""
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ArgumentError(f"{function.__name__}: parameter {parameter} cannot be given by name in JSON")
        hint = Any if parameter.annotation is parameter.empty else parameter.annotation
        fields[parameter.name] = (hint, ... if parameter.default is parameter.empty else parameter.default)
    return create_model(function.__name__, __config__={"extra": "forbid"}, **fields)
