"""Tool calls, separated reasoning, saved states."""

from __future__ import annotations

import json
from enum import Enum

import pytest

import sgl_lite as sgl
from tests.sgl_lite.fake_backend import FakeBackend


class Unit(Enum):
    C = "celsius"
    F = "fahrenheit"


def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


def weather(city: str, unit: Unit = Unit.C) -> str:
    return f"{city} in {unit.value}"


class TestTools:
    @pytest.mark.parametrize(
        ("wish", "result"),
        [
            ('{"name": "add", "arguments": {"a": 2, "b": 3}}', 5),
            ('{"name": "add", "arguments": {"a": 2}}', 3),
            ('{"name": "weather", "arguments": {"city": "Oslo", "unit": "fahrenheit"}}', "Oslo in fahrenheit"),
        ],
    )
    def test_a_call(self, backend: FakeBackend, wish: str, result: object) -> None:
        backend.answer = lambda request: wish
        state = sgl.function(lambda s: s.__iadd__(sgl.gen("call", tools=[add, weather], max_tokens=90)))()
        call = state.parsed("call")
        assert call.name == json.loads(wish)["name"] and call() == result

    def test_other_calls_are_impossible(self, backend: FakeBackend) -> None:
        backend.answer = lambda request: '{"name": "delete", "arguments": {}}'
        state = sgl.function(lambda s: s.__iadd__(sgl.gen("call", tools=[add], max_tokens=90)))()
        assert state.parsed("call").name == "add"

    @pytest.mark.parametrize("tools", [[], [add, add], [lambda *args: None]])
    def test_bad_tools(self, tools: list) -> None:
        with pytest.raises(sgl.ArgumentError):
            sgl.gen("call", tools=tools)


class TestReasoning:
    @pytest.mark.parametrize(
        ("model_type", "said", "thoughts", "answer"),
        [
            ("deepseek-r1", "<think>Well, 2.</think>\n\nTwo", "Well, 2.", "Two"),
            ("qwen3", "Well, 2.</think>Two", "Well, 2.", "Two"),
            ("qwen3", "Two", "", "Two"),
            ("kimi", "◁think▷hm◁/think▷Two", "hm", "Two"),
            ("deepseek-r1", "<think>cut", "cut", ""),
        ],
    )
    def test_split(self, backend: FakeBackend, model_type: str, said: str, thoughts: str, answer: str) -> None:
        backend.answer = lambda request: said

        @sgl.function
        def program(s):
            s += sgl.user("1 + 1?")
            s += sgl.assistant(sgl.separate_reasoning(sgl.gen("x"), model_type=model_type))

        state = program()
        assert (state["x"], state["x_reasoning_content"]) == (answer, thoughts)
        assert state.messages()[-1] == {"role": "assistant", "content": answer}

    def test_several_answers(self, backend: FakeBackend) -> None:
        backend.answer = lambda request: "hm</think>Two"
        state = sgl.function(lambda s: s.__iadd__(sgl.separate_reasoning(sgl.gen("x", n=2), "qwen3")))()
        assert (state["x"], state["x_reasoning_content"]) == (["Two", "Two"], ["hm", "hm"])

    def test_misuse(self) -> None:
        with pytest.raises(sgl.ArgumentError, match="model_type='gpt-2'"):
            sgl.separate_reasoning(sgl.gen("x"), "gpt-2")
        with pytest.raises(sgl.ArgumentError, match="no constraint"):
            sgl.separate_reasoning(sgl.gen("x", regex="a"), "qwen3")


class TestSaving:
    def test_a_conversation_goes_on(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            s += sgl.user("Hello") + sgl.assistant(sgl.gen("a", max_tokens=2))
            s["n"] = [1, 2]

        state = program()
        other = sgl.ProgramState.load(json.loads(json.dumps(state.save())))
        assert (other.text(), other.messages(), other["a"], other["n"]) == (
            state.text(),
            state.messages(),
            "an",
            [1, 2],
        )
        assert other.get_meta_info("a") == state.get_meta_info("a")
        for one in (state, other):
            one += sgl.user("Again") + sgl.assistant(sgl.gen("b", max_tokens=2))
        assert other.text() == state.text()

    def test_what_cannot_be_saved(self, backend: FakeBackend) -> None:
        state = sgl.function(lambda s: s.set_var("x", object()))()
        with pytest.raises(sgl.ArgumentError, match="cannot be saved"):
            state.save()
        with pytest.raises(sgl.ArgumentError, match="no saved state"):
            sgl.ProgramState.load({"text": ""})
