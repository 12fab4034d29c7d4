"""Which schemas mean the same: a name for what a schema says, without its prose.

Comes in: a schema's text. Goes out: a digest, equal only for schemas that differ in titles, descriptions and comments,
or in how their JSON is laid out. Knows no keyword but those and the ones that hold schemas.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from grammars.json_schema.dialect import SUBSCHEMAS, Shape

_PROSE = frozenset(("title", "description", "$comment"))
_HOLDERS: dict[str, set[Shape]] = {}
for _table in SUBSCHEMAS.values():
    for _keyword, _shape in _table.items():
        _HOLDERS.setdefault(_keyword, set()).add(_shape)

_DECODER = json.JSONDecoder(parse_float=lambda text: ("number", text), parse_int=lambda text: ("number", text))


def digest_of(text: str) -> bytes | None:
    """The digest of a schema's text; None where that is no JSON, or nests too deeply."""
    try:
        schema = _without_prose(_DECODER.decode(text))
        return hashlib.blake2b(repr(schema).encode(errors="surrogatepass"), digest_size=16).digest()
    except (ValueError, RecursionError):
        return None


def _without_prose(schema: Any) -> Any:
    """A schema with its prose made empty. What no keyword holds as a schema is left as it is: `enum`, say."""
    if not isinstance(schema, dict):
        return schema
    plain = {}
    for keyword, value in schema.items():
        if keyword in _PROSE and isinstance(value, str):
            plain[keyword] = ""
        else:
            plain[keyword] = _held(value, _HOLDERS[keyword]) if keyword in _HOLDERS else value
    return plain


def _held(value: Any, shapes: set[Shape]) -> Any:
    if isinstance(value, list) and shapes & {"list", "one or list"}:
        return [_without_prose(part) for part in value]
    if isinstance(value, dict) and shapes & {"map", "dependencies"}:
        return {name: _without_prose(part) for name, part in value.items()}
    return _without_prose(value)
