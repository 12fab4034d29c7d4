"""Every family's processor loads without torchvision, in either form of checkpoint, of old and new versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from runtime.images import Image
from runtime.model.vision.families import FAMILIES as MODEL_TYPES
from runtime.model.vision.processors import load_processor
from tests.runtime.vision.checkpoints import FAMILIES, write_checkpoint
from tests.runtime.vision.reference import picture


def test_every_family_is_tried() -> None:
    assert {family.model_type for family in FAMILIES.values()} == set(MODEL_TYPES)


@pytest.mark.parametrize("name", FAMILIES)
def test_loads(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(name, tmp_path)
    model_type = AutoConfig.from_pretrained(folder).model_type
    processor = load_processor(str(folder), model_type)
    assert type(processor).__name__ == FAMILIES[name].processor
    assert type(processor.image_processor).__name__.endswith("Pil")
    assert processor.tokenizer.eos_token == "<eos>"


@pytest.mark.parametrize("name", ["llava", "llava_siglip", "idefics3", "gemma3", "mistral3", "paligemma"])
def test_loads_what_was_saved_in_one_file(name: str, tmp_path: Path) -> None:
    """As newer versions of `transformers` save them."""
    folder = write_checkpoint(name, tmp_path / "old")
    model_type = AutoConfig.from_pretrained(folder).model_type
    before = load_processor(str(folder), model_type)
    before.save_pretrained(tmp_path / "new")
    after = load_processor(str(tmp_path / "new"), model_type)
    pixels = [_pixels(processor, picture(0)) for processor in (before, after)]
    assert torch.equal(*pixels)


def _pixels(processor: object, image: Image) -> torch.Tensor:
    return processor.image_processor(images=[image.to_pil()], return_tensors="pt")["pixel_values"]  # type: ignore[attr-defined]


def test_unknown_family(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no processor for nothing"):
        load_processor(str(tmp_path), "nothing")
