"""Compile ahead of time what an engine would compile at its first steps. In: settings. Out: compiled kernels, which
numba and Triton keep on disk; and what took how long.

What an engine compiles depends on the model, the chip and the kind of step, so this makes one and has it answer
requests that take each way once. (`runtime/kernels/triton/builds.py` compiles for chips that need not be there.)
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from grammars.spec import JsonSchema
from runtime.api import GenerateRequest, PromptImage, SamplingParams
from runtime.config import EngineConfig
from runtime.engine import Engine
from runtime.execution.model_runner import ModelRunner
from runtime.images import Image
from runtime.model.loader import load

_LENGTH = 8
_SCHEMA = JsonSchema(
    {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 4}, "age": {"type": "integer", "maximum": 99}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)
_DRAWN = SamplingParams(
    max_tokens=_LENGTH, ignore_eos=True, temperature=0.8, top_p=0.9, top_k=20, min_p=0.01, logprobs=2,
    repetition_penalty=1.1, frequency_penalty=0.1, presence_penalty=0.1, logit_bias={5: 1.0},
)  # fmt: skip
_GREEDY = SamplingParams(max_tokens=_LENGTH, ignore_eos=True, temperature=0.0)


@dataclass(frozen=True, slots=True)
class Built:
    """A part of the work that is done, in seconds."""

    what: str
    seconds: float


def build(config: EngineConfig) -> Iterator[Built]:
    """Yields each part when it is done. Errors: those of making an engine."""
    begun = time.perf_counter()
    model = load(config)
    loaded = time.perf_counter()
    yield Built("the model, read", loaded - begun)
    runner = ModelRunner(model, config)
    runner.backend.finish_compiling()
    with Engine.from_parts(config, model, runner, runner.backend.sampler(model.vocab_size, model.eos_token_ids)) as one:
        yield Built("kernels of its layers, and graphs on a GPU", time.perf_counter() - loaded)
        for what, requests in _ways(one, config).items():
            begun = time.perf_counter()
            for running in [one.submit(request) for request in requests]:
                running.result()
            yield Built(what, time.perf_counter() - begun)


def _ways(engine: Engine, config: EngineConfig) -> dict[str, list[GenerateRequest]]:
    """Requests that go through every kind of step."""
    longest = engine.context_length - 2 * _LENGTH
    plain = engine.tokenizer.encode("Some words that every tokenizer knows. ", add_special_tokens=False)

    def text(length: int, number: int = 0) -> tuple[int, ...]:
        own = engine.tokenizer.encode(str(number), add_special_tokens=False)
        return (*itertools.islice(itertools.cycle(plain), min(length, longest - len(own))), *own)

    shared, long = [text(96, number) for number in range(5)], text(config.max_num_batched_tokens + 64)
    ways = {
        "one request": [GenerateRequest(prompt=text(32), sampling=_GREEDY)],
        "several that share their beginning": [GenerateRequest(prompt=ids, sampling=_GREEDY) for ids in shared],
        "random draws, penalties, log-probabilities": [GenerateRequest(prompt=ids, sampling=_DRAWN) for ids in shared],
        "a long prompt, in chunks": [GenerateRequest(prompt=long, sampling=_GREEDY)],
        "a constraint": [
            GenerateRequest(prompt=ids, sampling=SamplingParams(max_tokens=48), constraint=_SCHEMA) for ids in shared
        ],
        "a constraint, greedily": [
            GenerateRequest(
                prompt=shared[0], sampling=SamplingParams(max_tokens=48, temperature=0.0), constraint=_SCHEMA
            )
        ],
    }
    if engine.image_support is not None:
        picture = PromptImage(Image.of(np.full((64, 64, 3), 128, np.uint8)), 0)
        ways["an image"] = [GenerateRequest(prompt="What is this?", sampling=_GREEDY, images=(picture,))]
    return ways
