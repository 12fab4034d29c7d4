"""A prompt with images as a model takes it: token ids, rows for the images' features, positions, pixels.

In come a prompt and its images (`runtime.api.PromptImage`); out go exactly the ids and pixels that the family's own
processor gives for the same text with its placeholders in place. Runs in the caller's thread, on the CPU, and keeps
what it made of recent images. Knows no features and no steps.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.api import ImageSupport, PromptImage
from runtime.errors import ImageError, RequestError, UnsupportedModelError
from runtime.images import Image
from runtime.model.vision.bounded import BoundedStore
from runtime.model.vision.families import PIXEL_NAMES, VisionFamily
from runtime.prompt_layout import PlacedImage, ProcessedImage, PromptLayout, Spans

Encode = Callable[[str], list[int]]
"""Text to ids, with the beginning that a whole prompt has."""


class Placement:
    """config: the model's. get_rope_index: of a family with three positions, else None."""

    def __init__(
        self,
        processor: Any,
        config: Any,
        family: VisionFamily,
        get_rope_index: Any,
        *,
        max_images: int,
        cache_bytes: int,
    ) -> None:
        self._processor = processor
        self.tokenizer = self._tokenizer = processor.tokenizer
        self._family = family
        self._get_rope_index = get_rope_index
        self._placeholder_id = int(config.image_token_id)
        self._placeholder = str(self._tokenizer.convert_ids_to_tokens(self._placeholder_id))
        if self._tokenizer.convert_tokens_to_ids(self._placeholder) != self._placeholder_id:
            raise UnsupportedModelError(f"the tokenizer has no token {self._placeholder_id}, the model's image token")
        wraps = [self._word(getattr(config, name, None)) for name in ("vision_start_token_id", "vision_end_token_id")]
        video = self._word(getattr(config, "video_token_id", None))
        self.support = ImageSupport(
            text=processor.image_token.join(wraps),
            reserved=tuple(dict.fromkeys(word for word in (processor.image_token, self._placeholder, video) if word)),
            max_images=max_images,
        )
        self._images: BoundedStore[ProcessedImage] = BoundedStore(cache_bytes)
        options = processor._merge_kwargs(
            processor.valid_processor_kwargs, tokenizer_init_kwargs=self._tokenizer.init_kwargs, return_tensors="pt"
        )
        self._options = options["images_kwargs"]
        settings = repr((sorted(self._options.items()), processor.to_json_string()))
        self._settings = hashlib.sha256(settings.encode()).digest()

    def _word(self, token_id: int | None) -> str:
        return "" if token_id is None else str(self._tokenizer.convert_ids_to_tokens(token_id))

    def num_tokens(self, image: Image) -> int:
        """Of a prompt, for an image that is the only one in it; with what wraps it."""
        processed = self._process(image, 1, "image")
        text = self.support.text.replace(self._processor.image_token, processed.text)
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def lay_out(
        self, prompt: str | tuple[int, ...], images: Sequence[PromptImage], encode: Encode
    ) -> tuple[tuple[int, ...], PromptLayout]:
        """The ids and the layout. RequestError if the prompt has words or tokens that stand for images by themselves;
        ImageError if the family cannot take an image."""
        self._check(prompt, images)
        order = sorted(range(len(images)), key=lambda index: images[index].at)
        processed = [self._process(images[i].image, len(images), f"images[{i}]") for i in order]
        places = [images[i].at for i in order]
        if isinstance(prompt, str):
            ids = encode(self._expanded(prompt, places, processed))
        else:
            ids = self._inserted(prompt, places, processed)
        found = np.array(ids, dtype=np.int64)
        return tuple(ids), self._layout(found, processed)

    def _check(self, prompt: str | tuple[int, ...], images: Sequence[PromptImage]) -> None:
        if isinstance(prompt, str):
            word = self.support.reserved_in(prompt)
            if word is not None:
                raise RequestError(
                    f"prompt: {word!r} would be taken for an image; leave it out, and give images with their places"
                )
        elif self._placeholder_id in prompt:
            raise RequestError(
                f"prompt: token {self._placeholder_id} ({self._placeholder!r}) stands for an image; leave it out, and "
                "give images with their places"
            )
        if len(images) > self.support.max_images:
            raise ImageError(f"images: {len(images)} are more than max_images={self.support.max_images} of a request")
        for index, placed in enumerate(images):
            if placed.at > len(prompt):
                raise RequestError(f"images[{index}]: at={placed.at} is beyond the prompt's end at {len(prompt)}")

    def _process(self, image: Image, count: int, name: str) -> ProcessedImage:
        """count: how many images the prompt has."""
        alone = count == 1 or not self._family.counts_images
        key = hashlib.sha256(image.key + (b"alone" if alone else b"among") + self._settings).digest()
        return self._images.get_or_make(key, lambda: self._run_processor(image, key, alone, name))

    def _run_processor(self, image: Image, key: bytes, alone: bool, name: str) -> ProcessedImage:
        picture = image.to_pil()
        pictures = [[picture] if alone else [picture, picture]]
        try:
            pixels, texts = self._processor._process_images(pictures, **self._options)
        except Exception as error:  # each family's processor has limits of its own, and its own errors
            raise ImageError(
                f"{name}: the model's processor does not take an image of {image.width} x {image.height}: {error}"
            ) from error
        tensors = {name: torch.as_tensor(pixels[name]) for name in PIXEL_NAMES if name in pixels}
        if not alone:
            tensors = {name: tensor[: len(tensor) // 2] for name, tensor in tensors.items() if tensor.dim() > 1}
            tensors["batch_num_images"] = torch.tensor([2])
        return ProcessedImage(key, texts[0], texts[0].count(self._placeholder), tensors)

    def _expanded(self, prompt: str, places: list[int], processed: list[ProcessedImage]) -> str:
        """The text that the family's processor makes of the prompt with its placeholders."""
        if not places:
            return prompt
        cuts = [0, *places, len(prompt)]
        text = self.support.text.join(prompt[begin:end] for begin, end in itertools.pairwise(cuts))
        pictures = [[np.zeros((1, 1, 3), np.uint8)] * len(places)]
        laid_out = self._processor.prepare_inputs_layout(images=pictures, text=[text])[1]
        texts, _ = self._processor.get_text_with_replacements(laid_out, [image.text for image in processed])
        return str(texts[0])

    def _inserted(self, prompt: tuple[int, ...], places: list[int], processed: list[ProcessedImage]) -> list[int]:
        ids: list[int] = []
        before = 0
        for place, image in zip(places, processed, strict=True):
            text = self.support.text.replace(self._processor.image_token, image.text)
            ids += prompt[before:place]
            ids += self._tokenizer.encode(text, add_special_tokens=False)
            before = place
        return ids + list(prompt[before:])

    def _layout(self, ids: NDArray[np.int64], processed: list[ProcessedImage]) -> PromptLayout:
        rows = np.flatnonzero(ids == self._placeholder_id)
        ends = np.cumsum([image.num_rows for image in processed], dtype=np.int64)
        if len(rows) != (ends[-1] if len(ends) else 0):
            raise RequestError(f"prompt: {len(rows)} tokens stand for images, the images given take {ends[-1:]}")
        placed = tuple(
            PlacedImage(image, own)
            for image, own in zip(processed, np.split(rows, ends[:-1]) if processed else (), strict=True)
        )
        positions, offset = self._positions(ids, processed) if processed else (None, 0)
        return PromptLayout(placed, positions, offset, self._spans(len(ids), rows), self._family.prompt_span)

    def _positions(
        self, ids: NDArray[np.int64], processed: list[ProcessedImage]
    ) -> tuple[NDArray[np.int64] | None, int]:
        if self._get_rope_index is None:
            return None, 0
        grids = torch.cat([image.pixels["image_grid_thw"] for image in processed])
        types = torch.from_numpy((ids == self._placeholder_id).astype(np.int64))
        positions, delta = self._get_rope_index(
            torch.from_numpy(ids)[None], mm_token_type_ids=types[None], image_grid_thw=grids
        )
        return positions[:, 0].numpy(), int(delta)

    def _spans(self, length: int, rows: NDArray[np.int64]) -> Spans:
        if self._family.prompt_span:
            return ((0, length),)
        if not self._family.image_spans or not len(rows):
            return ()
        cuts = np.flatnonzero(np.diff(rows) > 1) + 1
        return tuple((int(run[0]), int(run[-1]) + 1) for run in np.split(rows, cuts))
