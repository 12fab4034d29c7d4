"""Programs of the kind that SGLang's tutorial and README show. The fake model answers by what it is asked, so that
prompts, turns and forks are checked to the character.
"""

from __future__ import annotations

import asyncio
import json
import re

import pytest

import sgl_lite as sgl
from runtime.api import GenerateRequest
from tests.sgl_lite.fake_backend import FakeBackend


def said(**answers: str):
    """Answers by how the prompt ends (or, in a chat, by its last message of the user)."""

    def answer(request: GenerateRequest) -> str:
        for key, text in answers.items():
            if key.replace("_", " ") in str(request.prompt)[-60:]:
                return text
        return "something"

    return answer


def test_a_question_of_the_user(backend: FakeBackend) -> None:
    backend.answer = said(France="Paris. And more")

    @sgl.function
    def basic_qa(s, question):
        s += sgl.system("You are a helpful assistant that can answer questions.")
        s += sgl.user(question)
        s += sgl.assistant(sgl.gen("answer", max_tokens=512, stop="."))

    state = basic_qa("What is the capital of France?")
    assert state["answer"] == "Paris"
    assert state.messages()[-1] == {"role": "assistant", "content": "Paris"}
    assert str(backend.requests[0].prompt).endswith("France?<|im_end|>\n<|im_start|>assistant\n")


def test_the_second_turn_sees_the_first(backend: FakeBackend) -> None:
    backend.answer = said(list="one, two", why="because")

    @sgl.function
    def multi_turn_qa(s):
        s += sgl.system("You are a helpful assistant.")
        s += sgl.user("Please give me a list of three countries.")
        s += sgl.assistant(sgl.gen("first_answer", max_tokens=64))
        s += sgl.user("And why?")
        s += sgl.assistant(sgl.gen("second_answer", max_tokens=64))
        return s

    state = multi_turn_qa()
    assert state.ret_value is state and (state["first_answer"], state["second_answer"]) == ("one, two", "because")
    first, second = (str(r.prompt) for r in backend.requests)
    assert second.startswith(first + "one, two<|im_end|>\n")


def test_a_branch_on_what_was_chosen(backend: FakeBackend) -> None:
    @sgl.function
    def tool_use(s, question):
        s += sgl.system("You solve problems.")
        s += sgl.user(question)
        s += sgl.assistant("I need to use a " + sgl.gen("tool", choices=["calculator", "search engine"]) + ". ")
        if s["tool"] == "calculator":
            s += sgl.assistant("The math expression is: " + sgl.gen("expression"))
        elif s["tool"] == "search engine":
            s += sgl.assistant("The keyword to search is: " + sgl.gen("word"))

    state = tool_use("What is 2 + 2?")
    assert {"expression", "word"} & set(state.save()["variables"]) == (
        {"expression"} if state["tool"] == "calculator" else {"word"}
    )
    assert "I need to use a " + state["tool"] + ". " == state.messages()[2]["content"]
    assert len(state.get_meta_info("tool")["normalized_prompt_logprobs"]) == 2


def test_forked_tips_are_written_side_by_side(backend: FakeBackend) -> None:
    backend.gate.clear()

    @sgl.function
    def tip_suggestion(s, topic):
        s += sgl.user(f"Here are two tips for {topic}: 1. Balanced Diet. 2. Regular Exercise.")
        forks = s.fork(2)
        for i, f in enumerate(forks):
            f += sgl.user(f"Now, expand tip {i + 1} into a paragraph:")
            f += sgl.assistant(sgl.gen("detailed_tip", max_tokens=256, stop="\n\n"))
        if len(backend.requests) == 2:  # both were asked for before either was answered
            s["side_by_side"] = True
        backend.gate.set()
        s += sgl.assistant("Tip 1:" + forks[0]["detailed_tip"] + "\nTip 2:" + forks[1]["detailed_tip"] + "\n")
        s += sgl.assistant("To summarize the above two tips, I can say:\n" + sgl.gen("summary", max_tokens=512))

    backend.answer = lambda r: (
        "Eat." if "tip 1 into" in str(r.prompt) else "Run." if "tip 2 into" in str(r.prompt) else "!"
    )
    state = tip_suggestion("staying healthy")
    assert state["side_by_side"] is True
    assert state.messages()[1]["content"] == "Tip 1:Eat.\nTip 2:Run.\n" and state["summary"] == "!"
    assert "expand" not in state.text()  # what a fork wrote is the fork's


def test_a_regular_expression_in_a_turn(backend: FakeBackend) -> None:
    backend.answer = lambda request: "The address is 208.67.222.222, I think"

    @sgl.function
    def regular_expression_gen(s):
        s += sgl.user("What is the IP address of the Google DNS servers?")
        s += sgl.assistant(
            sgl.gen("answer", temperature=0, regex=r"((25[0-5]|2[0-4]\d|[01]?\d\d?)\.){3}(25[0-5]|2[0-4]\d|[01]?\d\d?)")
        )

    parts = regular_expression_gen()["answer"].split(".")
    assert len(parts) == 4 and all(0 <= int(part) <= 255 for part in parts)


def test_json_of_a_character_by_regular_expression(backend: FakeBackend) -> None:
    pattern = (
        r'\{\n    "name": "[\w\d\s]{1,16}",\n    "house": "(Gryffindor|Slytherin)",\n'
        r'    "wand": \{\n        "wood": "[\w\d\s]{1,16}",\n        "length": [0-9]{1,2}\.[0-9]{0,2}\n    \}\n\}'
    )

    @sgl.function
    def character_gen(s, name):
        s += name + " is a character in Harry Potter. Please fill in the following information about this character.\n"
        s += sgl.gen("json_output", max_tokens=256, regex=pattern)

    read = json.loads(re.sub(r"\.\n", ".0\n", character_gen("Harry Potter")["json_output"]))
    assert read.keys() == {"name", "house", "wand"} and read["house"] in ("Gryffindor", "Slytherin")


