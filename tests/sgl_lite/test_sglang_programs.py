"""Programs as SGLang's documentation has users write them: only the import differs. Structure is checked, not sense."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

import sgl_lite as sgl
from sgl_lite.lang.chat_template import ChatTemplate, get_chat_template, register_chat_template
from sgl_lite.lang.interpreter import ProgramState
from sgl_lite.lang.ir import REGEX_FLOAT, REGEX_INT
from tests.sgl_lite.fake_backend import FakeBackend


@pytest.fixture(autouse=True)
def _backend(backend: FakeBackend) -> None:
    backend.answer = lambda request: "one two three\nfour"


def test_few_shot_questions() -> None:
    @sgl.function
    def few_shot_qa(s, question):
        s += "Q: What is the capital of France?\nA: Paris\n"
        s += "Q: " + question + "\n"
        s += "A:" + sgl.gen("answer", stop="\n", temperature=0)

    state = few_shot_qa.run(question="What is the capital of Italy?", max_new_tokens=32)
    assert isinstance(state, ProgramState) and state["answer"] == "one two three"
    states = few_shot_qa.run_batch([{"question": "a"}, {"question": "b"}], temperature=0, progress_bar=True)
    assert [re.findall("Q: (.)\n", s.text()) for s in states] == [["a"], ["b"]]
    for state in few_shot_qa.run_batch([("a",)], num_threads=2, generator_style=True):
        assert state["answer"] == "one two three"


def test_two_turns() -> None:
    @sgl.function
    def multi_turn(s, question_1, question_2):
        s += sgl.system("You are a helpful assistant.")
        s += sgl.user(question_1)
        s += sgl.assistant(sgl.gen("answer_1", max_tokens=8))
        s += sgl.user(question_2)
        s += sgl.assistant(sgl.gen("answer_2", max_tokens=8))

    messages = multi_turn.run("Hello", "Bye").messages()
    assert [m["role"] for m in messages] == ["system", *["user", "assistant"] * 2]
    assert messages[2]["content"] == "one two "


def test_roles_as_scopes_and_by_their_parts() -> None:
    @sgl.function
    def program(s):
        with s.user():
            s += "Hello"
        s += sgl.assistant_begin() + sgl.gen("a", max_tokens=3) + sgl.assistant_end()
        s.user("Bye")

    assert [m["content"] for m in program.run().messages()] == ["Hello", "one", "Bye"]


def test_control_flow() -> None:
    @sgl.function
    def tool_use(s, question):
        s += (
            "To answer "
            + question
            + " I need to use a "
            + sgl.gen("tool", choices=["calculator", "search engine"])
            + ". "
        )
        if s["tool"] == "calculator":
            s += "The expression is" + sgl.gen("expression", max_tokens=3)
        elif s["tool"] == "search engine":
            s += "The word is" + sgl.gen("word", max_tokens=3)

    state = tool_use.run("2+2")
    assert ("expression" in state) == (state["tool"] == "calculator")


def test_parallel_tips() -> None:
    @sgl.function
    def tip_suggestion(s):
        s += "Here are two tips: 1. Diet. 2. Exercise.\n"
        forks = s.fork(2)
        for i, f in enumerate(forks):
            f += f"Now, expand tip {i + 1}:\n"
            f += sgl.gen("detailed_tip", max_tokens=16, stop="\n\n")
        s += "Tip 1:" + forks[0]["detailed_tip"] + "\n"
        s += "Tip 2:" + forks[1]["detailed_tip"] + "\n"
        s += "In summary" + sgl.gen("summary", max_tokens=8)

    assert re.fullmatch(r"Here .*\nTip 1:one .*\nTip 2:one .*\nIn summaryone two ", tip_suggestion.run().text(), re.S)


@pytest.mark.parametrize("mode", ["gather_variable", "concate_and_append"])
def test_parallel_sampling(mode: str) -> None:
    @sgl.function
    def parallel_sample(s, question, n):
        s += "Question: " + question + "\n"
        forks = s.fork(n)
        forks += "Reasoning:" + sgl.gen("reasoning", stop="\n") + "\n"
        forks += "Tool:" + sgl.gen("tool", choices=["calculator", "browser"])
        forks.join(mode)

    state = parallel_sample.run(question="2+2", n=5, temperature=1.0)
    if mode == "gather_variable":
        assert len(state["reasoning"]) == len(state["tool"]) == 5
    else:
        assert state.text().count("Reasoning:") == 5


def test_regular_expressions_and_types(backend: FakeBackend) -> None:
    backend.answer = lambda request: "12.5"

    @sgl.function
    def program(s):
        s += "IP: " + sgl.gen(
            "ip", temperature=0, regex=r"((25[0-5]|2[0-4]\d|[01]?\d\d?).){3}(25[0-5]|2[0-4]\d|[01]?\d\d?)"
        )
        s += "\nNumbers: " + sgl.gen("int", regex=REGEX_INT) + " " + sgl.gen("float", regex=REGEX_FLOAT) + " "
        s += sgl.gen("typed", dtype=int) + " " + sgl.gen_int("short", stop=".") + " " + sgl.gen_string("text")

    state = program.run()
    assert (state["int"], state["float"]) == ("12", "12.5") and state.parsed("typed") == 12
    assert len(state["ip"].split(".")) >= 1 and json.loads(state["text"]) == ""


def test_json_with_a_regular_expression(backend: FakeBackend) -> None:
    backend.answer = lambda request: '{\n  "name": "Harry",\n  "age": 17\n}'
    pattern = r"""\{\n  "name": "[\w\d\s]{1,16}",\n  "age": [0-9]{1,2}\n\}"""

    @sgl.function
    def character_gen(s, name):
        s += name + " is a character.\n" + sgl.gen("json_output", max_tokens=256, regex=pattern)

    assert json.loads(character_gen.run("Harry")["json_output"]) == {"name": "Harry", "age": 17}


def test_json_schema_as_text(backend: FakeBackend) -> None:
    schema = json.dumps({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]})

    @sgl.function
    def program(s):
        s += sgl.gen("x", json_schema=schema, max_tokens=30)

    assert isinstance(json.loads(program.run()["x"])["age"], int)


def test_streaming_both_ways() -> None:
    @sgl.function
    def program(s, question):
        s += "Q: " + question + "\nA:" + sgl.gen("answer", max_tokens=9)

    state = program.run(question="x", stream=True)
    assert "".join(state.text_iter()) == "Q: x\nA:one two t"
    assert "".join(program.run(question="x", stream=True).text_iter(var_name="answer")) == "one two t"

    async def collect() -> list[str]:
        state = program.run(question="x", stream=True)
        return [piece async for piece in state.text_async_iter(var_name="answer")]

    assert "".join(asyncio.run(collect())) == "one two t"


def test_log_probabilities_and_methods() -> None:
    @sgl.function
    def capital(s):
        s += "What is the capital of France?\n"
        s += sgl.gen("answer", choices=["Paris", "London"], choices_method=sgl.greedy_token_selection)

    meta = capital.run().get_meta_info("answer")
    assert len(meta["normalized_prompt_logprobs"]) == 2 and "greedy_logprob_matrix" in meta


def test_speculative_calls_and_settings() -> None:
    @sgl.function(num_api_spec_tokens=64)
    def character(s, name):
        s += name + "\nName:" + sgl.gen("name", stop="\n") + "\nBirthday:" + sgl.gen("birthday", stop="\n")

    bound = character.bind(name="Harry")
    assert bound.num_api_spec_tokens == 64
    state = bound.run(
        max_new_tokens=64, temperature=0.1, top_p=0.95, top_k=5, min_p=0.0, frequency_penalty=0.1, presence_penalty=0.0,
        ignore_eos=False, return_logprob=None, use_thread=True,
    )  # fmt: skip
    assert state["name"] == state["birthday"] == "one two three"


def test_copies_and_scopes() -> None:
    @sgl.function
    def program(s):
        s += "A"
        with s.copy() as tmp:
            tmp += sgl.gen("x", max_tokens=3)
        with s.var_scope("scope"):
            s += "B" + sgl.gen(max_tokens=3)

    state = program.run()
    assert state["x"] == ["one"] and state["scope"] == "Bone" and state.ret_value is None


def test_tracing_prints_a_graph(capsys: pytest.CaptureFixture[str]) -> None:
    @sgl.function
    def program(s, question):
        s += "Q:" + question + "\nA:" + sgl.gen("answer", stop="\n")

    program.trace().last_node.print_graph_dfs()
    assert "gen('answer')" in capsys.readouterr().out


def test_a_template_of_ones_own() -> None:
    mine = ChatTemplate(
        "mine",
        {"system": "S:", "user": "U:", "assistant": "A:"},
        {"system": "\n", "user": "\n", "assistant": "\n"},
    )
    register_chat_template(mine)
    assert get_chat_template("mine").get_prompt([{"role": "user", "content": "x"}]) == "U:x\n"


def test_the_cache_is_flushed_and_the_server_asked() -> None:
    sgl.flush_cache()
    assert "model_path" in sgl.get_server_info()
    assert sgl.global_config.default_backend is not None
