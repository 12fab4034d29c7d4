"""Whether a schema is one: the value of each keyword has the shape that the standard asks for.

Comes in: a subschema. Goes out: nothing, or ConstraintSyntaxError with the path. Knows no meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grammars.errors import ConstraintSyntaxError
from grammars.json_schema.dialect import Draft
from grammars.json_schema.resolver import escape
from grammars.json_schema.values import is_number

TYPE_NAMES = ("null", "boolean", "number", "integer", "string", "array", "object")


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _is_count(value: Any) -> bool:
    return is_number(value) and value >= 0 and value == int(value)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_schema_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_schema(part) for part in value)


def _is_schema_map(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_schema(part) for part in value.values())


def _is_type(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


_COUNT = (_is_count, "a whole number of at least 0")
_NUMBER = (is_number, "a number")
_SCHEMA = (_is_schema, "a schema (an object or a boolean)")
_SCHEMA_MAP = (_is_schema_map, "an object whose values are schemas")
_SCHEMA_LIST = (_is_schema_list, "a list of at least one schema")
_TEXT = (lambda value: isinstance(value, str), "a string")
_BOOLEAN = (lambda value: isinstance(value, bool), "true or false")

Check = tuple[Callable[[Any], bool], str]

SHAPES: dict[str, Check] = {
    "type": (_is_type, "the name of a type or a list of names"),
    "enum": (lambda value: isinstance(value, list), "a list"),
    "multipleOf": (lambda value: is_number(value) and value > 0, "a number greater than 0"),
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "exclusiveMinimum": _NUMBER,
    "exclusiveMaximum": _NUMBER,
    "minLength": _COUNT,
    "maxLength": _COUNT,
    "pattern": _TEXT,
    "format": _TEXT,
    "minItems": _COUNT,
    "maxItems": _COUNT,
    "uniqueItems": _BOOLEAN,
    "minContains": _COUNT,
    "maxContains": _COUNT,
    "minProperties": _COUNT,
    "maxProperties": _COUNT,
    "required": (_is_names, "a list of names"),
    "properties": _SCHEMA_MAP,
    "patternProperties": _SCHEMA_MAP,
    "additionalProperties": _SCHEMA,
    "propertyNames": _SCHEMA,
    "items": (lambda value: _is_schema(value) or (isinstance(value, list) and all(map(_is_schema, value))), _SCHEMA[1]),
    "prefixItems": _SCHEMA_LIST,
    "additionalItems": _SCHEMA,
    "contains": _SCHEMA,
    "unevaluatedItems": _SCHEMA,
    "unevaluatedProperties": _SCHEMA,
    "allOf": _SCHEMA_LIST,
    "anyOf": _SCHEMA_LIST,
    "oneOf": _SCHEMA_LIST,
    "not": _SCHEMA,
    "if": _SCHEMA,
    "then": _SCHEMA,
    "else": _SCHEMA,
    "dependentSchemas": _SCHEMA_MAP,
    "dependentRequired": (
        lambda value: isinstance(value, dict) and all(map(_is_names, value.values())),
        "an object whose values are lists of names",
    ),
    "dependencies": (
        lambda value: (
            isinstance(value, dict)
            and all(_is_schema(part) or isinstance(part, str) or _is_names(part) for part in value.values())
        ),
        "an object whose values are schemas or lists of names",
    ),
    "$ref": _TEXT,
    "$dynamicRef": _TEXT,
    "$recursiveRef": _TEXT,
}

_DRAFT_4: dict[str, Check] = {"exclusiveMinimum": _BOOLEAN, "exclusiveMaximum": _BOOLEAN}

_ITEMS_2020: Check = (_is_schema, "a schema (a list of schemas is `prefixItems` here; older drafts need their $schema)")

_SINCE: dict[str, Draft] = {
    "const": 6,
    "contains": 6,
    "propertyNames": 6,
    "if": 7,
    "then": 7,
    "else": 7,
    "dependentSchemas": 2019,
    "dependentRequired": 2019,
    "minContains": 2019,
    "maxContains": 2019,
    "unevaluatedItems": 2019,
    "unevaluatedProperties": 2019,
    "$recursiveRef": 2019,
    "prefixItems": 2020,
    "$dynamicRef": 2020,
}
_UNTIL: dict[str, Draft] = {"dependencies": 7, "additionalItems": 2019, "$recursiveRef": 2019}

KEYWORDS: dict[Draft, frozenset[str]] = {
    draft: frozenset(
        name for name in (*SHAPES, "const") if _SINCE.get(name, 4) <= draft and _UNTIL.get(name, 2020) >= draft
    )
    for draft in (4, 6, 7, 2019, 2020)
}
"""The keywords that constrain, by draft. All others are annotations."""


def _shape(keyword: str, draft: Draft) -> Check | None:
    if draft == 4 and keyword in _DRAFT_4:
        return _DRAFT_4[keyword]
    return _ITEMS_2020 if draft == 2020 and keyword == "items" else SHAPES.get(keyword)


def check_shapes(schema: dict[str, Any], draft: Draft, path: str) -> None:
    """Raise ConstraintSyntaxError at the first keyword whose value has a wrong shape."""
    known = KEYWORDS[draft]
    for keyword, value in schema.items():
        check = _shape(keyword, draft)
        if check is None or keyword not in known:
            continue
        if not check[0](value):
            raise ConstraintSyntaxError(f"{path}/{escape(keyword)}: must be {check[1]}, not {_shown(value)}")
        if keyword == "type":
            for name in [value] if isinstance(value, str) else value:
                if name not in TYPE_NAMES and not (name == "any" and draft == 4):
                    raise ConstraintSyntaxError(f"{path}/type: {name!r} is no type; one of {', '.join(TYPE_NAMES)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
