"""Where images stand in a state's text: each has a mark, one character that no text can contain.

The marks are the lone surrogates, which no encoding of text can write, so neither a program nor a model makes one by
chance. The mark says which of the state's images it is. Out: prompts without marks, with the places of their images;
messages in OpenAI's form. Knows no backend.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from typing import Any

from runtime.api import PromptImage
from runtime.images import Image
from sgl_lite.errors import AppendError, ArgumentError

_FIRST = 0xD800
MAX_IMAGES = 2048
"""In one state: there are no more marks."""
MARKS = re.compile("[\ud800-\udfff]")
IMAGE_TEXT = "<image>"
"""How an image is shown in text where the model has no words for it."""


def mark(index: int) -> str:
    """The mark of a state's image. Errors: `ArgumentError` for too many."""
    if index >= MAX_IMAGES:
        raise ArgumentError(f"a state holds at most {MAX_IMAGES} images")
    return chr(_FIRST + index)


def index_of(found: str) -> int:
    """Which image a mark stands for."""
    return ord(found) - _FIRST


def check_text(text: str) -> None:
    """Errors: `AppendError` for text that holds half of a character, which no tokenizer takes."""
    if (half := MARKS.search(text)) is not None:
        raise AppendError(
            f"the text holds half a surrogate pair (U+{ord(half[0]):04X} at {half.start()}), which is no character; "
            "decode it with errors='replace'"
        )


def shown(text: str, image_text: str = IMAGE_TEXT) -> str:
    """The text as people see it."""
    return MARKS.sub(lambda _: image_text, text)


def placed(text: str, images: Sequence[Image]) -> tuple[str, tuple[PromptImage, ...]]:
    """A prompt without marks, and its images with their places in it, in characters."""
    pieces = MARKS.split(text)
    out, at = [], 0
    for piece, found in zip(pieces, MARKS.finditer(text), strict=False):
        at += len(piece)
        out.append(PromptImage(images[index_of(found[0])], at))
    return "".join(pieces), tuple(out)


def data_url(image: Image) -> str:
    """The image as a PNG in a URL."""
    return "data:image/png;base64," + base64.b64encode(image.to_png()).decode()


def split(text: str, of_text: Callable[[str], Any], of_image: Callable[[int], Any]) -> list[Any]:
    """The parts of a text: what there is between marks, and the marks' images, in order."""
    parts: list[Any] = []
    end = 0
    for found in MARKS.finditer(text):
        parts += [of_text(text[end : found.start()])] if found.start() > end else []
        parts.append(of_image(index_of(found[0])))
        end = found.end()
    return parts + ([of_text(text[end:])] if end < len(text) else [])


def content_of(text: str, images: Sequence[Image]) -> str | list[dict[str, Any]]:
    """A message's content in OpenAI's form: text, or parts where there are images."""
    if MARKS.search(text) is None:
        return text
    return split(
        text,
        lambda piece: {"type": "text", "text": piece},
        lambda index: {"type": "image_url", "image_url": {"url": data_url(images[index])}},
    )
