"""What the engine adds to a step: scheduling, delivery and text, around a model that costs nothing.

    python benchmarks/overhead.py [steps]

Prints CPU microseconds a step at several batch sizes, with and without a reader of every output, with stop strings, and
with requests waiting; "churn": they are short, so that in every step some end and some are admitted. The engine's own
loop runs in this thread, so nothing but it is measured.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from runtime.api import GenerateRequest, SamplingParams
from runtime.cache.prefix_cache import PrefixCache
from runtime.constraint.grammar_runner import GrammarRunner
from runtime.detokenizer import TokenTexts
from runtime.engine_loop import EngineLoop
from runtime.intake import Intake
from runtime.metrics import Metrics
from runtime.request import Request
from runtime.scheduler.batch import SampledTokens, ScheduledBatch
from runtime.scheduler.scheduler import Scheduler
from tests.runtime.fake_engine import FakeModel

TOKEN = 300


class NoModel:
    """Draws the same token always."""

    def forward(self, batch: ScheduledBatch) -> None:
        return None

    def sample(self, logits: None, batch: ScheduledBatch, masks: object) -> SampledTokens:
        count = batch.num_samples
        return SampledTokens(np.full(count, TOKEN, dtype=np.int64), (None,) * count)


def microseconds_a_step(
    batch: int, steps: int, waiting: int = 0, read: bool = False, stop: tuple[str, ...] = (), churn: bool = False
) -> float:
    model = FakeModel(context_length=1 << 20)
    grammar_runner = GrammarRunner(model.vocabulary, (model.vocab_size + 31) // 32)
    page_size, num_pages = 16, 40_000
    cache = PrefixCache(num_pages, page_size)
    scheduler = Scheduler(cache, max_num_seqs=batch, max_num_batched_tokens=8192)
    loop = EngineLoop(scheduler, NoModel(), NoModel(), grammar_runner, Metrics())
    intake = Intake(
        tokenizer=model.tokenizer,
        vocab_size=model.vocab_size,
        eos_token_ids=model.eos_token_ids,
        context_length=model.context_length,
        cache=cache,
        grammar_runner=grammar_runner,
        texts=TokenTexts(model.tokenizer, model.vocabulary),
        jump_forward=True,
        random_seed=0,
    )
    for index in range(batch + waiting):
        prompt = (*range(3, 99), 100 + index % 200, index % 7)
        max_tokens = 8 + index % 40 if churn else 100_000
        sampling = SamplingParams(max_tokens=max_tokens, temperature=0.0, ignore_eos=True, stop=stop)
        request = Request(str(index), GenerateRequest(prompt=prompt, sampling=sampling), print, None)
        if read:
            request._listeners.append(lambda output: None)
        loop._accept(intake.admit(request))
    for _ in range(20):
        loop.step()
    started = time.thread_time()
    for _ in range(steps):
        loop.step()
    return (time.thread_time() - started) / steps * 1e6


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print("batch  waiting  read   stop   churn   us/step")
    for batch, waiting, read, stop, churn in (
        (1, 0, False, False, False),
        (1, 0, True, False, False),
        (1, 0, False, True, False),
        (64, 0, False, False, False),
        (64, 0, True, False, False),
        (64, 0, False, True, False),
        (64, 10_000, False, False, False),
        (64, 1_000, False, False, True),
        (64, 10_000, False, False, True),
    ):
        stops = ("\n\n", "END") if stop else ()
        cost = min(microseconds_a_step(batch, min(steps, 400), waiting, read, stops, churn) for _ in range(2))
        print(f"{batch:5}  {waiting:7}  {read!s:5}  {stop!s:5}  {churn!s:5}  {cost:8.1f}")


if __name__ == "__main__":
    main()
