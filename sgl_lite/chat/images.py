"""Chat templates of models that see: messages with marks in, text with marks out.

The templates of `transformers` want a message with images as parts, and write a text of the model's in place of each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from runtime.api import ImageSupport
from sgl_lite.backends.base import Message
from sgl_lite.chat.messages import TokenizerTemplate
from sgl_lite.errors import RoleError
from sgl_lite.marks import MARKS, split

Apply = Callable[[Sequence[Message], bool], str]
_PROBE = "\ue000probe\ue001"


def with_images(apply: Apply, support: ImageSupport) -> TokenizerTemplate:
    """The template `apply` for messages with images. Errors of its `render`: `RoleError` if it leaves one out."""
    only_parts = _takes_only_parts(apply)

    def render(messages: Sequence[Message], add_generation_prompt: bool) -> str:
        marks = [found for message in messages for found in MARKS.findall(message["content"])]
        text = apply([_in_parts(message, only_parts) for message in messages], add_generation_prompt)
        pieces = text.split(support.text)
        if len(pieces) - 1 != len(marks):
            raise RoleError(
                f"the chat template writes {len(pieces) - 1} of {len(marks)} images; "
                "put images into the messages of the user"
            )
        return "".join(piece + found for piece, found in zip_longest(pieces, marks, fillvalue=""))

    return TokenizerTemplate(render, image_text=support.text)


def _takes_only_parts(apply: Apply) -> bool:
    """Whether the template loses a message that is plain text."""
    try:
        return _PROBE not in apply([{"role": "user", "content": _PROBE}], False)
    except Exception:  # templates are programs of their own, with errors of their own
        return True


def _in_parts(message: Message, only_parts: bool) -> Message:
    text = message["content"]
    if not only_parts and MARKS.search(text) is None:
        return message
    return {**message, "content": split(text, lambda piece: {"type": "text", "text": piece}, _image_part)}


def _image_part(index: int) -> dict[str, str]:
    return {"type": "image"}
