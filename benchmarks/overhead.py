"""What the engine adds to a step: scheduling, batches, sampling, delivery and text.

    python -m benchmarks.overhead [--steps 400]

Prints CPU microseconds a step, and writes results/overhead.json:

no model    scheduling, delivery and text alone, around a model that costs nothing: with and without a reader of every
            output, with stop strings, and with requests waiting. "churn": requests are short, so that in every step
            some end and some are admitted.
one layer   everything beside the forward of a model with one layer: the step as a whole, less what is spent inside the
            decoder.

The engine's own loop runs in this thread, so nothing but it is measured. Each figure is the least of three.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import record
from runtime.api import GenerateRequest, SamplingParams
from runtime.cache.prefix_cache import PrefixCache
from runtime.config import EngineConfig
from runtime.constraint.grammar_runner import GrammarRunner
from runtime.detokenizer import TokenTexts
from runtime.engine_loop import EngineLoop
from runtime.execution.model_runner import ModelRunner
from runtime.execution.sampler import Sampler
from runtime.intake import Intake
from runtime.metrics import Metrics
from runtime.model.loader import load
from runtime.request import Request
from runtime.scheduler.batch import SampledTokens, ScheduledBatch
from runtime.scheduler.scheduler import Scheduler
from tests.runtime.execution.stepping import wait_until_compiled
from tests.runtime.fake_engine import FakeModel
from tests.runtime.model.families import tiny_model

TOKEN = 300
PAGE_SIZE, NUM_PAGES = 16, 40_000
CONTEXT = 1 << 20


class NoModel:
    """Draws the same token always."""

    num_pages, page_size = NUM_PAGES, PAGE_SIZE

    def forward(self, batch: ScheduledBatch, drawn: object = None) -> None:
        return None

    def draw(self, logits: None, batch: ScheduledBatch, masks: object) -> SampledTokens:
        count = batch.num_samples
        return SampledTokens(np.full(count, TOKEN, dtype=np.int64), (None,) * count)


class Bench:
    """A loop and its intake, stepped by hand."""

    def __init__(self, model: Any, runner: Any, sampler: Any, max_num_seqs: int, overlap: bool = False) -> None:
        grammar_runner = GrammarRunner(model.vocabulary, (model.vocab_size + 31) // 32)
        cache = PrefixCache(runner.num_pages, runner.page_size)
        scheduler = Scheduler(cache, max_num_seqs=max_num_seqs, max_num_batched_tokens=8192)
        self.loop = EngineLoop(scheduler, runner, sampler, grammar_runner, Metrics(), overlap=overlap)
        self._intake = Intake(
            tokenizer=model.tokenizer,
            vocab_size=model.vocab_size,
            eos_token_ids=model.eos_token_ids,
            context_length=CONTEXT,
            cache=cache,
            grammar_runner=grammar_runner,
            texts=TokenTexts(model.tokenizer, model.vocabulary),
            jump_forward=True,
            random_seed=0,
        )
        self._count = 0

    def submit(self, prompt: tuple[int, ...], max_tokens: int, stop: tuple[str, ...] = (), read: bool = False) -> None:
        sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True, stop=stop)
        self._count += 1
        request = Request(str(self._count), GenerateRequest(prompt=prompt, sampling=sampling), print, None)
        if read:
            request._listeners.append(lambda output: None)
        self.loop._accept(self._intake.admit(request))

    def microseconds_a_step(self, steps: int) -> float:
        for _ in range(20):
            self.loop.step()
        started = time.thread_time()
        for _ in range(steps):
            self.loop.step()
        return (time.thread_time() - started) / steps * 1e6


def without_a_model(
    batch: int,
    steps: int,
    waiting: int = 0,
    read: bool = False,
    stop: bool = False,
    churn: bool = False,
    overlap: bool = False,
) -> float:
    bench = Bench(FakeModel(), NoModel(), NoModel(), batch, overlap)
    for index in range(batch + waiting):
        prompt = (*range(3, 99), 100 + index % 200, index % 7)
        max_tokens = 8 + index % 40 if churn else 100_000
        bench.submit(prompt, max_tokens, ("\n\n", "END") if stop else (), read)
    return bench.microseconds_a_step(steps)


def beside_one_layer(batch: int, steps: int) -> tuple[float, float]:
    """Microseconds a step outside and inside of the decoder."""
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_model("llama", Path(folder), num_hidden_layers=1, head_dim=32)
        config = EngineConfig(model_path=path, num_threads=1, kv_cache_bytes=64 << 20)
        model = load(config)
    runner = ModelRunner(model, config)
    decoder = runner.decoder
    assert decoder is not None
    wait_until_compiled(runner.ops)
    bench = Bench(model, runner, Sampler(model.vocab_size, model.eos_token_ids), batch)
    inside = [0.0]

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            started = time.thread_time()
            result = call(*arguments)
            inside[0] += time.thread_time() - started
            return result

        return run

    for index in range(batch):
        bench.submit((*range(3, 35), 36 + index), 100_000)
    bench.microseconds_a_step(1)
    vars(decoder).update(forward=timed(decoder.forward), forward_single=timed(decoder.forward_single))
    for _ in range(20):
        bench.loop.step()
    inside[0] = 0.0
    whole = bench.microseconds_a_step(steps)
    forward = inside[0] / (steps + 20) * 1e6
    return whole - forward, forward


CASES: dict[str, dict[str, Any]] = {
    "batch 1": {"batch": 1},
    "batch 1, read": {"batch": 1, "read": True},
    "batch 1, stop strings": {"batch": 1, "stop": True},
    "batch 1, overlap": {"batch": 1, "overlap": True},
    "batch 64": {"batch": 64},
    "batch 64, overlap": {"batch": 64, "overlap": True},
    "batch 64, read": {"batch": 64, "read": True},
    "batch 64, stop strings": {"batch": 64, "stop": True},
    "batch 64, 10,000 waiting": {"batch": 64, "waiting": 10_000},
    "batch 64, churn, 1,000 waiting": {"batch": 64, "waiting": 1_000, "churn": True},
    "batch 64, churn, 10,000 waiting": {"batch": 64, "waiting": 10_000, "churn": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    steps = parser.parse_args().steps
    alone = {name: min(without_a_model(steps=steps, **case) for _ in range(3)) for name, case in CASES.items()}
    for name, cost in alone.items():
        print(f"no model    {name:34}{cost:9.1f} us a step")
    beside: dict[str, dict[str, float]] = {}
    for batch in (1, 64):
        added, forward = min(beside_one_layer(batch, steps) for _ in range(3))
        beside[f"batch {batch}"] = {"added": added, "forward": forward}
        print(f"one layer   batch {batch:<28}{added:9.1f} us a step beside a forward of {forward:.1f}")
    record("overhead", 1, unit="CPU microseconds a step", no_model=alone, one_layer=beside)


if __name__ == "__main__":
    main()
