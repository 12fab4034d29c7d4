"""Batches: order, failures, threads, progress."""

from __future__ import annotations

import threading

import pytest

import sgl_lite as sgl
from tests.sgl_lite.fake_backend import FakeBackend


@sgl.function
def program(s, i, wait=False):
    s += f"{i}: "
    for k in range(3):
        s += sgl.gen(f"x{k}", max_tokens=2)
        if wait:
            assert s[f"x{k}"] == "an"
    if i == 7:
        raise ValueError("seven")
    return i


@pytest.mark.parametrize("wait", [False, True])
def test_results_are_in_order(backend: FakeBackend, wait: bool) -> None:
    states = program.run_batch([{"i": i, "wait": wait} for i in range(20) if i != 7])
    assert [s.ret_value for s in states] == [i for i in range(20) if i != 7]
    assert all(s.text().endswith(": ananan") for s in states)


def test_tuples_defaults_and_nothing(backend: FakeBackend) -> None:
    assert [s.ret_value for s in program.run_batch([(1,), (2, True)])] == [1, 2]
    assert program.run_batch([]) == []


def test_one_failure_does_not_hurt_the_others(backend: FakeBackend) -> None:
    states = program.run_batch([(i,) for i in range(10)])
    assert [i for i, s in enumerate(states) if s.error()] == [7]
    with pytest.raises(ValueError, match="seven"):
        _ = states[7]["x0"]
    assert states[8]["x2"] == "an"


def test_few_threads_for_many_programs(backend: FakeBackend) -> None:
    before, most = threading.active_count(), []

    @sgl.function
    def counting(s, i):
        s += sgl.gen("x", max_tokens=1)
        most.append(threading.active_count())
        _ = s["x"]

    counting.run_batch([(i,) for i in range(300)])
    assert max(most) - before <= 60
    assert threading.active_count() <= before + 4


def test_generator_style(backend: FakeBackend) -> None:
    states = program.run_batch([(i,) for i in range(5)], generator_style=True)
    assert not isinstance(states, list)
    assert [s.ret_value for s in states] == [0, 1, 2, 3, 4]


def test_leaving_early_cancels_the_rest(backend: FakeBackend) -> None:
    begun: list[sgl.ProgramState] = []

    @sgl.function
    def gated(s, i):
        begun.append(s)
        if i > 0:
            backend.gate.clear()
        s += sgl.gen("x")
        return s["x"]

    states = gated.run_batch([(i,) for i in range(4)], generator_style=True, num_threads=1)
    assert next(states).ret_value == "an answer"
    states.close()  # type: ignore[union-attr]
    backend.gate.set()
    assert all(isinstance(s.error(), sgl.ProgramCancelled) for s in begun[1:])


def test_progress_bar(backend: FakeBackend, capfd: pytest.CaptureFixture[str]) -> None:
    program.run_batch([(i,) for i in range(5)], progress_bar=True)
    assert "5/5" in capfd.readouterr().err


@pytest.mark.parametrize("item", ["abc", 3, {"j": 1}, (1, 2, 3)])
def test_bad_items_are_errors_before_anything_runs(backend: FakeBackend, item: object) -> None:
    with pytest.raises(sgl.ArgumentError):
        program.run_batch([(1,), item])
    assert not backend.requests


def test_bad_options(backend: FakeBackend) -> None:
    with pytest.raises(sgl.ArgumentError, match="num_threads=0"):
        program.run_batch([(1,)], num_threads=0)
    with pytest.raises(sgl.ArgumentError, match="unknown argument 'tempature'"):
        program.run_batch([(1,)], tempature=0)
