"""Schemas on a command line: a file, JSON text, or standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import typer


def read_schema(schema: str) -> str:
    """The JSON text. Errors: `BadParameter`."""
    text = sys.stdin.read() if schema == "-" else schema
    if schema != "-" and not schema.lstrip().startswith(("{", "true", "false")):
        path = Path(schema)
        if not path.is_file():
            raise typer.BadParameter(f"{schema} is neither a file nor JSON text")
        text = path.read_text(encoding="utf-8")
    try:
        json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}") from None
    return text
