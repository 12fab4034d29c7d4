"""Programs that share prefixes, with the radix tree and without: hit rates and throughput.

    python -m benchmarks.programs [--only few-shot,chat] [--threads 1]

Seven of the workloads of the SGLang paper (arXiv 2312.07104, section 6) on synthetic tokens of its sizes, fewer of
each, so that a CPU is done in minutes:

few-shot            MMLU: 6 subjects with 5 examples each, 8 questions a subject, 1 token of answer; in random order
chat                4 turns, each 256 to 512 tokens in and 4 to 8 out; users come back in random order
tree of thought     2 plans, 2 executions of each, 2 reflections on each of those
skeleton of thought a skeleton, then 5 points expanded side by side
agent               ReAct: 3 long examples for all, 4 rounds of thought and observation
judge               4 dimensions judged in forks of an essay, then merged
JSON                facts drawn from a page into a JSON document under a schema

The hit rate is the share of prompt tokens that were not computed. "best" is that of the best order with a cache
that never forgets: every page-long beginning is computed once. The pool holds a part of what a workload writes, so
pages are evicted all the time. Writes results/programs.json. The model is that of `engines.py`, random weights.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.engines import MODEL, VOCAB, make_model
from benchmarks.machine import record
from grammars.spec import JsonSchema, Spec
from runtime.api import GenerateRequest, RequestOutput, SamplingParams
from runtime.engine import Engine

Tokens = tuple[int, ...]
PAGE_SIZE = 16
BYTES_PER_TOKEN = 30 * 2 * 3 * 64 * 2
"""Layers, keys and values, heads, head size, bfloat16."""

CITY = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "country": {"type": "string", "maxLength": 20},
        "population": {"type": "integer", "minimum": 0, "maximum": 99999999},
        "area": {"type": "integer", "minimum": 0, "maximum": 99999},
        "top 3 landmarks": {"type": "array", "items": {"type": "string", "maxLength": 16}, "maxItems": 3},
    },
    "required": ["name", "country", "population", "area", "top 3 landmarks"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Call:
    """A prompt, and how many tokens are wanted after it."""

    prompt: Tokens
    length: int
    constraint: Spec | None = None


Program = Generator[list[Call], list[Tokens], None]
"""Yields calls that may run side by side; gets their answers."""


class Text:
    """Synthetic tokens. Every call makes new ones."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def __call__(self, least: int, most: int | None = None) -> Tokens:
        count = self.random.randint(least, most or least)
        return tuple(self.random.randrange(300, VOCAB) for _ in range(count))


def few_shot(text: Text) -> list[Program]:
    def question(prompt: Tokens) -> Program:
        yield [Call(prompt, 1)]

    subjects = [text(20, 30) + text(5 * 100, 5 * 140) for _ in range(6)]
    return [question(subject + text(60, 120)) for subject in subjects for _ in range(8)]


def chat(text: Text) -> list[Program]:
    def conversation(system: Tokens) -> Program:
        history = system
        for _ in range(4):
            history += text(256, 512)
            (answer,) = yield [Call(history, text.random.randint(4, 8))]
            history += answer

    system = text(60)
    return [conversation(system) for _ in range(10)]


def tree_of_thought(text: Text) -> list[Program]:
    def problem(question: Tokens) -> Program:
        states = [question]
        for instruction in (text(30), text(30), text(30)):
            calls = [Call(state + instruction + text(2), 32) for state in states for _ in range(2)]
            answers = yield calls
            states = [call.prompt + answer for call, answer in zip(calls, answers, strict=True)]

    examples = text(400)
    return [problem(examples + text(80, 120)) for _ in range(6)]


def skeleton_of_thought(text: Text) -> list[Program]:
    def tip(question: Tokens) -> Program:
        (skeleton,) = yield [Call(question, 48)]
        yield [Call(question + skeleton + text(16), 40) for _ in range(5)]

    instruction = text(120)
    return [tip(instruction + text(30, 60)) for _ in range(8)]


def agent(text: Text) -> list[Program]:
    def task(trajectory: Tokens) -> Program:
        for _ in range(4):
            (thought,) = yield [Call(trajectory, 24)]
            trajectory += thought + text(60, 120)

    examples = text(1500)
    return [task(examples + text(30, 50)) for _ in range(10)]


def judge(text: Text) -> list[Program]:
    dimensions = [text(24) for _ in range(4)]

    def essay(prompt: Tokens) -> Program:
        verdicts = yield [Call(prompt + dimension, 32) for dimension in dimensions]
        merged = prompt + text(16)
        for dimension, verdict in zip(dimensions, verdicts, strict=True):
            merged += dimension + verdict
        yield [Call(merged, 16)]

    instruction = text(120)
    return [essay(instruction + text(450, 650)) for _ in range(8)]


