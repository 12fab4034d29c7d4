"""Constraints through the whole loop on the fake model: always satisfied, at every budget, jumping or not."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

import jsonschema
import numpy as np
import pytest

from grammars import Vocabulary, VocabularyError
from grammars.errors import GrammarError, UnsatisfiableConstraintError, UnsupportedConstraintError
from grammars.spec import Choice, Format, JsonSchema, Literal, Regex, Spec
from runtime.api import CompletionOutput, GenerateRequest, RequestOutput, SamplingParams
from runtime.constraint.grammar_runner import GrammarRunner, OutputConstraint
from runtime.engine import Engine
from tests.runtime.fake_engine import FakeModel, fake_engine

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["math", "engine"]}, "maxItems": 3},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


def ask(engine: Engine, constraint: Spec, prefix: str = "", **sampling: Any) -> RequestOutput:
    generate = GenerateRequest(
        prompt="Generate", sampling=SamplingParams(**sampling), constraint=constraint, constraint_prefix=prefix
    )
    return engine.submit(generate).result(30)


def one(engine: Engine, constraint: Spec, **sampling: Any) -> CompletionOutput:
    return ask(engine, constraint, **sampling).outputs[0]


def test_valid_at_every_budget() -> None:
    with fake_engine() as engine:
        least = engine.compile_constraint(JsonSchema(SCHEMA)).min_tokens()
        for budget in range(least, least + 30):
            for temperature in (0.0, 1.0):
                answer = one(engine, JsonSchema(SCHEMA), max_tokens=budget, temperature=temperature, seed=budget)
                jsonschema.validate(json.loads(answer.text), SCHEMA)
                assert len(answer.token_ids) <= budget and answer.finish_reason == "stop"
        for budget in range(1, 20):
            answer = one(engine, Regex("(ab|c)+"), max_tokens=budget, seed=budget)
            assert re.fullmatch("(ab|c)+", answer.text)
            assert answer.finish_reason == "stop" or len(answer.token_ids) == budget


@pytest.mark.parametrize(
    "constraint", [JsonSchema(SCHEMA), Regex(r'\{"(name|age)": "[a-z]{1,9}"\} again and again'), Format("json")]
)
def test_jumps_change_nothing(constraint: Spec) -> None:
    with fake_engine(jump_forward=True) as jumping, fake_engine(jump_forward=False) as walking:
        for seed in range(15):
            jumped = ask(jumping, constraint, max_tokens=60, seed=seed, logprobs=0)
            walked = ask(walking, constraint, max_tokens=60, seed=seed, logprobs=0)
            assert jumped.outputs == walked.outputs
            assert jumped.usage.forced_tokens == walked.usage.forced_tokens
        if not isinstance(constraint, Format):
            assert jumping.stats()["forced_tokens"] > 0
            assert jumping.stats()["steps"] < walking.stats()["steps"]


def test_answers_of_one_prompt_have_matchers_of_their_own() -> None:
    with fake_engine() as engine:
        output = ask(engine, JsonSchema(SCHEMA), max_tokens=50, n=6, seed=2)
        for answer in output.outputs:
            jsonschema.validate(json.loads(answer.text), SCHEMA)
        assert len({answer.text for answer in output.outputs}) > 1


def test_what_is_written_already_counts() -> None:
    with fake_engine() as engine:
        prefix = '{"name": "Ada", "ag'
        for seed in range(10):
            answer = ask(engine, JsonSchema(SCHEMA), prefix, max_tokens=30, seed=seed).outputs[0]
            assert json.loads(prefix + answer.text)["name"] == "Ada"
            jsonschema.validate(json.loads(prefix + answer.text), SCHEMA)


def test_a_constraint_that_is_met_already_asks_for_nothing() -> None:
    with fake_engine() as engine:
        output = ask(engine, Literal("abc"), "abc", max_tokens=5)
        assert output.outputs[0].text == "" and output.outputs[0].finish_reason == "stop"
        assert engine.stats()["steps"] == 0


@pytest.mark.parametrize(
    ("constraint", "error"),
    [
        (JsonSchema({"type": "string", "pattern": "("}), GrammarError),
        (JsonSchema({"$ref": "https://example.org/nowhere"}), UnsupportedConstraintError),
        (JsonSchema(False), UnsatisfiableConstraintError),
        (Regex("("), GrammarError),
        (Format("no such format"), GrammarError),
    ],
)
def test_errors_at_the_line_that_caused_them(constraint: Spec, error: type[Exception]) -> None:
    with fake_engine() as engine, pytest.raises(error):
        ask(engine, constraint, max_tokens=10)


def test_a_failing_mask_ends_its_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    fill = OutputConstraint.fill_mask

    def fail(self: OutputConstraint, row: np.ndarray) -> None:
        if self._prefix == "b":
            raise GrammarError("over a limit")
        fill(self, row)

    monkeypatch.setattr(OutputConstraint, "fill_mask", fail)
    with fake_engine() as engine:
        constraint = Choice(["but", "bin", "bon"])
        running = [
            engine.submit(
                GenerateRequest(
                    prompt="x", sampling=SamplingParams(max_tokens=9), constraint=constraint, constraint_prefix=prefix
                )
            )
            for prefix in ("", "b", "")
        ]
        with pytest.raises(GrammarError, match="over a limit"):
            running[1].result(10)
        assert {running[0].result(10).outputs[0].text, running[2].result(10).outputs[0].text} <= {"but", "bin", "bon"}
        engine.check_invariants()
        assert engine.flush_cache()


def test_masks_of_a_mixed_batch() -> None:
    model = FakeModel()
    runner = GrammarRunner(model.vocabulary, 13)
    assert runner.fill_masks([None, None]) == (None, {})
    constraint = runner.open(Choice(["but", "can"]), 9, "", ends=[31, 32, 2])
    masks, failures = runner.fill_masks([None, constraint])
    assert masks is not None and masks.shape == (2, 13) and not failures
    assert (masks[0] == -1).all()
    allowed = np.flatnonzero(np.unpackbits(masks[1].view(np.uint8), bitorder="little"))
    assert {model.tokenizer.decode([token])[0] for token in allowed} == {"b", "c"}
    done = runner.open(Regex("a*"), 9, "", ends=[31, 32, 2])
    masks, _ = runner.fill_masks([done])
    assert masks is not None
    allowed = set(np.flatnonzero(np.unpackbits(masks[0].view(np.uint8), bitorder="little")).tolist())
    assert {31, 32, 2, 1} <= allowed


def test_prepared_once_and_beside_what_else_is_done() -> None:
    with fake_engine() as engine:
        vocabulary = engine._grammar_runner.vocabulary
    made: list[str] = []

    def make() -> Vocabulary:
        made.append(threading.current_thread().name)
        return vocabulary

    runner = GrammarRunner(make, 8)
    runner.prepare()
    deadline = time.monotonic() + 30
    while not made and time.monotonic() < deadline:
        time.sleep(0.001)
    runner.open(Literal("abc"), 8, "", ())
    assert made == ["sgl-lite-vocabulary"]


def test_what_preparing_fails_of_is_raised_where_it_is_asked_for() -> None:
    def make() -> Vocabulary:
        failed.set()
        raise VocabularyError("no bytes")

    failed = threading.Event()
    runner = GrammarRunner(make, 8)
    runner.prepare()
    assert failed.wait(30)
    for _ in range(2):
        with pytest.raises(VocabularyError, match="no bytes"):
            runner.open(Literal("abc"), 8, "", ())
