"""What the drafts of JSON Schema call things: which keywords there are, and which of them hold schemas.

Comes in: a draft. Goes out: tables. Knows no schema.
"""

from __future__ import annotations

from typing import Literal

from grammars.errors import ConstraintSyntaxError

Draft = Literal[4, 6, 7, 2019, 2020]

_NAMES: dict[str, Draft] = {
    "draft4": 4,
    "draft6": 6,
    "draft7": 7,
    "2019-09": 2019,
    "2020-12": 2020,
    "draft2019-09": 2019,
    "draft2020-12": 2020,
}

DRAFT_NAMES: dict[Draft, str] = {4: "draft4", 6: "draft6", 7: "draft7", 2019: "2019-09", 2020: "2020-12"}

_URIS: dict[str, Draft] = {
    "http://json-schema.org/draft-03/schema": 4,
    "http://json-schema.org/draft-04/schema": 4,
    "http://json-schema.org/draft-06/schema": 6,
    "http://json-schema.org/draft-07/schema": 7,
    "https://json-schema.org/draft/2019-09/schema": 2019,
    "https://json-schema.org/draft/2020-12/schema": 2020,
}

LATEST: Draft = 2020

Shape = Literal["one", "list", "map", "one or list", "dependencies"]
"""How a keyword holds schemas. "dependencies": a map from names to schemas or lists of names."""

_ALL: dict[str, Shape] = {
    "properties": "map",
    "patternProperties": "map",
    "additionalProperties": "one",
    "allOf": "list",
    "anyOf": "list",
    "oneOf": "list",
    "not": "one",
}
_TO_2019: dict[str, Shape] = {"items": "one or list", "additionalItems": "one"}
_FROM_6: dict[str, Shape] = {"contains": "one", "propertyNames": "one"}
_FROM_7: dict[str, Shape] = {"if": "one", "then": "one", "else": "one"}
_FROM_2019: dict[str, Shape] = {
    "dependentSchemas": "map",
    "unevaluatedItems": "one",
    "unevaluatedProperties": "one",
    "contentSchema": "one",
}
_FROM_2020: dict[str, Shape] = {"prefixItems": "list", "items": "one"}
_DEFINITIONS: dict[str, Shape] = {"definitions": "map", "$defs": "map", "dependencies": "dependencies"}


def applicators(draft: Draft) -> dict[str, Shape]:
    """The keywords that hold subschemas, without `definitions`."""
    table = dict(_ALL)
    table.update(_FROM_2020 if draft >= 2020 else _TO_2019)
    if draft <= 7:
        table["dependencies"] = "dependencies"
    if draft >= 6:
        table.update(_FROM_6)
    if draft >= 7:
        table.update(_FROM_7)
    if draft >= 2019:
        table.update(_FROM_2019)
    return table


APPLICATORS: dict[Draft, dict[str, Shape]] = {draft: applicators(draft) for draft in (4, 6, 7, 2019, 2020)}
"""Keywords whose subschemas constrain."""

SUBSCHEMAS: dict[Draft, dict[str, Shape]] = {draft: {**table, **_DEFINITIONS} for draft, table in APPLICATORS.items()}
"""Keywords whose subschemas may carry identifiers."""


def draft_named(name: str | None) -> Draft:
    """The draft that a user asks for; the latest for None."""
    if name is None:
        return LATEST
    if name not in _NAMES:
        raise ConstraintSyntaxError(f"draft={name!r} is unknown; use one of {', '.join(map(repr, _NAMES))}")
    return _NAMES[name]


def draft_of_uri(uri: str) -> Draft | None:
    """The draft that a `$schema` names, None for one that is not a standard one."""
    return _URIS.get(uri.rstrip("#").replace("https://json-schema.org/draft-0", "http://json-schema.org/draft-0"))


def identifier_keyword(draft: Draft) -> str:
    """`id` or `$id`."""
    return "id" if draft == 4 else "$id"
