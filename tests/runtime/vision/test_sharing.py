"""What requests about the same image share, by the engine's counters; and that different images never share."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.api import GenerateRequest, PromptImage, SamplingParams
from runtime.cache.image_keys import ImageKeys
from runtime.engine import Engine
from runtime.errors import ImageError
from runtime.images import Image
from tests.runtime.vision.reference import PLACE, picture, request

QUESTIONS = [f"look {PLACE} question {number}?" for number in range(64)]


@pytest.fixture
def engine(checkpoint: Callable[[str], Path]) -> Iterator[Engine]:
    with engine_of(checkpoint("llava")) as engine:
        yield engine
        engine.check_invariants()


def engine_of(folder: Path, **settings: Any) -> Engine:
    defaults = {"dtype": "float32", "device": "cpu", "kv_cache_bytes": 8 << 20, "page_size": 1}
    return Engine(str(folder), **{**defaults, **settings})


def answers(engine: Engine, requests: list[GenerateRequest]) -> list[tuple[int, ...]]:
    running = [engine.submit(one) for one in requests]
    return [one.result().outputs[0].token_ids for one in running]


@pytest.mark.parametrize("budget", [37, 2048])
def test_many_questions_about_one_image(checkpoint: Callable[[str], Path], budget: int) -> None:
    image = picture(0)
    with engine_of(checkpoint("llava"), max_num_batched_tokens=budget) as engine:
        output = engine.submit(request(QUESTIONS[0], [image])).result()
        rows = output.usage.image_tokens
        together = answers(engine, [request(question, [image]) for question in QUESTIONS])
        stats = engine.stats()
        assert stats["tower_runs"] == stats["images_encoded"] == 1
        assert stats["image_tokens_computed"] == rows == 16
        engine.flush_cache()
        assert engine.submit(request(QUESTIONS[0], [image])).result().outputs[0].token_ids == together[0]
        assert engine.stats()["tower_runs"] == 1, "features are kept beside the prefix"
        assert engine.stats()["image_tokens_computed"] == 2 * rows


def test_questions_at_the_same_time(engine: Engine) -> None:
    """None of them has been computed before."""
    image = picture(1)
    answers(engine, [request(question, [image]) for question in QUESTIONS])
    stats = engine.stats()
    assert stats["tower_runs"] == stats["images_encoded"] == 1
    assert stats["image_tokens_computed"] == 16


def test_the_same_pixels_from_another_file_share(engine: Engine) -> None:
    image = picture(0)
    answers(engine, [request(QUESTIONS[0], [image])])
    answers(engine, [request(QUESTIONS[1], [Image.of(image.to_png())])])
    assert engine.stats()["images_encoded"] == 1
    resized = Image.of(image.to_pil().resize((image.width + 1, image.height)))
    answers(engine, [request(QUESTIONS[1], [resized])])
    assert engine.stats()["images_encoded"] == 2


def test_images_of_waiting_requests_are_encoded_together(checkpoint: Callable[[str], Path]) -> None:
    """Each prompt fills a step, but the tower runs less often than there are images."""
    with engine_of(checkpoint("llava"), max_num_batched_tokens=24) as engine:
        blocker = engine.submit(request("hold", [], max_tokens=40))
        answers(engine, [request(QUESTIONS[0], [picture(number)]) for number in range(12)])
        blocker.result()
        stats = engine.stats()
        assert stats["images_encoded"] == 12 and stats["tower_runs"] <= 4


def test_answers_of_n_share_the_image(engine: Engine) -> None:
    sampling = SamplingParams(n=4, temperature=1.0, seed=1, max_tokens=4, ignore_eos=True)
    engine.submit(request(QUESTIONS[0], [picture(0)], sampling=sampling)).result()
    assert engine.stats()["image_tokens_computed"] == 16


def test_salts_do_not_share_prefixes(engine: Engine) -> None:
    one, other = (request(QUESTIONS[0], [picture(0)], cache_salt=salt) for salt in ("a", "b"))
    assert answers(engine, [one]) == answers(engine, [other])
    stats = engine.stats()
    assert stats["image_tokens_computed"] == 32 and stats["images_encoded"] == 1


def test_whole_prompts_share_where_prefixes_may_not(checkpoint: Callable[[str], Path]) -> None:
    """What paligemma computes of a prompt's beginning depends on its end."""
    with engine_of(checkpoint("paligemma"), max_num_batched_tokens=2048) as engine:
        image = picture(0)
        expected = answers(engine, [request(question, [image]) for question in QUESTIONS[:3]])
        assert engine.stats()["cache_hit_tokens"] == 0
        assert answers(engine, [request(question, [image]) for question in QUESTIONS[:3]]) == expected
        assert engine.stats()["cache_hit_tokens"] > 100