def json_decoding(text: Text) -> list[Program]:
    def page(prompt: Tokens, schema: Spec) -> Program:
        yield [Call(prompt, 100, schema)]

    instruction, schema = text(300), JsonSchema(CITY)
    return [page(instruction + text(500, 700), schema) for _ in range(16)]


@dataclass(frozen=True, slots=True)
class Workload:
    """at_once: programs that run side by side. pool_tokens: what the pool holds; less than all of them write."""

    make: Callable[[Text], list[Program]]
    at_once: int
    pool_tokens: int


WORKLOADS = {
    "few-shot": Workload(few_shot, 48, 4096),
    "chat": Workload(chat, 4, 8192),
    "tree of thought": Workload(tree_of_thought, 6, 5120),
    "skeleton of thought": Workload(skeleton_of_thought, 8, 3072),
    "agent": Workload(agent, 10, 5120),
    "judge": Workload(judge, 5, 6144),
    "JSON": Workload(json_decoding, 16, 8192),
}


def run(engine: Engine, programs: Sequence[Program], at_once: int) -> list[RequestOutput]:
    """All programs to their ends; the outputs of their calls, as they came."""
    done: list[RequestOutput] = []

    def advance(program: Program) -> None:
        calls = next(program, None)
        while calls is not None:
            running = [engine.submit(_request(call)) for call in calls]
            outputs = [request.result() for request in running]
            done.extend(outputs)
            try:
                calls = program.send([output.outputs[0].token_ids for output in outputs])
            except StopIteration:
                calls = None

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(advance, programs))
    return done


def _request(call: Call) -> GenerateRequest:
    free = call.constraint is None
    sampling = SamplingParams(max_tokens=call.length, temperature=0.0, ignore_eos=free)
    return GenerateRequest(prompt=call.prompt, sampling=sampling, constraint=call.constraint)


def best_hits(outputs: Sequence[RequestOutput]) -> int:
    """Prompt tokens that need not be computed if nothing is ever forgotten. The last of a prompt always is."""
    known: set[Tokens] = set()
    hits = 0
    for output in outputs:
        prompt = output.prompt_token_ids
        text = prompt + output.outputs[0].token_ids[:-1]
        ends = range(PAGE_SIZE, len(prompt), PAGE_SIZE)
        hits += PAGE_SIZE * sum(prompt[:end] in known for end in ends)
        known.update(text[:end] for end in range(PAGE_SIZE, len(text) + 1, PAGE_SIZE))
    return hits


def measure(name: str, tree: bool, threads: int) -> dict[str, float]:
    workload = WORKLOADS[name]
    programs = workload.make(Text(1))
    random.Random(2).shuffle(programs)
    with Engine(
        str(MODEL), dtype="bfloat16", num_threads=threads, page_size=PAGE_SIZE, enable_prefix_caching=tree,
        kv_cache_bytes=workload.pool_tokens * BYTES_PER_TOKEN,
    ) as engine:  # fmt: skip
        run(engine, few_shot(Text(3))[:2], 2)
        engine.flush_cache()
        started = time.process_time()
        outputs = run(engine, programs, workload.at_once)
        seconds = time.process_time() - started
        evicted = engine.stats()["evicted_pages"]
    prompts = sum(len(output.prompt_token_ids) for output in outputs)
    hits = sum(output.usage.cached_tokens for output in outputs)
    return {
        "programs": len(programs),
        "requests": len(outputs),
        "prompt tokens": prompts,
        "output tokens": sum(output.usage.completion_tokens for output in outputs),
        "hit rate": hits / prompts,
        "best": best_hits(outputs) / prompts,
        "pool tokens": workload.pool_tokens,
        "evicted tokens": evicted * PAGE_SIZE,
        "seconds": seconds,
        "programs/s": len(programs) / seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(WORKLOADS))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(WORKLOADS):
        parser.error(f"--only: no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    if not (MODEL / "tokenizer.json").exists():
        make_model()
    table: dict[str, dict[str, Any]] = {}
    for name in options.only.split(","):
        on, off = measure(name, True, options.threads), measure(name, False, options.threads)
        table[name] = {
            **on,
            "share of best": on["hit rate"] / on["best"],
            "seconds without the tree": off["seconds"],
            "times faster": off["seconds"] / on["seconds"],
        }
        print(f"{name:20}" + "   ".join(f"{key} {value:,.4g}" for key, value in table[name].items()), flush=True)
        record("programs", options.threads, unit="CPU seconds", workloads=table)


if __name__ == "__main__":
    main()
