"""Chat programs: their text is what the template makes of their messages."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import sgl_lite as sgl
from sgl_lite.backends.base import Message
from sgl_lite.chat.messages import TokenizerTemplate
from sgl_lite.chat.templates import templates
from tests.sgl_lite.fake_backend import CHATML, FakeBackend

SYSTEM, USER = "<|im_start|>system\n{}<|im_end|>\n", "<|im_start|>user\n{}<|im_end|>\n"
ASSISTANT = "<|im_start|>assistant\n"


@sgl.function
def conversation(s):
    s += sgl.system("Be kind.")
    s += sgl.user("Hello")
    s += sgl.assistant(sgl.gen("a", max_tokens=2))
    s += sgl.user("Again") + sgl.assistant("Well, " + sgl.gen("b", max_tokens=2))


def test_prompts_and_messages(backend: FakeBackend) -> None:
    state = conversation()
    messages = state.messages()
    assert messages == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "an"},
        {"role": "user", "content": "Again"},
        {"role": "assistant", "content": "Well, an"},
    ]
    assert state.text() == CHATML.render(messages, add_generation_prompt=False)
    first, second = (r.prompt for r in backend.requests)
    assert first == CHATML.render(messages[:2], add_generation_prompt=True)
    assert second == CHATML.render(messages[:4], add_generation_prompt=True) + "Well, "
    assert [c.open_text for c in backend.conversations if c] == ["", "Well, "]


def test_scopes_and_calls(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        with s.user():
            s += "Hel"
            s += "lo"
        s += s.assistant(sgl.gen("a", max_tokens=2))
        s += sgl.user_begin() + "Bye" + sgl.user_end()

    state = program()
    assert [m["content"] for m in state.messages()] == ["Hello", "an", "Bye"]
    assert state.text() == USER.format("Hello") + ASSISTANT + "an<|im_end|>\n" + USER.format("Bye")


def test_a_gen_in_the_users_turn(backend: FakeBackend) -> None:
    sgl.function(lambda s: s.user("I say " + sgl.gen("a", max_tokens=2)))().sync()
    assert backend.requests[0].prompt == "<|im_start|>user\nI say "


def test_a_template_that_rewrites_what_is_earlier(backend: FakeBackend) -> None:
    """As reasoning models' templates do: only the last answer keeps its thoughts."""

    def apply(messages: Sequence[Message], add_generation_prompt: bool) -> str:
        parts = []
        for index, message in enumerate(messages):
            content = message["content"].strip()
            if message["role"] == "assistant" and index < len(messages) - 1:
                content = content.split("</think>")[-1]
            parts.append(f"<{message['role']}>{content}</>")
        return "".join(parts) + ("<assistant>" if add_generation_prompt else "")

    backend._template = TokenizerTemplate(apply)
    backend.answer = lambda request: "hm</think>yes"

    @sgl.function
    def program(s):
        for question in ("one", "two"):
            s += sgl.user(question)
            s += sgl.assistant(sgl.gen(question))

    state = program().sync()
    assert [r.prompt for r in backend.requests] == [
        "<user>one</><assistant>",
        "<user>one</><assistant>yes</><user>two</><assistant>",
    ]
    assert state.text() == apply(state.messages(), False)


def test_a_template_that_refuses(backend: FakeBackend) -> None:
    def apply(messages: Sequence[Message], add_generation_prompt: bool) -> str:
        if messages[0]["role"] == "system":
            raise ValueError("System role not supported")
        return "x"

    backend._template = TokenizerTemplate(apply)
    with pytest.raises(sgl.RoleError, match="System role not supported"):
        conversation()


def test_roles_out_of_turn(backend: FakeBackend) -> None:
    with pytest.raises(sgl.RoleError, match="cannot be nested"):
        sgl.function(lambda s: s.__iadd__(sgl.user(sgl.assistant("x"))))()
    with pytest.raises(sgl.RoleError, match="no message is open"):
        sgl.function(lambda s: s.__iadd__(sgl.user_end()))()


def test_forks_share_the_conversation(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.user("Hello")
        forks = s.fork(2)
        forks += sgl.assistant(sgl.gen("x", max_tokens=2))
        forks.join()
        return [f.messages() for f in forks]

    state = program()
    assert state["x"] == ["an", "an"] and len(state.messages()) == 1
    assert [len(messages) for messages in state.ret_value] == [2, 2]


def test_the_template_stops_the_turn(backend: FakeBackend) -> None:
    backend._template = templates.get("llama-3-instruct")
    conversation().sync()
    assert backend.requests[0].sampling.stop == ("<|eot_id|>",)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3-instruct"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen"),
        ("google/gemma-2-9b-it", "gemma-it"),
        ("lmsys/vicuna-7b-v1.5", "vicuna_v1.1"),
        ("somebody/unknown", "default"),
    ],
)
def test_built_in_templates_by_path(path: str, name: str) -> None:
    assert templates.of_model(path).name == name


def test_a_default_system_message() -> None:
    text = templates.get("qwen").get_prompt([{"role": "user", "content": "Hi"}])
    assert text == SYSTEM.format("You are a helpful assistant.") + USER.format("Hi")


def test_unknown_template() -> None:
    with pytest.raises(sgl.ArgumentError, match="no chat template 'none'"):
        templates.get("none")
