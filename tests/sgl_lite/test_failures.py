"""What goes wrong is raised where it happens or where it is read, says what to do, and names the program's line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

import sgl_lite as sgl
from sgl_lite.backends.base import Capabilities
from tests.sgl_lite.fake_backend import FakeBackend


def run(body: Callable[[Any], Any], **options: Any) -> sgl.ProgramState:
    return sgl.function(body)(**options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sgl.gen("x", tempature=1), "unknown argument 'tempature'"),
        (lambda: sgl.gen("x", temperature=-1), "temperature=-1"),
        (lambda: sgl.gen("x", max_tokens=-5), "max_tokens=-5"),
        (lambda: sgl.gen("x", min_tokens=5, max_tokens=2), "min_tokens=5"),
        (lambda: sgl.gen("x", stop=[1]), "stop=[1] must be a text or a list of them"),
        (lambda: sgl.gen("x", stop_token_ids="a"), "stop_token_ids='a' must be a token id or a list"),
        (lambda: sgl.gen("x", temperature="hot"), "temperature='hot' must be a number"),
        (lambda: sgl.gen("x", max_tokens="5"), "max_tokens='5' must be a whole number"),
        (lambda: sgl.gen("x", n=1.5), "n=1.5 must be a whole number"),
        (lambda: sgl.gen("x", ignore_eos="yes"), "ignore_eos='yes' must be True or False"),
        (lambda: sgl.gen("x", logit_bias=[5]), "logit_bias=[5] must be a dict"),
        (lambda: sgl.gen("x", check=5), "check=5 must be a function"),
        (lambda: sgl.gen("x", tools=[1]), "tools=[1] must be functions"),
        (lambda: sgl.gen("x", type=5), "5 has no JSON form"),
        (lambda: sgl.function(lambda s: None)(timeout="1"), "timeout='1' must be a number of seconds"),
        (lambda: sgl.function(lambda s: None).run_batch(5), "run_batch takes a list of dicts or tuples"),
        (lambda: sgl.ProgramState.load({}), "give what s.save() returned"),
        (lambda: sgl.gen(3), "name of a variable"),
        (lambda: sgl.gen("x", retries=-1), "retries=-1"),
        (lambda: sgl.gen("x", choices=["a"], regex="a"), "regex and choices"),
        (lambda: sgl.select("x"), "choices=[...]"),
        (lambda: sgl.select("x", ["a"], choices_method="best"), "token_length_normalized"),
        (lambda: sgl.select("x", ["a"], temperature=-1), "temperature=-1"),
    ],
)
def test_bad_arguments_are_errors_at_their_line(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(sgl.ArgumentError, match=re.escape(words)):
        make()


def test_unknown_variable(backend: FakeBackend) -> None:
    state = run(lambda s: s.set_var("name", 1))
    with pytest.raises(sgl.UnknownVariableError, match=r"no variable 'nme'.*it has: 'name'; did you mean 'name'"):
        _ = state["nme"]
    with pytest.raises(KeyError):
        _ = state["other"]


def test_unknown_variable_inside_the_program(backend: FakeBackend) -> None:
    with pytest.raises(sgl.UnknownVariableError, match="none yet"):
        run(lambda s: s["x"])


@pytest.mark.parametrize("value", [None, 3, object(), ["a", 3]])
def test_what_cannot_be_added(backend: FakeBackend, value: object) -> None:
    with pytest.raises(sgl.AppendError):
        run(lambda s: s.__iadd__(value))


def test_a_later_failure_is_raised_where_it_is_read(backend: FakeBackend) -> None:
    def answer(request):
        if "second" in request.prompt:
            raise RuntimeError("no answer")
        return "fine"

    backend.answer = answer
    backend.gate.clear()

    @sgl.function
    def program(s):
        s += "first " + sgl.gen("a") + " second " + sgl.gen("b")

    state = program()
    backend.gate.set()
    assert state["a"] == "fine"
    with pytest.raises(RuntimeError, match="no answer") as caught:
        _ = state["b"]
    (note,) = caught.value.__notes__
    assert re.fullmatch(r"in test_failures\.py:\d+, in program: gen\('b'\)", note)
    assert state.error() is caught.value
    with pytest.raises(RuntimeError):
        state.text()
    with pytest.raises(RuntimeError):
        state += "more"


def test_errors_of_the_program_itself(backend: FakeBackend) -> None:
    def body(s):
        s += "a"
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run(body)


def test_arguments_of_the_run(backend: FakeBackend) -> None:
    @sgl.function
    def program(s, name, n=1):
        return name, n

    assert program("a", n=4).ret_value == ("a", 4)
    with pytest.raises(sgl.ArgumentError, match="did you mean 'temperature'"):
        program("a", temperatur=0)
    with pytest.raises(sgl.ArgumentError, match="missing a required argument: 'name'"):
        program()
    with pytest.raises(sgl.ArgumentError, match="no parameter 'age'"):
        program.bind(age=1)
    assert program.bind(name="b")(n=2).ret_value == ("b", 2)
    with pytest.raises(sgl.ArgumentError, match="must take the state"):
        sgl.function(lambda: None)


def test_not_a_backend() -> None:
    with pytest.raises(sgl.ArgumentError, match="is no backend"):
        sgl.set_default_backend("http://localhost")


def test_cancel(backend: FakeBackend) -> None:
    backend.gate.clear()
    state = run(lambda s: s.__iadd__(sgl.gen("a") + sgl.gen("b")))
    state.cancel()
    backend.gate.set()
    with pytest.raises(sgl.ProgramCancelled):
        _ = state["a"]
    with pytest.raises(sgl.ProgramCancelled):
        state.text()


def test_timeout(backend: FakeBackend) -> None:
    def answer(request):
        time.sleep(0.05)
        return "slow"

    backend.answer = answer
    with pytest.raises(sgl.ProgramTimeout, match=r"timeout=0\.01"):
        run(lambda s: s.__iadd__(sgl.gen("a") + sgl.gen("b")), timeout=0.01).text()


def test_a_backend_that_cannot_score() -> None:
    backend = FakeBackend(capabilities=Capabilities(scores=False))
    with pytest.raises(sgl.UnsupportedByBackendError, match="log-probabilities"):
        run(lambda s: s.__iadd__("a" + sgl.select("x", ["b", "c"])), backend=backend)
