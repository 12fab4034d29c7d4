"""Every vision-language family through the whole engine: its processor's prompts, and the tokens of its `generate`."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.api import GenerateRequest, ImageSupport
from runtime.engine import Engine
from runtime.images import Image
from tests.runtime.vision.checkpoints import FAMILIES
from tests.runtime.vision.reference import PLACE, Reference, picture, request

Case = tuple[str, tuple[int, ...]]
"""A prompt and the numbers of its pictures."""
CASES: tuple[Case, ...] = (
    ("say", ()),
    (f"look {PLACE}?", (0,)),
    (f"{PLACE} and {PLACE} say", (1, 2)),
    (f"a {PLACE} b {PLACE} c {PLACE} d {PLACE} e {PLACE}!", (3, 0, 4, 1, 2)),
    # Forks after an image: what is before the last words is the same.
    (f"look {PLACE}? What is it, and where", (0,)),
    (f"look {PLACE}? What is it, and is it {PLACE} too", (0, 3)),
)
MAX_TOKENS = 8
Answers = Callable[[ImageSupport, Case], tuple[list[int], list[int]]]


@pytest.fixture(scope="module")
def answers_of(checkpoint: Callable[[str], Path]) -> Callable[[str], Answers]:
    """What `transformers` says, each question asked once."""

    @cache
    def of(name: str) -> Answers:
        reference = Reference(checkpoint(name))
        return cache(lambda support, case: reference.tokens(case[0], pictures(case), support, MAX_TOKENS))

    return of


def pictures(case: Case) -> list[Image]:
    return [picture(number) for number in case[1]]


def asked(case: Case, **fields: Any) -> GenerateRequest:
    return request(case[0], pictures(case), MAX_TOKENS, **fields)


def engine_of(folder: Path, **settings: Any) -> Engine:
    return Engine(
        str(folder), **{"dtype": "float32", "device": "cpu", "kv_cache_bytes": 16 << 20, "num_threads": 1, **settings}
    )


def check(engine: Engine, cases: Iterator[Case] | tuple[Case, ...], answers: Answers) -> None:
    """All at the same time."""
    support = engine.image_support
    assert support is not None
    asked_cases = list(cases)
    running = [engine.submit(asked(case)) for case in asked_cases]
    for case, one in zip(asked_cases, running, strict=True):
        output = one.result()
        prompt_ids, token_ids = answers(support, case)
        assert list(output.prompt_token_ids) == prompt_ids, case
        assert list(output.outputs[0].token_ids) == token_ids, case
    engine.check_invariants()


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str, checkpoint: Callable[[str], Path], answers_of: Callable[[str], Answers]) -> None:
    """Chunks that cut images in two, a mixed batch, and again with everything cached."""
    with engine_of(checkpoint(name), max_num_batched_tokens=37) as engine:
        check(engine, CASES, answers_of(name))
        encoded = engine.stats()["images_encoded"]
        check(engine, CASES[::-1], answers_of(name))
        assert engine.stats()["images_encoded"] == encoded


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "settings",
    [
        {"page_size": 1, "max_num_batched_tokens": 5},
        {"page_size": 1, "max_num_batched_tokens": 512},
        {"page_size": 16, "max_num_batched_tokens": 512},
        {"page_size": 4, "max_num_batched_tokens": 23, "image_cache_bytes": 0},
        {"page_size": 3, "max_num_batched_tokens": 64, "enable_prefix_caching": False},
    ],
    ids=["page1-chunk5", "page1", "page16", "nothing-kept", "no-prefixes"],
)
def test_family_settings(
    name: str,
    settings: dict[str, Any],
    checkpoint: Callable[[str], Path],
    answers_of: Callable[[str], Answers],
) -> None:
    with engine_of(checkpoint(name), **settings) as engine:
        check(engine, CASES, answers_of(name))
        for case in CASES:
            check(engine, (case,), answers_of(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_family_in_a_tiny_pool(
    name: str, checkpoint: Callable[[str], Path], answers_of: Callable[[str], Answers]
) -> None:
    """Random arrivals, aborts, evictions and preemptions."""
    rng = random.Random(3)
    folder, answers = checkpoint(name), answers_of(name)
    with engine_of(folder) as engine:
        support = engine.image_support
    assert support is not None
    longest = max(len(answers(support, case)[0]) for case in CASES) + MAX_TOKENS
    bytes_of_page = 4 * 3 * 2 * 2 * 32 * 4
    pool = (longest // 4 + 4) * bytes_of_page
    with engine_of(folder, page_size=4, kv_cache_bytes=pool, max_num_batched_tokens=48, overlap=True) as engine:
        running = []
        for _ in range(60):
            case = rng.choice(CASES)
            running.append((case, engine.submit(asked(case, priority=rng.randrange(3)))))
            if rng.random() < 0.15:
                running.pop(rng.randrange(len(running)))[1].abort()
        for case, one in running:
            assert list(one.result().outputs[0].token_ids) == answers(support, case)[1], case
        engine.check_invariants()
        assert engine.stats()["evicted_pages"] > 0


@pytest.mark.parametrize("name", ["llava", "qwen3_vl", "gemma3", "paligemma2"])
def test_prompts_of_ids(name: str, checkpoint: Callable[[str], Path], answers_of: Callable[[str], Answers]) -> None:
    """Places counted in tokens give the same prompt, but for what a processor adds to texts only."""
    with engine_of(checkpoint(name)) as engine:
        for case in CASES:
            by_text = asked(case)
            assert isinstance(by_text.prompt, str)
            prompt = tuple(engine.tokenizer.encode(by_text.prompt, add_special_tokens=False))
            assert len(prompt) == len(by_text.prompt)  # a byte a token
            by_ids = GenerateRequest(prompt=prompt, images=by_text.images, sampling=by_text.sampling)
            expected, found = engine.submit(by_text).result(), engine.submit(by_ids).result()
            if name != "paligemma2":
                assert found.prompt_token_ids == expected.prompt_token_ids
                assert found.outputs[0].token_ids == expected.outputs[0].token_ids
            assert found.usage.image_tokens == expected.usage.image_tokens


def test_logits_of_bfloat16(checkpoint: Callable[[str], Path]) -> None:
    """Runs, and sees: another picture changes the log-probabilities."""
    with engine_of(checkpoint("llava"), dtype="bfloat16") as engine:
        sampling = asked(CASES[1]).sampling
        scored = [
            engine.submit(request(CASES[1][0], [picture(number)], sampling=_with_logprobs(sampling))).result()
            for number in (0, 1, 0)
        ]
        firsts = [output.outputs[0].logprobs[0].logprob for output in scored if output.outputs[0].logprobs]
        assert abs(firsts[0] - firsts[2]) < 0.02 < abs(firsts[0] - firsts[1])


def _with_logprobs(sampling: Any) -> Any:
    return dataclasses.replace(sampling, logprobs=0)


def test_reference_sees_pictures(checkpoint: Callable[[str], Path]) -> None:
    """The oracle itself depends on the pictures: else the tests above would prove little."""
    support = ImageSupport("<image>", (), 4)
    reference = Reference(checkpoint("llava"))
    with torch.no_grad():
        logits = [
            reference.model(**reference.inputs(f"x{PLACE}", [picture(number)], support)).logits[0, -1]
            for number in (0, 5)
        ]
    assert (logits[0] - logits[1]).abs().max() > 0.1
