"""Bad input: each kind has its own error, raised at the line that caused it, with the way out in its message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sgl_lite as sgl
from grammars.errors import BudgetError, ConformError, ConstraintSyntaxError, UnsupportedConstraintError
from runtime.errors import ModelLoadError, PromptTooLongError, UnsupportedModelError
from sgl_lite.errors import AppendError, UnknownVariableError
from tests.runtime.model.families import tiny_model


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    engine = sgl.Engine()
    sgl.set_default_backend(engine)
    yield
    sgl.set_default_backend(None)
    engine.shutdown()


@sgl.function
def one_gen(s, prompt="Hello", **settings):
    s += prompt
    s += sgl.gen("x", **settings)


def test_an_unknown_model() -> None:
    with pytest.raises(ModelLoadError, match=r"/no/such/model.*no such folder"):
        sgl.Engine(model_path="/no/such/model")


def test_a_model_that_the_guard_refuses(tmp_path: Path) -> None:
    path = tiny_model("mamba2", tmp_path)
    with pytest.raises(UnsupportedModelError, match="mamba2"):
        sgl.Engine(model_path=path)


def test_an_unsupported_keyword() -> None:
    schema = {"properties": {"a": {"multipleOf": 0.123456789}}}
    with pytest.raises(UnsupportedConstraintError, match=r"/properties/a"):
        one_gen(json_schema=schema)["x"]


def test_a_regex_that_does_not_parse() -> None:
    with pytest.raises(ConstraintSyntaxError, match="position 1"):
        one_gen(regex="a(b")["x"]


def test_a_regex_that_is_not_regular() -> None:
    with pytest.raises(UnsupportedConstraintError, match="back"):
        one_gen(regex=r"(a)\1")["x"]


def test_a_budget_below_the_shortest_answer() -> None:
    with pytest.raises(BudgetError, match=r"raise max_tokens to at least \d+"):
        one_gen(regex="a{40}b{40}c{40}", max_tokens=3)["x"]


def test_a_prompt_longer_than_the_context() -> None:
    with pytest.raises(PromptTooLongError, match="2048"):
        one_gen(prompt="word " * 4000)["x"]


def test_a_literal_that_does_not_conform() -> None:
    @sgl.function
    def program(s):
        with s.constrain(regex="[0-9]+"):
            s += "12a"
            s += sgl.gen("x")

    with pytest.raises(ConformError, match="byte 2"):
        program()["x"]


@pytest.mark.parametrize("value", [None, 5, b"bytes", {"a": 1}])
def test_what_is_no_text(value: object) -> None:
    @sgl.function
    def program(s):
        s += value

    with pytest.raises(AppendError, match="None" if value is None else type(value).__name__):
        program()


def test_an_unknown_variable() -> None:
    state = one_gen(max_tokens=1)
    with pytest.raises(UnknownVariableError, match=r"'y'.*'x'"):
        state["y"]


def test_a_failing_program_in_a_batch_hurts_no_other() -> None:
    @sgl.function
    def program(s, pattern):
        s += "Hello"
        s += sgl.gen("x", regex=pattern, max_tokens=4)

    states = program.run_batch([{"pattern": p} for p in ("a|b", "a(b", "c")])
    assert states[0]["x"] in ("a", "b") and states[2]["x"] == "c"
    with pytest.raises(ConstraintSyntaxError):
        states[1]["x"]
