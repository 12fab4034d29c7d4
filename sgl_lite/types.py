"""Python types to JSON Schema, and JSON text back to values. Pydantic does both.

In: pydantic models, dataclasses, TypedDict, Literal, Enum, `list[int]`, unions, or a function, whose parameters are
taken (its JSON is an object of arguments).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, create_model
from pydantic.errors import PydanticInvalidForJsonSchema

from sgl_lite.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class TypedJson:
    """schema: the JSON Schema of a type. parse: JSON text -> a value of the type."""

    schema: dict[str, Any]
    parse: Callable[[str], Any]

    @classmethod
    def of(cls, hint: Any) -> TypedJson:
        """Errors: `ArgumentError` for what has no JSON form."""
        if inspect.isroutine(hint):
            model = arguments_model(hint)
            return cls(model.model_json_schema(), lambda text: dict(model.model_validate_json(text)))
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(hint)
            return cls(adapter.json_schema(), adapter.validate_json)
        except (PydanticSchemaGenerationError, PydanticInvalidForJsonSchema, PydanticUserError) as error:
            raise ArgumentError(
                f"{hint!r} has no JSON form; give a pydantic model, a dataclass, a TypedDict, an Enum, or a schema"
            ) from error


def arguments_model(function: Callable[..., Any]) -> type[BaseModel]:
    """A model whose fields are the function's parameters. Errors: `ArgumentError` for `*args` and `**kwargs`."""
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ArgumentError(f"{function.__name__}: parameter {parameter} cannot be given by name in JSON")
        hint = Any if parameter.annotation is parameter.empty else parameter.annotation
        fields[parameter.name] = (hint, ... if parameter.default is parameter.empty else parameter.default)
    return create_model(function.__name__, __config__={"extra": "forbid"}, **fields)
