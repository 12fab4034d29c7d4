"""The meta-schemas of the drafts, for schemas that refer to them. Published by json-schema.org, shipped as
`standard.json`."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any


@lru_cache(maxsize=1)
def _all_standard_schemas() -> dict[str, Any]:
    text = files("grammars.json_schema").joinpath("standard.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def standard_schema(uri: str) -> Any | None:
    """The meta-schema, or part of one, with this URI; None for any other URI."""
    if not uri.startswith(("http://json-schema.org/", "https://json-schema.org/")):
        return None
    return _all_standard_schemas().get(uri)