def test_random_pairs_never_answer_for_each_other(checkpoint: Callable[[str], Path]) -> None:
    """1,000 pairs of images of one size that differ in one pixel, or all: each gets rows of its own in the cache, and
    nothing of the other's prefix."""
    rng = random.Random(5)
    noise = np.random.default_rng(5)
    sampling = SamplingParams(max_tokens=0)
    with engine_of(checkpoint("llava"), kv_cache_bytes=64 << 20, max_num_batched_tokens=2048) as engine:
        prompt_tokens = num_pairs = 0
        for _ in range(10):
            requests = []
            for _ in range(100):
                pixels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                other = pixels.copy()
                at = tuple(rng.randrange(size) for size in other.shape)
                other[at] = (int(other[at]) + rng.randrange(1, 256)) % 256
                for image in (pixels, other):
                    placed = (PromptImage(Image.of(image), 0),)
                    requests.append(GenerateRequest(prompt="?", images=placed, sampling=sampling))
                num_pairs += 1
            outputs = [one.result() for one in [engine.submit(one) for one in requests]]
            assert all(output.usage.cached_tokens == 0 for output in outputs)
            prompt_tokens += sum(output.usage.prompt_tokens for output in outputs)
        stats = engine.stats()
        assert num_pairs == 1000 and stats["images_encoded"] == 2000
        assert stats["computed_tokens"] == prompt_tokens
        engine.check_invariants()


def test_numbers_of_rows_are_given_out_once() -> None:
    keys = ImageKeys(max_images=2)
    first = keys.of(b"a", 3)
    second = keys.of(b"b", 2)
    assert first.tolist() == [-1, -2, -3] and second.tolist() == [-4, -5]
    assert keys.of(b"a", 3).tolist() == first.tolist()
    keys.of(b"c", 1)  # b, used longest ago, is forgotten
    assert keys.of(b"b", 2).tolist() == [-7, -8]
    assert keys.of(b"b", 4).tolist() == [-9, -10, -11, -12], "as many rows as asked"
    assert sorted(keys.forget(b"b")) == [-9, -7] and keys.of(b"b", 2).tolist() == [-13, -14]


def test_an_image_the_tower_fails_on_ends_its_requests_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = engine._vision.encoder  # type: ignore[union-attr]
    expected = answers(engine, [request(QUESTIONS[0], [picture(0)]), request(QUESTIONS[0], [picture(2)])])
    engine.flush_cache()
    good, bad = picture(0), picture(2)
    broken = engine._vision.placement._process(bad, 1, "image").key  # type: ignore[union-attr]
    encode = encoder._encode

    def failing(images: list[Any]) -> Any:
        if any(image.key == broken for image in images):
            raise RuntimeError("no memory")
        return encode(images)

    encoder._store = type(encoder._store)(encoder._store._max_bytes)
    monkeypatch.setattr(encoder, "_encode", failing, raising=False)
    running = [engine.submit(request(QUESTIONS[0], [image])) for image in (good, bad, good, bad)]
    assert running[0].result().outputs[0].token_ids == running[2].result().outputs[0].token_ids == expected[0]
    for one in (running[1], running[3]):
        with pytest.raises(ImageError, match="image 0 of the prompt could not be encoded: no memory"):
            one.result()
    engine.check_invariants()
    monkeypatch.undo()
    assert answers(engine, [request(QUESTIONS[0], [bad])]) == expected[1:], "what it left in the cache is not found"
