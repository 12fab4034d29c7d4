"""What the language adds to the engine: batches of programs, growing states, forks and choices, on the embedded model.

    python -m benchmarks.language [programs]

Prints and writes `results/language.json`:
  batch:   so many programs of three gens each in one `run_batch`, beside the same requests sent to the engine by hand.
           Overhead is the difference a program, of wall and of processor time (which other work on the machine
           disturbs less), the median of several rounds; `threads` the most that were alive.
  growing: a state of some 32,000 tokens that asks again and again: milliseconds to tokenise its prompt, as programs do
           and as a whole.
  forks:   pages that 200 forks of a 2,000-token state add to the pool before they write anything of their own.
  choices: seconds of a select among 50 choices after a 1,000-token prompt, beside a select of one.
"""

from __future__ import annotations

import json
import math
import queue
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

import sgl_lite as sgl
from benchmarks.machine import record
from runtime.api import GenerateRequest, SamplingParams
from sgl_lite.backends.local import Engine, LocalBackend

LINES = ("Person {0}.\nName:", "\nAge:", "\nCity:")
SAMPLING = SamplingParams(max_tokens=8, temperature=0.0, ignore_eos=True)


@sgl.function
def three_gens(s: Any, number: int) -> None:
    """The program of the batch."""
    for name, line in zip("abc", LINES, strict=True):
        s += line.format(number) + sgl.gen(name, max_tokens=8, temperature=0, ignore_eos=True)


def by_hand(engine: Engine, programs: int) -> list[str]:
    """The requests of `three_gens` without the language: each program's next is sent when the one before it ended."""
    texts = [""] * programs
    ended: queue.SimpleQueue[tuple[int, int, Any]] = queue.SimpleQueue()

    def send(number: int, step: int) -> None:
        texts[number] += LINES[step].format(number)
        request = engine.submit(GenerateRequest(prompt=texts[number], sampling=SAMPLING))
        request.add_done_callback(lambda one: ended.put((number, step, one)))

    for number in range(programs):
        send(number, 0)
    for _ in range(3 * programs):
        number, step, request = ended.get()
        texts[number] += request.result().outputs[0].text
        if step < 2:
            send(number, step + 1)
    return texts


def batch(engine: Engine, programs: int, rounds: int = 5) -> dict[str, Any]:
    """Medians of `rounds` of each, in turn, so that both meet the same machine."""
    most, stop = threading.active_count(), threading.Event()

    def watch() -> None:
        nonlocal most
        while not stop.wait(0.005):
            most = max(most, threading.active_count())

    def language() -> list[str]:
        return [state.text() for state in three_gens.run_batch([{"number": i} for i in range(programs)])]

    by_hand(engine, 50)
    times = []
    watcher = threading.Thread(target=watch)  # beside both, since it takes time
    watcher.start()
    for _ in range(rounds):
        engine.flush_cache()
        *plain, texts = timed(lambda: by_hand(engine, programs))
        engine.flush_cache()
        *ours, written = timed(language)
        times.append((*plain, *ours))
        assert written == texts
    stop.set()
    watcher.join()
    engine_s, engine_cpu_s, language_s, language_cpu_s = map(statistics.median, zip(*times, strict=True))
    return {
        "programs": programs,
        "engine_s": engine_s,
        "engine_cpu_s": engine_cpu_s,
        "language_s": language_s,
        "language_cpu_s": language_cpu_s,
        "overhead_ms_a_program": statistics.median(b - a for a, _, b, _ in times) * 1000 / programs,
        "overhead_cpu_ms_a_program": statistics.median(b - a for _, a, _, b in times) * 1000 / programs,
        "threads": most - 1,  # without the one that counts
    }


def growing(engine: Engine, gens: int = 200) -> dict[str, Any]:
    """Only the prompt's tokens: what the model does with them is the same."""
    backend = LocalBackend.of(engine)
    text = "Some words of a long text, one after the other, as people write them. "
    text *= 32_000 // len(backend.encode(text))
    known = backend.tokenized(text, True, None)
    known = backend.tokenized(text + " once", True, known)

    def as_programs_do() -> None:
        nonlocal known
        grown = text
        for step in range(gens):
            grown += f" Question {step}: and an answer."
            known = backend.tokenized(grown, True, known)

    seconds, _, _ = timed(as_programs_do)
    whole, _, ids = timed(lambda: [backend.encode(known.text) for _ in range(5)][-1])
    assert ids == known.ids
    return {"tokens": len(ids), "ms_a_gen": seconds * 1000 / gens, "ms_a_gen_of_the_whole": whole * 1000 / 5}


def forks(engine: Engine) -> dict[str, Any]:
    """Pages in use before the fork, and when 200 forks have each written a token."""
    pages: list[int] = []

    @sgl.function
    def program(s: Any) -> None:
        s += long_text(engine, 2000)
        s += sgl.gen("x", max_tokens=1)
        s.sync()
        pages.append(used(engine))
        children = s.fork(200)
        pages.append(used(engine))
        children += lambda i: f" {i}" + sgl.gen("y", max_tokens=1)
        children.join()
        pages.append(used(engine))

    engine.flush_cache()
    seconds, _, _ = timed(lambda: program().sync())
    return {"pages_before": pages[0], "pages_at_the_fork": pages[1], "pages_after": pages[2], "s": seconds}


def choices(engine: Engine) -> dict[str, Any]:
    """Each select after a prompt that nobody has computed."""
    text = long_text(engine, 1000)

    @sgl.function
    def program(s: Any, number: int, count: int) -> None:
        s += f"{number} " + text + sgl.select("x", [f"choice {i}" for i in range(count)])

    def run(number: int, count: int) -> dict[str, Any]:
        return program(number, count).get_meta_info("x") or {}

    run(0, 50)
    one = min(timed(lambda n=n: run(n, 1))[0] for n in range(1, 6))  # type: ignore[misc]
    many, _, metas = zip(*(timed(lambda n=n: run(n, 50)) for n in range(10, 15)), strict=True)  # type: ignore[misc]
    return {
        "prompt_tokens": metas[0]["prompt_tokens"],
        "computed_tokens": metas[0]["computed_tokens"],
        "one_s": one,
        "fifty_s": min(many),
        "times_one": min(many) / one,
    }


def long_text(engine: Engine, tokens: int) -> str:
    """A text of that many tokens, or a few more."""
    words = "words of a long text "
    a_time = (len(engine.encode(words * 20)) - len(engine.encode(words * 10))) / 10
    return words * (math.ceil(tokens / a_time))


def used(engine: Engine) -> int:
    stats = engine.stats()
    return int(stats["pages"] - stats["pages_free"])


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds, those of the processor, and the result."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - begin, time.process_time() - begin_cpu, result


def main() -> None:
    programs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with Engine() as engine:
        sgl.set_default_backend(engine)
        results = {
            "batch": batch(engine, programs),
            "growing": growing(engine),
            "forks": forks(engine),
            "choices": choices(engine),
        }
        sgl.set_default_backend(None)
    print(json.dumps(results, indent=2))
    record("language", torch.get_num_threads(), **results)


if __name__ == "__main__":
    main()
