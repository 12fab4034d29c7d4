"""A state as JSON data, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sgl_lite.backends.base import Backend
from sgl_lite.errors import ArgumentError
from sgl_lite.interpreter import Interpreter
from sgl_lite.run import Run
from sgl_lite.settings import RUN_DEFAULTS

VERSION = 1


def save(interpreter: Interpreter) -> dict[str, Any]:
    """Text, messages, variables and meta info of a state that has nothing left to do.

    Errors: `ArgumentError` for a variable that has no JSON form.
    """
    saved = {
        "version": VERSION,
        "text": interpreter.writer.text,
        "messages": [dict(message) for message in interpreter.writer.chat.messages],
        "variables": {name: {"value": cell.value, "meta_info": cell.meta} for name, cell in interpreter.cells.items()},
    }
    try:
        json.dumps(saved)
    except TypeError as error:
        raise ArgumentError(
            f"the state cannot be saved: {error}; assign only text, numbers, lists and dicts"
        ) from error
    return saved


def load(saved: Mapping[str, Any], backend: Backend) -> Interpreter:
    """What goes on from what `save` gave. Errors: `ArgumentError`."""
    if saved.get("version") != VERSION:
        raise ArgumentError(f"this is no saved state of version {VERSION}, but {saved.get('version')!r}")
    interpreter = Interpreter(Run(backend, RUN_DEFAULTS))
    interpreter.run.thread = None
    interpreter.restore(saved["text"], saved["messages"])
    for name, one in saved["variables"].items():
        interpreter.set(name, one["value"])
        interpreter.cells[name].meta = one["meta_info"]
    return interpreter
