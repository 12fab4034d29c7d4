"""What a vision-language model has beside its text model: how prompts with images are laid out, and its tower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from runtime.model.vision.encoder import ImageEncoder
from runtime.model.vision.families import VisionFamily
from runtime.model.vision.placement import Placement


@dataclass(frozen=True, slots=True)
class Vision:
    """placement is for callers' threads, encoder for the loop's."""

    family: VisionFamily
    placement: Placement
    encoder: ImageEncoder

    @classmethod
    def of(
        cls,
        module: Any,
        processor: Any,
        family: VisionFamily,
        *,
        max_images: int,
        cache_bytes: int,
        one_by_one: bool = False,
    ) -> Vision:
        """cache_bytes: for processed pixels, and again for features. one_by_one: see `ImageEncoder`."""
        get_rope_index = module.model.get_rope_index if family.three_positions else None
        placement = Placement(
            processor, module.config, family, get_rope_index, max_images=max_images, cache_bytes=cache_bytes
        )
        return cls(family, placement, ImageEncoder(module, cache_bytes, one_by_one))
