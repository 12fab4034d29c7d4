"""What a user does wrong: each has an error class of its own, a way out in its message, and is raised at the line that
wrote it; in a batch the other programs go on.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sgl_lite as sgl


@pytest.fixture(scope="module")
def engine() -> Iterator[sgl.Engine]:
    with sgl.Engine() as engine:
        sgl.set_default_backend(engine)
        yield engine
        sgl.set_default_backend(None)


def unknown_path(s: Any) -> None:
    sgl.Engine("./no/such/model")  # here


def unknown_setting(s: Any) -> None:
    sgl.Engine(model="x")  # here


def refused_model(s: Any) -> None:
    sgl.Engine(str(mamba))  # here


def unsupported_keyword(s: Any) -> None:
    s += sgl.gen("free", max_tokens=2)
    s += sgl.gen("x", json_schema={"properties": {"a": {"$dynamicRef": "#a"}}})  # here


def broken_regex(s: Any) -> None:
    s += sgl.gen("free", max_tokens=2)
    s += sgl.gen("x", regex="(a|b")  # here


def regex_beyond_regular(s: Any) -> None:
    s += sgl.gen("x", regex=r"(a+)\1")  # here


def small_budget(s: Any) -> None:
    s += "A pair: "
    s += sgl.gen("x", json_schema={"enum": ["a long text that takes many tokens 0123456789"]}, max_tokens=3)  # here


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


def literal_that_does_not_conform(s: Any) -> None:
    with s.constrain(json_schema={"properties": {"name": {"type": "string"}}, "additionalProperties": False}):
        s += '{"nme": '  # here


def unknown_argument(s: Any) -> None:
    s += sgl.gen("x", tempature=1)  # type: ignore[call-arg]  # here


mamba: Path
CASES: dict[Callable[[Any], None], tuple[type[Exception], str]] = {
    unknown_path: (sgl.ModelLoadError, "Give a folder with config.json, or a hub id"),
    unknown_setting: (sgl.RequestError, "no setting 'model'.* model_path"),
    refused_model: (sgl.UnsupportedModelError, "attention"),
    unsupported_keyword: (sgl.UnsupportedConstraintError, r"properties.*a.*\$dynamicRef"),
    broken_regex: (sgl.ConstraintSyntaxError, r"'\(a\|b'"),
    regex_beyond_regular: (sgl.UnsupportedConstraintError, "backreference|back-reference"),
    small_budget: (sgl.BudgetError, "raise max_tokens to at least"),
    long_prompt: (sgl.PromptTooLongError, "shorten the prompt"),
    no_text: (sgl.AppendError, r"write str\(\.\.\.\)"),
    nothing: (sgl.AppendError, "without `s"),
    unknown_variable: (sgl.UnknownVariableError, "did you mean 'answer'"),
    literal_that_does_not_conform: (sgl.ConformError, "byte"),
    unknown_argument: (sgl.ArgumentError, "temperature"),
}


@pytest.fixture(scope="module", autouse=True)
def folder_of_mamba(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A model without attention."""
    from transformers import MambaConfig

    global mamba
    mamba = tmp_path_factory.mktemp("mamba")
    MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4).save_pretrained(mamba)


@pytest.mark.parametrize("wrong", CASES, ids=lambda case: case.__name__)
def test_it_is_raised_at_its_line(engine: sgl.Engine, wrong: Callable[[Any], None]) -> None:
    kind, words = CASES[wrong]
    with pytest.raises(kind, match=words) as caught:
        sgl.function(wrong)().text()
    assert type(caught.value) is kind
    lines = [frame.line or "" for frame in traceback.extract_tb(caught.tb) if frame.filename == __file__]
    assert lines[-1].endswith("# here"), lines
    engine.check_invariants()


def test_each_kind_of_mistake_has_its_class() -> None:
    kinds = [kind for kind, _ in CASES.values()]
    assert len(set(kinds)) == len(kinds) - 2  # two for what cannot be added, two for what cannot be enforced


def test_a_failing_program_does_not_hurt_the_others(engine: sgl.Engine) -> None:
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
    assert (engine.stats()["running"], engine.stats()["waiting"]) == (0, 0)
