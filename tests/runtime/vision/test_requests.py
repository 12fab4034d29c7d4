"""Requests with images: constraints over them, scores, SGLang's `image_data`, and what is refused at submission."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from grammars.spec import Choice, JsonSchema
from runtime.api import GenerateRequest, PromptImage, SamplingParams
from runtime.engine import Engine
from runtime.errors import ImageError, ModelLoadError, PromptTooLongError, RequestError, UnsupportedModelError
from runtime.images import Image
from tests.runtime.vision.checkpoints import FAMILIES, write_family
from tests.runtime.vision.reference import PLACE, Reference, picture, request

Checkpoint = Callable[[str], Path]
GREEDY = SamplingParams(max_tokens=20, temperature=0.0)


def engine_of(folder: Path, **settings: Any) -> Engine:
    return Engine(str(folder), **{"dtype": "float32", "device": "cpu", "kv_cache_bytes": 8 << 20, **settings})


@pytest.fixture(scope="module")
def engine(checkpoint: Checkpoint) -> Iterator[Engine]:
    with engine_of(checkpoint("llava"), max_images=3) as engine:
        yield engine
        engine.check_invariants()


def placed(at: int, number: int = 0) -> PromptImage:
    return PromptImage(picture(number), at)


# Constraints and scores


def test_json_about_an_image(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["colour", "count"],
        "additionalProperties": False,
    }
    sampling = SamplingParams(max_tokens=60, temperature=1.0, seed=3)
    running = [
        engine.submit(
            request(
                f"{PLACE} as JSON: ", [picture(number)], sampling=sampling, constraint=JsonSchema(json.dumps(schema))
            )
        )
        for number in range(8)
    ]
    for one in running:
        value = json.loads(one.result().outputs[0].text)
        assert value["colour"] in ("red", "blue") and 0 <= value["count"] <= 9


def test_choice_about_an_image(engine: Engine) -> None:
    letters = tuple("abcdefghijklmnopqrstuvwxyz")
    asked = [
        request(f"{PLACE} is ", [picture(number)], sampling=GREEDY, constraint=Choice(letters)) for number in range(8)
    ]
    answers = {one.result().outputs[0].text for one in [engine.submit(one) for one in asked]}
    assert answers <= set(letters) and len(answers) > 1, "the answer depends on the image"


@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "gemma3"])
def test_scores_of_options(name: str, checkpoint: Checkpoint) -> None:
    """Log-probabilities of known text after an image, as `select` compares them."""
    reference = Reference(checkpoint(name))
    with engine_of(checkpoint(name), max_num_batched_tokens=29) as engine:
        support = engine.image_support
        assert support is not None
        begins = len(engine.submit(request(f"a {PLACE} is", [picture(1)], max_tokens=0)).result().prompt_token_ids)
        sampling = SamplingParams(max_tokens=0, prompt_logprobs=0, prompt_logprobs_start=begins)
        prompts = [f"a {PLACE} is a {option}" for option in ("cat", "dog", "sea horse")]
        running = [engine.submit(request(prompt, [picture(1)], sampling=sampling)) for prompt in prompts]
        for prompt, one in zip(prompts, running, strict=True):
            found = [entry.logprob for entry in one.result().prompt_logprobs or () if entry is not None]
            inputs = reference.inputs(prompt, [picture(1)], support)
            with torch.no_grad():
                expected = reference.model(**inputs).logits[0].log_softmax(-1)
            ids = inputs["input_ids"][0]
            assert found == pytest.approx(
                [float(expected[index - 1, ids[index]]) for index in range(begins, len(ids))], abs=1e-4
            )


def test_image_token_outside_the_vocabulary(tmp_path: Path) -> None:
    """As in checkpoints whose embeddings were not made longer for it; `transformers` itself fails on such ids."""
    folder = write_family(dataclasses.replace(FAMILIES["llava"], vocab=259), tmp_path)
    with engine_of(folder) as engine:
        sampling = SamplingParams(
            max_tokens=4, repetition_penalty=1.2, presence_penalty=0.5, logprobs=1, prompt_logprobs=1
        )
        scored = engine.submit(request(f"a {PLACE}?", [picture(0)], sampling=sampling)).result()
        values = [entry.logprob for entry in scored.prompt_logprobs or () if entry is not None]
        assert values.count(float("-inf")) == 16, "a placeholder has no probability"


# What callers see


def test_places_and_counts(engine: Engine) -> None:
    support = engine.image_support
    assert support is not None
    assert support.text == "<image>" and support.max_images == 3 and "<image>" in support.reserved
    assert engine.num_image_tokens(picture(0)) == 16
    one = request(f"a{PLACE}b{PLACE}", [picture(0), picture(1)], max_tokens=1)
    output = engine.submit(one).result()
    assert output.usage.image_tokens == 32 and output.usage.prompt_tokens == 34
    backwards = GenerateRequest(prompt=one.prompt, images=one.images[::-1], sampling=one.sampling)
    assert engine.submit(backwards).result().prompt_token_ids == output.prompt_token_ids
    assert engine.submit(backwards).result().outputs[0].token_ids == output.outputs[0].token_ids


def test_image_data(engine: Engine) -> None:
    sampling = {"max_new_tokens": 4, "temperature": 0.0, "ignore_eos": True}
    images = [picture(0), picture(1)]
    expected = engine.submit(request(f"{PLACE} to {PLACE}", images, max_tokens=4)).result()
    found = engine.generate("<image> to <image>", sampling, image_data=[image.to_png() for image in images])
    assert isinstance(found, dict) and tuple(found["output_ids"]) == expected.outputs[0].token_ids
    many = engine.generate(["<image>?", "none"], sampling, image_data=[images[0].pixels, None])
    assert isinstance(many, list) and len(many) == 2
    with pytest.raises(RequestError, match="image_data has 1 images, but the prompt has 2 places"):
        engine.generate("<image> <image>", sampling, image_data=images[0].to_png())
    with pytest.raises(ImageError, match=r"image_data\[0\]: not an image"):
        engine.generate("<image>", sampling, image_data=b"text")
    with pytest.raises(RequestError, match="with token ids, submit"):
        engine.generate(input_ids=[1, 2], sampling_params=sampling, image_data=images[0].to_png())


# Refused, before anything is queued


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"prompt": "four", "images": tuple(placed(0) for _ in range(4))}, ImageError, "4 are more than max_images=3"),
        ({"prompt": "see <image> here"}, RequestError, "'<image>' would be taken for an image"),
        ({"prompt": "see <image> here", "images": (placed(0),)}, RequestError, "would be taken for an image"),
        ({"prompt": (1, 259, 2)}, RequestError, "token 259 ('<image>') stands for an image"),
        ({"prompt": "short", "images": (placed(0), placed(6))}, RequestError, r"images[1]: at=6 is beyond"),
        ({"prompt": "x", "images": (picture(0),)}, RequestError, r"images[0] must be a PromptImage, not Image"),
        ({"prompt": "x" * 2040, "images": (placed(0),)}, PromptTooLongError, "2056 tokens"),
    ],
)
def test_refused(engine: Engine, fields: dict[str, Any], kind: type[Exception], words: str) -> None:
    before = engine.metrics.requests
    with pytest.raises(kind) as caught:
        engine.submit(GenerateRequest(**fields))
    assert words in str(caught.value)
    assert engine.metrics.requests == before


def test_an_image_the_processor_refuses(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = engine._vision.placement._processor  # type: ignore[union-attr]

    def refuse(images: Any, **options: Any) -> None:
        raise ValueError("too odd")

    monkeypatch.setattr(processor, "_process_images", refuse)
    with pytest.raises(
        ImageError, match=r"images\[1\]: the model's processor does not take an image of 12 x 5: too odd"
    ):
        engine.submit(
            GenerateRequest(prompt="x", images=(PromptImage(Image.of(torch.zeros(3, 5, 12)), 1), placed(1))[::-1])
        )


def test_scores_of_a_prompt_read_both_ways(checkpoint: Checkpoint) -> None:
    with (
        engine_of(checkpoint("paligemma")) as engine,
        pytest.raises(RequestError, match="prompt_logprobs: this model reads a prompt in both directions"),
    ):
        engine.submit(GenerateRequest(prompt="x", sampling=SamplingParams(prompt_logprobs=0)))


def test_checkpoints_that_lack_a_part(checkpoint: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "no processor"
    shutil.copytree(checkpoint("llava"), folder)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (folder / name).unlink()
    with pytest.raises((ModelLoadError, UnsupportedModelError), match=r"image processor of .*no processor"):
        engine_of(folder)


def test_pinned_prefix_of_text(engine: Engine) -> None:
    pin = engine.pin_prefix("a beginning of more than sixteen bytes")
    assert pin.num_tokens >= 16
    pin.release()


def test_deterministic(checkpoint: Checkpoint) -> None:
    """The same bits alone, among others, and from the cache."""
    sampling = SamplingParams(max_tokens=4, temperature=0.0, logprobs=0, ignore_eos=True)
    with engine_of(checkpoint("qwen2_vl"), deterministic=True, max_num_batched_tokens=40) as engine:
        first = request(f"a {PLACE}?", [picture(0)], sampling=sampling)
        alone = engine.submit(first).result().outputs[0].logprobs
        engine.flush_cache()
        running = [engine.submit(request(f"b {PLACE}", [picture(n)], sampling=sampling)) for n in range(4)]
        assert engine.submit(first).result().outputs[0].logprobs == alone
        assert engine.submit(first).result().outputs[0].logprobs == alone
        assert all(one.result().finished for one in running)
    with pytest.raises(UnsupportedModelError, match="gemma3 lets tokens of a prompt see later ones"):
        engine_of(checkpoint("gemma3"), deterministic=True)
