"""What a user does wrong: each has an error class of its own, a way out in its message, and is raised at the line that
wrote it; in a batch the other programs go on.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import sgl_lite as sgl
from tests.runtime.model.families import tiny_model


def unknown_path(s: Any) -> None:
    sgl.Engine("/no/such/model")  # here


def unknown_setting(s: Any) -> None:
    sgl.Engine(model="x")  # here


def refused_model(s: Any) -> None:
    sgl.Engine(mamba)  # here


def unsupported_keyword(s: Any) -> None:
    s += sgl.gen("free", max_tokens=2)
    s += sgl.gen("x", json_schema={"properties": {"a": {"$dynamicRef": "#a"}}})  # here


def number_that_cannot_be_enforced(s: Any) -> None:
    s += sgl.gen("x", json_schema={"properties": {"a": {"multipleOf": 0.123456789}}})  # here


def unclosed_group(s: Any) -> None:
    s += sgl.gen("x", regex="a(b")  # here


def broken_regex(s: Any) -> None:
    s += sgl.gen("free", max_tokens=2)
    s += sgl.gen("x", regex="(a|b")  # here


def regex_beyond_regular(s: Any) -> None:
    s += sgl.gen("x", regex=r"(a+)\1")  # here


def small_budget(s: Any) -> None:
    s += "A pair: "
    s += sgl.gen("x", json_schema={"enum": ["a long text that takes many tokens 0123456789"]}, max_tokens=3)  # here


def small_budget_of_a_regex(s: Any) -> None:
    s += sgl.gen("x", regex="a{40}b{40}c{40}", max_tokens=3)  # here


def long_prompt(s: Any) -> None:
    s += "word " * 50_000
    s += sgl.gen("x", max_tokens=4)  # here


def no_text(s: Any) -> None:
    s += "The answer: "
    s += 42  # here


def nothing(s: Any) -> None:
    s += print("a function that returns nothing")  # here


def unknown_variable(s: Any) -> None:
    s += sgl.gen("answer", max_tokens=2)
    s["anser"]  # here


def variable_of_another_name(s: Any) -> None:
    s += sgl.gen("x", max_tokens=1)
    s["y"]  # here


def digits_that_do_not_conform(s: Any) -> None:
    with s.constrain(regex="[0-9]+"):
        s += "12a"  # here


def literal_that_does_not_conform(s: Any) -> None:
    with s.constrain(json_schema={"properties": {"name": {"type": "string"}}, "additionalProperties": False}):
        s += '{"nme": '  # here


def unknown_argument(s: Any) -> None:
    s += sgl.gen("x", tempature=1)  # type: ignore[call-arg]  # here


mamba: str
CASES: dict[Callable[[Any], None], tuple[type[Exception], list[str]]] = {
    unknown_path: (
        sgl.ModelLoadError,
        ["/no/such/model.*no such folder", "Give a folder with config.json, or a hub id"],
    ),
    unknown_setting: (sgl.RequestError, ["no setting 'model'.* model_path"]),
    refused_model: (sgl.UnsupportedModelError, ["mamba2", "attention"]),
    unsupported_keyword: (sgl.UnsupportedConstraintError, [r"properties.*a.*\$dynamicRef"]),
    number_that_cannot_be_enforced: (sgl.UnsupportedConstraintError, ["/properties/a"]),
    broken_regex: (sgl.ConstraintSyntaxError, [r"'\(a\|b'"]),
    unclosed_group: (sgl.ConstraintSyntaxError, ["position 1"]),
    regex_beyond_regular: (sgl.UnsupportedConstraintError, ["backreference|back-reference"]),
    small_budget: (sgl.BudgetError, [r"raise max_tokens to at least \d+"]),
    small_budget_of_a_regex: (sgl.BudgetError, [r"raise max_tokens to at least \d+"]),
    long_prompt: (sgl.PromptTooLongError, ["2048", "shorten the prompt"]),
    no_text: (sgl.AppendError, [r"write str\(\.\.\.\)"]),
    nothing: (sgl.AppendError, ["without `s"]),
    unknown_variable: (sgl.UnknownVariableError, ["did you mean 'answer'"]),
    variable_of_another_name: (sgl.UnknownVariableError, ["'y'.*'x'"]),
    literal_that_does_not_conform: (sgl.ConformError, ["byte"]),
    digits_that_do_not_conform: (sgl.ConformError, ["byte 2"]),
    unknown_argument: (sgl.ArgumentError, ["temperature"]),
}


@pytest.fixture(scope="module", autouse=True)
def folder_of_mamba(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A model without attention."""
    global mamba
    mamba = str(tiny_model("mamba2", tmp_path_factory.mktemp("mamba")))


@pytest.mark.parametrize("wrong", CASES, ids=lambda case: case.__name__)
def test_it_is_raised_at_its_line(embedded_engine: sgl.Engine, wrong: Callable[[Any], None]) -> None:
    kind, patterns = CASES[wrong]
    with pytest.raises(kind) as caught:
        sgl.function(wrong)().text()
    assert type(caught.value) is kind
    assert all(re.search(pattern, str(caught.value)) for pattern in patterns), caught.value
    lines = [frame.line or "" for frame in traceback.extract_tb(caught.tb) if frame.filename == __file__]
    assert lines[-1].endswith("# here"), lines
    embedded_engine.check_invariants()


def test_each_kind_of_mistake_has_its_class() -> None:
    assert len({kind for kind, _ in CASES.values()}) == 11


@pytest.mark.parametrize("value", [None, 5, b"bytes", {"a": 1}])
def test_what_is_no_text(embedded_engine: sgl.Engine, value: object) -> None:
    @sgl.function
    def program(s: Any) -> None:
        s += value

    with pytest.raises(sgl.AppendError, match="None" if value is None else type(value).__name__):
        program()


def test_a_failing_program_does_not_hurt_the_others(embedded_engine: sgl.Engine) -> None:
    @sgl.function
    def program(s: Any, wrong: Callable[[Any], None] | None) -> None:
        s += "Ada:"
        if wrong is not None:
            wrong(s)
        s += sgl.gen("x", max_tokens=6, format="json", temperature=0)

    wrongs = [wrong for wrong in CASES if wrong not in (unknown_path, unknown_setting, refused_model)]
    states = program.run_batch([(wrong,) for one in wrongs for wrong in (one, None)])
    good = sgl.function(lambda s: program.func(s, None))()["x"]
    for wrong, failed, well in zip(wrongs, states[::2], states[1::2], strict=True):
        assert isinstance(failed.error(), CASES[wrong][0])
        assert well.error() is None and well["x"] == good
        json.loads(well["x"])
    assert (embedded_engine.stats()["running"], embedded_engine.stats()["waiting"]) == (0, 0)


def test_a_regex_that_does_not_parse_hurts_no_other(embedded_engine: sgl.Engine) -> None:
    @sgl.function
    def program(s: Any, pattern: str) -> None:
        s += "Hello"
        s += sgl.gen("x", regex=pattern, max_tokens=4)

    states = program.run_batch([{"pattern": p} for p in ("a|b", "a(b", "c")])
    assert states[0]["x"] in ("a", "b") and states[2]["x"] == "c"
    with pytest.raises(sgl.ConstraintSyntaxError):
        states[1]["x"]
