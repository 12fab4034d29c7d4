"""Constrain blocks end to end, on the fake backend: whatever the model would say, the text conforms."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

import sgl_lite as sgl
from tests.sgl_lite.fake_backend import FakeBackend


class Person(BaseModel):
    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=150)


PROMPT = "Generate a person profile:"
WISHES = [
    "",
    '"name": "Ada"',
    '{"name": "Ada", "age": 36}',
    '"a": {"b": "}"}\n}',
    "}}}}",
    '"\\',
    "[[[[",
    "Ada\\",
    "12",
    "x" * 50,
]


@sgl.function
def open_brace(s, budget):
    s += PROMPT
    s += "{\n"
    with s.constrain(format="json"):
        s += sgl.gen("content", max_tokens=budget)
    s += "\n}"


@sgl.function
def whole_value(s, budget):
    s += "Generate profile for Ada:"
    with s.constrain(format="json"):
        s += sgl.gen("profile", max_tokens=budget)


@sgl.function
def filled_in(s, budget):
    s += "Profile: "
    with s.constrain(json_schema=Person, name="person"):
        s += '{"name": "'
        s += sgl.gen("name", max_tokens=budget)
        s += '", "age": '
        s += sgl.gen("age", max_tokens=budget)
        s += "}"
    s += " Next."


@pytest.mark.parametrize("wish", WISHES)
@pytest.mark.parametrize("budget", [1, 2, 3, 5, 8, 20, 60])
def test_all_programs_at_all_budgets(backend: FakeBackend, wish: str, budget: int) -> None:
    backend.answer = wish if callable(wish) else lambda request: wish
    assert isinstance(json.loads(open_brace(budget).text().removeprefix(PROMPT)), dict)
    json.loads(whole_value(budget)["profile"])
    if budget > 2:
        state = filled_in(budget)
        assert isinstance(state.parsed("person"), Person)
        assert state.text() == f"Profile: {state['person']} Next."
        assert f'{{"name": "{state["name"]}", "age": {state["age"]}}}' == state["person"]


def test_the_model_may_write_the_delimiter_itself(backend: FakeBackend) -> None:
    answers = iter(['Ada", "age": 36}', "36}"])
    backend.answer = lambda request: next(answers)
    state = filled_in(40)
    assert (state["name"], state["age"]) == ("Ada", "36")


def test_a_nested_object_does_not_end_the_gen_at_its_own_bracket(backend: FakeBackend) -> None:
    backend.answer = lambda request: '"a": {"b": 1\n}, "c": 2\n}'
    assert open_brace(60)["content"] == '"a": {"b": 1\n}, "c": 2'


def test_parsed_of_an_opened_value(backend: FakeBackend) -> None:
    backend.answer = lambda request: '"a": 1\n}'
    assert open_brace(60).parsed("content") == {"a": 1}


def test_nothing_closes_what_was_opened(backend: FakeBackend) -> None:
    backend.answer = lambda request: '"a": 1, "b": 2}'

    @sgl.function
    def program(s):
        s += "{"
        with s.constrain(format="json"):
            s += sgl.gen("content", max_tokens=30)

    state = program()
    assert json.loads("{" + state["content"] + "}") == {"a": 1, "b": 2}
    assert state.parsed("content") == {"a": 1, "b": 2}


def test_an_opened_value_of_a_schema(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += "Ada is 36.\n"
        s += '{"name": "'
        with s.constrain(json_schema=Person):
            s += sgl.gen("x", max_tokens=50)
        s += "}"

    backend.answer = lambda request: 'Ada", "age": 36, "extra": 1'
    text = program().text().removeprefix("Ada is 36.\n")
    assert Person.model_validate_json(text) == Person(name="Ada", age=36)


def test_a_variable_read_inside_the_block(backend: FakeBackend) -> None:
    backend.answer = lambda request: '{"name": "Ada", "age": 36}'

    @sgl.function
    def program(s):
        with s.constrain(type=Person):
            s += sgl.gen("x", max_tokens=50)
            return s["x"]

    state = program()
    assert json.loads(state.ret_value) == {"name": "Ada", "age": 36} and state.parsed("x") == Person(name="Ada", age=36)


def test_control_flow_on_a_variable_of_the_block(backend: FakeBackend) -> None:
    answers = iter(["dog", "bone"])
    backend.answer = lambda request: next(answers)

    @sgl.function
    def program(s):
        with s.constrain(format="json"):
            s += '{"animal": "'
            s += sgl.gen("animal", stop='"', max_tokens=10)
            s += '", "eats": "' if s["animal"] == "dog" else '", "flies": "'
            s += sgl.gen("food", max_tokens=10)
            s += '"}'

    assert json.loads(program().text()) == {"animal": "dog", "eats": "bone"}


def test_a_select_inside_the_block(backend: FakeBackend) -> None:
    class Mood(BaseModel):
        mood: Literal["good", "bad"]

    @sgl.function
    def program(s):
        with s.constrain(type=Mood, name="mood"):
            s += '{"mood": "'
            s += sgl.select("choice", ["fine", "good", "bad"])
            s += '"}'

    state = program()
    assert state.parsed("mood") in (Mood(mood="good"), Mood(mood="bad"))
    assert len(state.get_meta_info("choice")["choices"]) == 2


@pytest.mark.parametrize(
    ("given", "wish"),
    [
        ({"regex": r"\d{3}-\d{4}"}, "555-1234"),
        ({"choices": ["red", "green"]}, "green"),
        ({"format": "json"}, "[1, 2]"),
    ],
)
def test_other_constraints(backend: FakeBackend, given: dict[str, Any], wish: str) -> None:
    backend.answer = lambda request: wish

    @sgl.function
    def program(s):
        s += "say "
        with s.constrain(**given):
            s += sgl.gen("x", max_tokens=20)
        s += " ok"

    assert program().text() == f"say {wish} ok"


@pytest.mark.parametrize(
    ("given", "wish", "value"),
    [
        ({"dtype": int}, "42 and", 42),
        ({"dtype": int}, "007", 0),
        ({"dtype": "float"}, "2.5e3,", 2500.0),
        ({"dtype": bool}, "True", True),
        ({"dtype": str}, '"a b"', "a b"),
        ({"dtype": list[int]}, "[1, 2]", [1, 2]),
        ({"type": Person}, '{"name": "Ada", "age": 36}', Person(name="Ada", age=36)),
        ({"json_schema": {"type": "integer", "minimum": 10}}, "12", 12),
        ({"regex": "[a-c]+", "stop": "b"}, "abc", "a"),
    ],
)
def test_gens_with_a_constraint(backend: FakeBackend, given: dict[str, Any], wish: str, value: Any) -> None:
    backend.answer = lambda request: wish
    state = sgl.function(lambda s: s.__iadd__("x = " + sgl.gen("x", max_tokens=30, **given) + "."))()
    assert state.parsed("x") == value
    assert state.text() == f"x = {state['x']}."


class TestErrors:
    def test_a_literal_that_does_not_conform(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            with s.constrain(json_schema=Person):
                s += '{"nme": "'

        with pytest.raises(sgl.ConformError, match="does not conform at byte 3") as caught:
            program()
        assert "test_constrain.py" in caught.value.__notes__[0]

    def test_a_block_that_is_not_complete(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            with s.constrain(json_schema=Person):
                s += '{"name": "Ada"'

        with pytest.raises(sgl.ConformError):
            program()

    def test_an_empty_block(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            with s.constrain(format="json"):
                pass

        with pytest.raises(sgl.ConformError):
            program()

    def test_a_budget_that_is_too_small(self, backend: FakeBackend) -> None:
        with pytest.raises(sgl.BudgetError, match="max_tokens=3"):
            sgl.function(lambda s: s.__iadd__(sgl.gen("x", max_tokens=3, type=Person)))().text()

    def test_a_constraint_that_cannot_be_enforced_is_an_error_at_its_line(self, backend: FakeBackend) -> None:
        backend.gate.clear()

        @sgl.function
        def program(s):
            s += sgl.gen("free")
            s += sgl.gen("x", grammar="start: nowhere")

        with pytest.raises(sgl.GrammarError):
            program()
        backend.gate.set()

    def test_no_or_two_constraints(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s, **given):
            with s.constrain(**given):
                s += sgl.gen("x")

        with pytest.raises(sgl.ArgumentError, match="constrain needs one of"):
            program()
        with pytest.raises(sgl.ArgumentError, match="regex and format"):
            program(regex="a", format="json")

    def test_an_exception_in_the_block(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            with pytest.raises(ZeroDivisionError), s.constrain(format="json"):
                s += sgl.gen("x")
                raise ZeroDivisionError
            s += "goes on " + sgl.gen("y", max_tokens=2)

        state = program()
        assert state.text() == "goes on an" and len(backend.requests) == 1
        with pytest.raises(sgl.SpanError, match="left by an exception"):
            _ = state["x"]

    def test_a_part_cannot_be_parsed(self, backend: FakeBackend) -> None:
        with pytest.raises(sgl.SpanError, match="name the whole"):
            filled_in(20).parsed("name")

    def test_nothing_to_parse_by(self, backend: FakeBackend) -> None:
        with pytest.raises(sgl.ArgumentError, match="type=, json_schema="):
            sgl.function(lambda s: s.__iadd__(sgl.gen("x")))().parsed("x")

    @pytest.mark.parametrize("thing", ["fork", "role", "block"])
    def test_what_cannot_stand_in_a_block(self, backend: FakeBackend, thing: str) -> None:
        @sgl.function
        def program(s):
            with s.constrain(format="json"):
                if thing == "fork":
                    s.fork(2)
                elif thing == "role":
                    s += sgl.user("x")
                else:
                    with s.constrain(format="json"):
                        pass

        with pytest.raises(sgl.SpanError, match="one text"):
            program()
