"""`GET /openapi.json`: the server described for machines. In: paths and the models of their bodies. Out: a document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}


def describe(posts: Mapping[str, type[BaseModel]], gets: Iterable[str], model_name: str) -> dict[str, Any]:
    """OpenAPI 3.1. model_name: the one that bodies may name."""
    bodies = list(dict.fromkeys(posts.values()))
    names, schemas = models_json_schema(
        [(body, "validation") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    for schema in schemas["$defs"].values():
        if "model" in schema["properties"]:
            needed = "model" in schema["required"]
            schema["properties"]["model"] = {"title": "Model", "enum": [model_name] if needed else [model_name, None]}
    paths: dict[str, Any] = {
        path: {
            "post": {
                "summary": (body.__doc__ or "").splitlines()[0],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": names[(body, "validation")]}},
                },
                "responses": _responses(),
            }
        }
        for path, body in posts.items()
    }
    for path in gets:
        plain = path.replace(":path", "")
        named = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in re.findall(r"\{(\w+)\}", plain)
        ]
        paths[plain] = {"get": {"parameters": named, "responses": _responses()}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "sgl-lite", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {**schemas["$defs"], "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _responses() -> dict[str, Any]:
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    return {"200": {"description": "The answer."}, "default": {"description": "What is wrong.", **error}}
