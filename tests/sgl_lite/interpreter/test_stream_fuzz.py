"""Streams and cancellation at random: on the real engine, with a tiny random model that writes any bytes."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sgl_lite as sgl
from tests.sgl_lite.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sgl.Engine]:
    folder: Path = write_tiny_model(tmp_path_factory.mktemp("tiny"), seed=5)
    with sgl.Engine(str(folder), dtype="float32", num_threads=1, kv_cache_bytes=8 << 20) as engine:
        yield engine
        engine.check_invariants()


SCHEMA = {
    "type": "object",
    "properties": {"ü": {"type": "string", "maxLength": 6}, "n": {"enum": ["😀", "漢字", 7]}},
    "required": ["ü", "n"],
    "additionalProperties": False,
}
GENS: list[dict[str, Any]] = [
    {},
    {"stop": ["e", "an"]},
    {"stop": [" ", "\n", "ß"]},
    {"stop_regex": "[aeiou]{2}|\\d"},
    {"json_schema": SCHEMA, "max_tokens": 60},
    {"regex": "[äöü😀]{3,9}"},
    {"choices": ["größer", "grün", "漢"]},
    {"n": 2},
]
PROGRAMS = st.lists(st.tuples(st.integers(0, len(GENS) - 1), st.booleans()), min_size=1, max_size=4)


@sgl.function
def program(s, plan, seed):
    s += "Ü: "
    for number, (kind, forked) in enumerate(plan):
        options = {"max_tokens": 14, "temperature": 1.5, "seed": seed + number, **GENS[kind]}
        if "choices" in options:
            options = {"choices": options["choices"]}
        if not forked:
            s += f"\n{number} é " + sgl.gen(f"x{number}", **options)
            continue
        forks = s.fork(2)
        forks += f"\nfork {number} " + sgl.gen(f"f{number}", **options)
        forks.join()
        s += "".join(str(text) for text in s[f"f{number}"] if isinstance(text, str))


FUZZ = settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(plan=PROGRAMS, seed=st.integers(0, 10_000))
def test_pieces_join_to_the_final_text(engine: sgl.Engine, plan: list[tuple[int, bool]], seed: int) -> None:
    """Of the whole text and of every variable, each read by a thread of its own while the program runs."""
    state = program.stream(plan, seed, backend=engine)
    names = [None, *(f"x{number}" for number, (_, forked) in enumerate(plan) if not forked)]
    pieces: dict[str | None, list[str]] = {name: [] for name in names}

    def read(name: str | None) -> None:
        pieces[name] += state.text_iter(name)

    readers = [threading.Thread(target=read, args=(name,)) for name in names]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
        assert not reader.is_alive()
    assert "".join(pieces[None]) == state.text()
    for name in names[1:]:
        value = state[name]
        assert "".join(pieces[name]) == (value[0] if isinstance(value, list) else value), name
        assert "".join(state.text_iter(name)) == "".join(pieces[name])
    for number, (kind, forked) in enumerate(plan):
        if kind == 4:
            for text in state[f"f{number}"] if forked else [state[f"x{number}"]]:
                assert set(json.loads(text)) == {"ü", "n"}


def wait_until(done: Any, seconds: float = 10.0) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


@pytest.mark.parametrize("way", ["stream", "run", "batch", "timeout"])
def test_cancelling_at_any_moment_leaves_nothing(engine: sgl.Engine, way: str) -> None:
    """No request in the engine, no lock on a page, no thread; and the next program runs as ever."""
    rng = random.Random(way)
    program([(0, False)], 0, backend=engine).sync()  # what is started once is running now
    threads = threading.active_count()
    for _ in range(12):
        plan = [(rng.randrange(len(GENS)), rng.random() < 0.4) for _ in range(rng.randint(1, 5))]
        moment = rng.choice([0.0, rng.random() * 0.005, rng.random() * 0.05])
        states: list[sgl.ProgramState] = []
        if way == "timeout":
            states = [program.run(plan, 1, backend=engine, stream=True, timeout=moment + 1e-4)]
        elif way == "batch":
            jobs = program.run_batch([(plan, seed) for seed in range(6)], backend=engine, generator_style=True)
            next(iter(jobs))
            jobs.close()  # type: ignore[union-attr]
        else:
            states = [program.run(plan, seed, backend=engine, stream=True) for seed in range(3 if way == "run" else 1)]
            reader = threading.Thread(target=lambda s=states[0]: _drain(s))  # type: ignore[misc]
            reader.start()
            time.sleep(moment)
            for state in states:
                state.cancel()
            reader.join(20)
            assert not reader.is_alive()
        for state in states:
            error = state.error()
            assert error is None or isinstance(error, sgl.ProgramCancelled | sgl.ProgramTimeout), repr(error)
        assert wait_until(lambda: not (engine.stats()["running"] or engine.stats()["waiting"])), engine.stats()
        engine.check_invariants()
        stats = engine.stats()
        assert stats["pages_cached"] == stats["pages_evictable"], "a page stayed locked"
        assert all(not state.interpreter.run._under_way for state in states)
    assert wait_until(lambda: threading.active_count() <= threads + 4), threading.enumerate()
    assert program([(4, False)], 3, backend=engine).error() is None


def _drain(state: sgl.ProgramState) -> None:
    try:
        for _ in state.text_iter():
            pass
    except (sgl.ProgramCancelled, sgl.ProgramTimeout):
        pass
