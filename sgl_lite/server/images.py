"""Images in bodies: from URLs and base64 to decoded images with their places. In: what a client sent. Out: marks in
text (`sgl_lite/marks.py`) and the images that they stand for.

Strangers name these sources, so files are never read, and other servers only if the settings say so.
"""

from __future__ import annotations

from typing import Any

from runtime.api import PromptImage
from runtime.errors import ImageError
from runtime.images import Image
from sgl_lite.marks import mark
from sgl_lite.server.errors import ApiError, invalid
from sgl_lite.server.service import Service


class Images:
    """Those of one request, in the order in which they were read. Reading decodes, so do it outside the event loop."""

    def __init__(self, service: Service) -> None:
        self._config = service.config
        self._support = service.backend.engine.image_support
        self._model = service.config.model_name
        self.read: list[Image] = []

    def mark(self, source: Any, path: str) -> str:
        """Read an image; what stands for it in text. Errors: `ApiError` that names the field."""
        self._check(len(self.read) + 1, path)
        config = self._config
        try:
            image = Image.of(
                source,
                name=path,
                allow_urls=config.allow_image_urls,
                allow_files=False,
                timeout=config.image_seconds,
                max_bytes=config.max_body_bytes,
                max_pixels=config.max_image_pixels,
            )
        except ImageError as error:
            raise ApiError(400, str(error), param=path, code="invalid_image") from error
        self.read.append(image)
        return mark(len(self.read) - 1)

    def check_text(self, text: str, path: str) -> str:
        """The text, if it holds no word that the model would take for an image. Errors: `ApiError`."""
        word = self._support.reserved_in(text) if self._support is not None else None
        if word is not None:
            raise invalid(path, f"it contains {word!r}, which the model would take for an image; leave it out")
        return text

    def placed(self, text: str, sources: list[Any], path: str) -> tuple[str, tuple[PromptImage, ...]]:
        """SGLang's way: images beside a text that has the model's word for one in the place of each."""
        for index, source in enumerate(sources):
            # SGLang's clients send bare base64 too
            given = source if not isinstance(source, str) or ":" in source[:8] else f"data:image/*;base64,{source}"
            self.mark(given, f"{path}.{index}")
        if not sources:
            return self.check_text(text, "text"), ()
        assert self._support is not None  # `mark` has asked
        plain, places = self._support.split(text)
        if len(places) != len(sources):
            word = self._support.text
            raise invalid(path, f"there are {len(sources)} images, but the text has {word!r} {len(places)} times")
        return plain, tuple(PromptImage(image, at) for image, at in zip(self.read, places, strict=True))

    def _check(self, count: int, path: str) -> None:
        if self._support is None:
            raise invalid(path, f"{self._model} sees no images; ask a vision-language model", "images_not_supported")
        most = min(self._support.max_images, self._config.max_images)
        if count > most:
            raise invalid(path, f"a request may bring at most {most} images")