def test_a_batch_of_questions_in_order(backend: FakeBackend) -> None:
    backend.answer = lambda r: str(r.prompt).split("Q: ")[-1][:2] + "!"

    @sgl.function
    def text_qa(s, question):
        s += "Q: " + question + "\nA:" + sgl.gen("answer", stop="\n")

    states = text_qa.run_batch([{"question": f"{i:02}"} for i in range(40)], progress_bar=True)
    assert [s["answer"] for s in states] == [f"{i:02}!" for i in range(40)]


def test_streaming_a_chat(backend: FakeBackend) -> None:
    backend.answer = lambda r: "a café, größer than 日本"

    @sgl.function
    def text_qa(s, question):
        s += sgl.user(question)
        s += sgl.assistant(sgl.gen("answer", temperature=0))

    state = text_qa.run("Where?", temperature=0.1, stream=True)
    pieces = list(state.text_iter())
    assert len(pieces) > 5 and "".join(pieces) == state.text() and state["answer"] in state.text()


def test_streaming_one_variable_of_two(backend: FakeBackend) -> None:
    backend.answer = lambda r: "first" if "A:" not in str(r.prompt) else "second"

    @sgl.function
    def program(s):
        s += "Q" + sgl.gen("one") + "A:" + sgl.gen("two")

    state = program.stream()
    assert "".join(state.text_iter("two")) == "second" and "".join(state.text_iter("one")) == "first"


def test_streaming_in_an_event_loop_with_meta(backend: FakeBackend) -> None:
    @sgl.function
    def text_qa(s, question):
        s += "Q: " + question + "\nA:" + sgl.gen("answer", max_tokens=6)

    async def collect() -> tuple[str, dict]:
        stream = text_qa.run("x", stream=True).text_async_iter("answer", return_meta_data=True)
        parts = [part async for part in stream]
        return "".join(piece for piece, _ in parts), parts[-1][1]

    text, meta = asyncio.run(collect())
    assert text == "an ans" and meta["completion_tokens"] == 6


def test_streams_of_several_programs_in_one_loop(backend: FakeBackend) -> None:
    backend.answer = lambda r: str(r.prompt)[-1] * 3

    @sgl.function
    def program(s, letter):
        s += letter + sgl.gen("x")

    async def one(letter: str) -> str:
        return "".join([p async for p in program.run(letter, stream=True).text_async_iter("x")])

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*map(one, "abc"))

    assert asyncio.run(all_of_them()) == ["aaa", "bbb", "ccc"]


def test_roles_as_contexts_hold_several_parts(backend: FakeBackend) -> None:
    backend.answer = lambda r: "yes"

    @sgl.function
    def program(s, question):
        with s.system():
            s += "Answer "
            s += "shortly."
        with s.user():
            s += question
        with s.assistant():
            s += "Well: " + sgl.gen("a", max_tokens=3)
            s += ", " + sgl.gen("b", max_tokens=3)

    state = program("Really?")
    assert [(m["role"], m["content"]) for m in state.messages()] == [
        ("system", "Answer shortly."),
        ("user", "Really?"),
        ("assistant", "Well: yes, yes"),
    ]


def test_methods_of_the_state_are_roles_too(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s.system("Be brief.")
        s += s.user("Hi")
        s.assistant(sgl.gen("x", max_tokens=2))

    assert [m["role"] for m in program().messages()] == ["system", "user", "assistant"]


def test_roles_written_by_their_ends(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.system_begin() + "S" + sgl.system_end()
        s += sgl.user_begin() + "U" + sgl.user_end()
        s += sgl.assistant_begin() + "A" + sgl.assistant_end()

    text = program().text()
    assert text == "".join(f"<|im_start|>{r}\n{c}<|im_end|>\n" for r, c in
                           (("system", "S"), ("user", "U"), ("assistant", "A")))  # fmt: skip


def test_one_program_calls_another(backend: FakeBackend) -> None:
    @sgl.function
    def inner(s, x):
        s += f"<{x}" + sgl.gen("y", max_tokens=1) + ">"

    @sgl.function
    def outer(s):
        s += "[" + inner(1).text() + "]"
        inner.func(s, 2)  # a program's function may be called on another program's state

    assert outer().text() == "[<1a>]<2a>" and outer()["y"] == "a"


def test_a_default_for_all_and_one_for_a_run(backend: FakeBackend) -> None:
    other = FakeBackend("other")

    @sgl.function
    def program(s):
        s += sgl.gen("x")

    assert program()["x"] == "an answer" and program(backend=other)["x"] == "other"
    assert (len(backend.requests), len(other.requests)) == (1, 1)


@pytest.mark.parametrize("call", [{"n": 3}, {"stop": 5}, {"stream": "x"}])
def test_a_parameter_may_be_called_as_one_of_runs(backend: FakeBackend, call: dict) -> None:
    name = next(iter(call))
    source = f"def program(s, {name}):\n    s += str({name}) + sgl.gen('x', max_tokens=1)"
    scope: dict = {"sgl": sgl}
    exec(source, scope)  # one program for each name
    assert sgl.function(scope["program"])(**call).text() == f"{call[name]}a"
