"""What `transformers` makes of a prompt with images: its processor's ids, and its own `generate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from runtime.api import GenerateRequest, ImageSupport, PromptImage, SamplingParams
from runtime.images import Image
from runtime.model.vision.processors import load_processor

SIZES = [(60, 44), (90, 30), (31, 77), (28, 28), (120, 100)]
PLACE = "\0"
"""Stands for an image in the prompts of these tests."""


def picture(number: int) -> Image:
    """A picture of one of five sizes; each number another one."""
    width, height = SIZES[number % len(SIZES)]
    return Image.of(np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8))


def request(prompt: str, images: Sequence[Image], max_tokens: int = 8, **fields: Any) -> GenerateRequest:
    """A greedy request for a prompt with `PLACE`s."""
    text, places = ImageSupport(PLACE, (), 64).split(prompt)
    placed = tuple(PromptImage(image, at) for image, at in zip(images, places, strict=True))
    sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True)
    return GenerateRequest(prompt=text, images=placed, sampling=fields.pop("sampling", sampling), **fields)


class Reference:
    """A model of `transformers` with its processor."""

    def __init__(self, folder: Path) -> None:
        config = AutoConfig.from_pretrained(folder)
        self.processor = load_processor(str(folder), config.model_type)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.model.set_attn_implementation({"text_config": "eager"})  # sdpa drops gemma2's softcap
        self.model.generation_config.eos_token_id = None

    def inputs(self, prompt: str, images: Sequence[Image], support: ImageSupport) -> dict[str, torch.Tensor]:
        text = prompt.replace(PLACE, support.text)
        if images:
            pictures = [[image.to_pil() for image in images]]
            options = {"return_mm_token_type_ids": True} if self.model.config.model_type.startswith("qwen") else {}
            output = self.processor(text=[text], images=pictures, return_tensors="pt", **options)
        else:
            output = self.processor.tokenizer([text], return_tensors="pt")
            if self.model.config.model_type == "paligemma":
                output["token_type_ids"] = torch.zeros_like(output["input_ids"])
        return {name: value for name, value in output.items() if name not in ("labels", "num_patches", "rows", "cols")}

    @torch.no_grad()
    def tokens(
        self, prompt: str, images: Sequence[Image], support: ImageSupport, max_tokens: int = 8
    ) -> tuple[list[int], list[int]]:
        """The prompt's ids and the greedy output's."""
        inputs = self.inputs(prompt, images, support)
        length = inputs["input_ids"].shape[1]
        output = self.model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)[0].tolist()
        return output[:length], output[length:]
