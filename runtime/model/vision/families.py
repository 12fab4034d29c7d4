"""Which vision-language families run, and in what they differ beyond their own code in `transformers`.

A family is here because its logits and greedy tokens were compared with its own forward (tests/runtime/vision).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PIXEL_NAMES = ("pixel_values", "image_grid_thw", "image_sizes", "pixel_attention_mask", "batch_num_images")
"""What towers take; of a processor's output the rest is not for them."""


@dataclass(frozen=True, slots=True)
class VisionFamily:
    """three_positions: rotary positions have three axes, from the model's `get_rope_index`.
    image_spans:     the rows of an image see each other in both directions.
    prompt_span:     all tokens of the prompt do, beyond sliding windows too.
    counts_images:   an image alone in its prompt is cut into tiles, one of several is not.
    """

    three_positions: bool = False
    image_spans: bool = False
    prompt_span: bool = False
    counts_images: bool = False


FAMILIES = {
    "llava": VisionFamily(),
    "llava_next": VisionFamily(),
    "llava_onevision": VisionFamily(counts_images=True),
    "qwen2_vl": VisionFamily(three_positions=True),
    "qwen2_5_vl": VisionFamily(three_positions=True),
    "qwen3_vl": VisionFamily(three_positions=True),
    "idefics3": VisionFamily(),
    "smolvlm": VisionFamily(),
    "gemma3": VisionFamily(image_spans=True),
    "internvl": VisionFamily(),
    "mistral3": VisionFamily(),
    "paligemma": VisionFamily(prompt_span=True),
}


def family_of(config: Any) -> VisionFamily | None:
    """None for a text model."""
    return FAMILIES.get(config.model_type) if hasattr(config, "vision_config") else None
