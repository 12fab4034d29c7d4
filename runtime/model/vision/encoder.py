"""The image tower: pixels in, rows of features out, kept by content up to so many bytes.

Features depend on the pixels alone, never on an image's place in a prompt. Knows no prompts and no steps. For the
loop's thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from runtime.errors import ImageError
from runtime.model.vision.bounded import BoundedStore
from runtime.prompt_layout import ProcessedImage

MAX_BATCH_PIXELS = 1 << 22
"""Values of pixel tensors in one call of the tower, which bounds what it takes beside its weights (some towers make a
mask over all patches of a call). A larger image goes alone.
"""


@dataclass(frozen=True, slots=True)
class Features:
    """rows: [num_rows, width]; deep: for each of the first text layers, what is added to the same rows after it."""

    rows: torch.Tensor
    deep: tuple[torch.Tensor, ...] = ()

    @property
    def num_bytes(self) -> int:
        return self.rows.nbytes + sum(layer.nbytes for layer in self.deep)


@dataclass(slots=True)
class EncoderStats:
    """Since the start. `image_feature_hits`: images whose features were there when a step needed them.

    `image_tokens_computed`: rows of features that steps put in the place of tokens.
    """

    tower_runs: int = 0
    images_encoded: int = 0
    image_feature_hits: int = 0
    image_tokens_computed: int = 0


@dataclass(slots=True)
class _Group:
    """Images that one call can take."""

    images: list[ProcessedImage] = field(default_factory=list)
    num_pixels: int = 0


class ImageEncoder:
    """module: the whole model, of which `get_image_features` is called.

    one_by_one: an image's features then do not depend, to the last bit, on which other images are encoded.
    """

    def __init__(self, module: Any, max_bytes: int, one_by_one: bool = False) -> None:
        self._module = module
        self._max_pixels = 0 if one_by_one else MAX_BATCH_PIXELS
        self._width = module.get_input_embeddings().weight.shape[1]
        self._num_deep = len(getattr(module.config.vision_config, "deepstack_visual_indexes", None) or ())
        self._row_bytes = (1 + self._num_deep) * self._width * module.dtype.itemsize
        self._store: BoundedStore[Features] = BoundedStore(max_bytes)
        self._failures: dict[bytes, Exception] = {}
        self.stats = EncoderStats()

    def as_dict(self) -> dict[str, float]:
        return {
            "tower_runs": self.stats.tower_runs,
            "images_encoded": self.stats.images_encoded,
            "image_feature_hits": self.stats.image_feature_hits,
            "image_tokens_computed": self.stats.image_tokens_computed,
            "image_features_kept": len(self._store),
            "image_feature_bytes": self._store.num_bytes,
        }

    def features(
        self, images: Sequence[ProcessedImage], upcoming: Sequence[ProcessedImage] = ()
    ) -> Mapping[bytes, Features]:
        """Of `images`, by key. What is not kept is computed, as many images in a call as go together.

        upcoming: images that later steps will need; where the tower has to run, it takes what it can of them along.
        An image that the tower fails on gets zeros, and is told by `take_failures`.
        """
        found: dict[bytes, Features] = {}
        missing: dict[bytes, ProcessedImage] = {}
        for image in images:
            kept = self._store.get(image.key)
            if kept is not None:
                found[image.key] = kept
            else:
                missing[image.key] = image
        self.stats.image_feature_hits += len(found)
        if missing:
            self._add_upcoming(missing, upcoming)
        for group in _grouped(list(missing.values()), self._max_pixels):
            for image, features in zip(group, self._encode_or_fail(group), strict=True):
                found[image.key] = features
                if image.key not in self._failures:
                    self._store.put(image.key, features)
        return found

    def take_failures(self) -> dict[bytes, Exception]:
        """Images that could not be encoded since the last call, with the reason."""
        failures, self._failures = self._failures, {}
        return failures

    def _add_upcoming(self, missing: dict[bytes, ProcessedImage], upcoming: Sequence[ProcessedImage]) -> None:
        pixels = sum(image.pixels["pixel_values"].numel() for image in missing.values())
        rows = sum(image.num_rows for image in missing.values())
        for image in upcoming:
            if image.key in missing or image.key in self._store:
                continue
            pixels += image.pixels["pixel_values"].numel()
            rows += image.num_rows
            if pixels > self._max_pixels or not self._store.holds(rows * self._row_bytes):
                return
            missing[image.key] = image

    def _encode_or_fail(self, images: list[ProcessedImage]) -> list[Features]:
        """Where images fail together, each is tried alone, so that one does not fail the others."""
        try:
            return self._encode(images)
        except Exception as error:
            failure = error.with_traceback(None)  # which would hold on to the tensors of the call
        if len(images) > 1:
            return [features for image in images for features in self._encode_or_fail([image])]
        self._failures[images[0].key] = failure
        zeros = torch.zeros(images[0].num_rows, self._width, dtype=self._module.dtype, device=self._module.device)
        return [Features(zeros, (zeros,) * self._num_deep)]

    @torch.inference_mode()
    def _encode(self, images: list[ProcessedImage]) -> list[Features]:
        self.stats.tower_runs += 1
        self.stats.images_encoded += len(images)
        output = self._module.get_image_features(**self._pixels(images))
        rows = _flat(output.pooler_output)
        deep = [_flat(layer) for layer in getattr(output, "deepstack_features", None) or ()]
        counts = [image.num_rows for image in images]
        if "batch_num_images" in images[0].pixels and len(images) == 1 and len(rows) == 2 * counts[0]:
            rows = rows[: counts[0]]  # an image among several, taken twice because it is the only one of this call
        if len(rows) != sum(counts):
            raise ImageError(f"the image tower made {len(rows)} rows where the prompt has room for {sum(counts)}")
        parts = zip(*(part.split(counts) for part in (rows, *deep)), strict=True)
        # Clones: what is kept of one image must not hold the others of its call.
        return [Features(own.clone(), tuple(layer.clone() for layer in layers)) for own, *layers in parts]

    def _pixels(self, images: list[ProcessedImage]) -> dict[str, torch.Tensor]:
        device = self._module.device
        joined: dict[str, torch.Tensor] = {}
        for name in images[0].pixels:
            tensors = [image.pixels[name] for image in images]
            if name == "batch_num_images" and int(tensors[0][0]) > 1:
                if len(images) == 1:
                    return self._pixels([images[0], images[0]])
                joined[name] = torch.tensor([len(images)], device=device)
            else:
                joined[name] = torch.cat(tensors).to(device)
        return joined


def _grouped(images: list[ProcessedImage], max_pixels: int) -> list[list[ProcessedImage]]:
    groups: list[_Group] = []
    open_groups: dict[Any, _Group] = {}
    for image in images:
        shapes = [(name, tensor.shape[1:]) for name, tensor in image.pixels.items()]
        alone = "batch_num_images" not in image.pixels or int(image.pixels["batch_num_images"][0]) == 1
        kind = (*shapes, alone)
        num_pixels = image.pixels["pixel_values"].numel()
        group = open_groups.get(kind)
        if group is None or group.num_pixels + num_pixels > max_pixels:
            group = open_groups[kind] = _Group()
            groups.append(group)
        group.images.append(image)
        group.num_pixels += num_pixels
    return [group.images for group in groups]


def _flat(rows: Any) -> torch.Tensor:
    """[rows, width] of a tensor of any shape [..., width], or of several."""
    if isinstance(rows, torch.Tensor):
        return rows.reshape(-1, rows.shape[-1])
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in rows])
