"""Chats of several turns with several images: a rendered template without its placeholders, laid out again, gives the
ids of the processor's own `apply_chat_template`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from transformers import AutoConfig

from runtime.api import PromptImage
from runtime.model.vision.families import family_of
from runtime.model.vision.placement import Placement
from runtime.model.vision.processors import load_processor
from tests.runtime.vision.checkpoints import FAMILIES, write_checkpoint
from tests.runtime.vision.reference import picture

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}IMAGE\n{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def turn(role: str, *parts: Any) -> dict[str, Any]:
    content = [
        {"type": "text", "text": part} if isinstance(part, str) else {"type": "image", "image": part.to_pil()}
        for part in parts
    ]
    return {"role": role, "content": content}


@pytest.fixture(scope="module", params=FAMILIES)
def placement(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Placement:
    folder = write_checkpoint(request.param, tmp_path_factory.mktemp(request.param))
    config = AutoConfig.from_pretrained(folder)
    family = family_of(config)
    assert family is not None
    processor = load_processor(str(folder), config.model_type)
    made = Placement(processor, config, family, None, max_images=8, cache_bytes=1 << 24)
    processor.chat_template = TEMPLATE.replace("IMAGE", made.support.text)
    return made


def test_chat(placement: Placement) -> None:
    images = [picture(0), picture(1), picture(0)]
    chat = [
        turn("user", images[0], "what? ", images[1]),
        turn("assistant", "A cat.\n"),
        turn("user", "and ", images[2], "?"),
    ]
    processor = placement._processor
    rendered = processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    text, places = placement.support.split(rendered)
    placed = [PromptImage(image, at) for image, at in zip(images, places, strict=True)]
    ids, layout = placement.lay_out(text, placed, placement.tokenizer.encode)
    expected = processor.apply_chat_template(
        chat, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    assert list(ids) == expected["input_ids"][0].tolist()
    rows = np.concatenate([placed.rows for placed in layout.images])
    assert len(rows) == layout.num_image_tokens == sum(placed.image.num_rows for placed in layout.images)
    assert (np.diff(rows) > 0).all() and layout.images_end == rows[-1] + 1
    assert layout.images[0].image is layout.images[2].image, "processed once"
    assert layout.images[0].image.key != layout.images[1].image.key
    shown = layout.images_after(int(layout.images[1].rows[-1]) + 1)
    assert [image.key for image in shown] == [layout.images[2].image.key]


def test_spans(placement: Placement) -> None:
    ids, layout = placement.lay_out("ab", [PromptImage(picture(0), 1)], placement.tokenizer.encode)
    family = placement._family
    if family.prompt_span:
        assert layout.spans == ((0, len(ids)),) and layout.whole_prompt
    elif family.image_spans:
        rows = layout.images[0].rows
        assert layout.spans == ((rows[0], rows[-1] + 1),)
    else:
        assert layout.spans == ()
