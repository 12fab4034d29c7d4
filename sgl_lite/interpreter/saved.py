"""A state as JSON data, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runtime.images import Image
from sgl_lite.backends.base import Backend
from sgl_lite.errors import ArgumentError
from sgl_lite.interpreter.interpreter import Interpreter
from sgl_lite.interpreter.run import Run
from sgl_lite.marks import MARKS, data_url, mark, split
from sgl_lite.settings import RUN_DEFAULTS

VERSION = 1


def save(interpreter: Interpreter) -> dict[str, Any]:
    """Text, messages, variables and meta info of a state that has nothing left to do.

    Errors: `ArgumentError` for a variable that has no JSON form.
    """
    writer = interpreter.writer
    saved = {
        "version": VERSION,
        "text": _parts(writer.text),
        "images": [data_url(image) for image in writer.images],
        "messages": [{**message, "content": _parts(message["content"])} for message in writer.chat.messages],
        "variables": {name: {"value": cell.value, "meta_info": cell.meta} for name, cell in interpreter.cells.items()},
    }
    try:
        json.dumps(saved)
    except TypeError as error:
        raise ArgumentError(
            f"the state cannot be saved: {error}; assign only text, numbers, lists and dicts"
        ) from error
    return saved


def _parts(text: str) -> str | list[str | int]:
    """Text, or, with images, its pieces and the images' numbers: marks are no text."""
    return split(text, str, int) if MARKS.search(text) else text


def _joined(parts: str | list[str | int]) -> str:
    return parts if isinstance(parts, str) else "".join(one if isinstance(one, str) else mark(one) for one in parts)


def load(saved: Mapping[str, Any], backend: Backend) -> Interpreter:
    """What goes on from what `save` gave. Errors: `ArgumentError`."""
    if saved.get("version") != VERSION:
        raise ArgumentError(
            f"this is no saved state of version {VERSION}, but {saved.get('version')!r}; give what s.save() returned"
        )
    interpreter = Interpreter(Run(backend, RUN_DEFAULTS))
    interpreter.run.thread = None
    images = Image.all_of(saved.get("images", ()), name="images", allow_urls=False, allow_files=False)
    messages = [{**message, "content": _joined(message["content"])} for message in saved["messages"]]
    interpreter.restore(_joined(saved["text"]), images, messages)
    for name, one in saved["variables"].items():
        interpreter.set(name, one["value"])
        interpreter.cells[name].meta = one["meta_info"]
    return interpreter
