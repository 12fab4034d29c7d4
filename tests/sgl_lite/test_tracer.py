"""Traces: what a program would do, seen without a model."""

from __future__ import annotations

import pytest

import sgl_lite as sgl
from tests.sgl_lite.fake_backend import FakeBackend


@sgl.function
def tips(s, topic, n=2):
    s += "Be brief.\n"
    s += "Topic: "
    s += topic
    s += "\n" + sgl.gen("intro")
    forks = s.fork(n)
    for i, fork in enumerate(forks):
        fork += f"Tip {i}: " + sgl.gen("tip") + sgl.select("rating", ["good", "bad"])
    forks.join()
    s += forks[0]["tip"]
    s += sgl.gen("end")
    return "done"


def labels(nodes) -> list[str]:
    return [n.node.label() for n in nodes]


def test_nodes_and_plan(backend: FakeBackend) -> None:
    traced = tips.trace()
    assert traced.ret_value == "done" and not backend.requests
    assert traced.constant_prefix() == "Be brief.\nTopic: "
    assert labels(traced.flatten_nodes())[2] == "argument 'topic'"
    assert [labels(stage) for stage in traced.plan()] == [
        ["gen('intro')"],
        ["gen('tip')", "gen('tip')"],
        ["select('rating')", "select('rating')"],
        ["gen('end')"],
    ]


def test_arguments_can_be_given() -> None:
    assert tips.trace(topic="tea", n=1).constant_prefix() == "Be brief.\nTopic: tea\n"
    assert len(tips.bind(n=4).trace().plan()[1]) == 4


def test_the_graph_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    last = tips.trace(n=1).last_node
    assert last is not None
    last.print_graph_dfs()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "%0 = 'Be brief.\\n'" and lines[-1].startswith("%") and "gen('end')" in lines[-1]


@pytest.mark.parametrize(
    "body",
    [
        lambda s, x: s.__iadd__(f"Hello {x}"),
        lambda s, x: s.__iadd__("a" if x else "b"),
        lambda s, x: s.__iadd__(sgl.gen("y")) and s.__iadd__(f"{s['y']}"),
        lambda s, x: s["y"],
        lambda s, x: s.text(),
    ],
)
def test_values_that_a_trace_does_not_have(body) -> None:
    with pytest.raises(sgl.TraceError):
        sgl.function(body).trace()


def test_the_constant_beginning_is_computed_ahead(backend: FakeBackend) -> None:
    assert tips.cache() == "Be brief.\nTopic: "
    (request,) = backend.requests
    assert (request.prompt, request.sampling.max_tokens) == ("Be brief.\nTopic: ", 0)

    @sgl.function
    def formatted(s, x):
        s += "Always this. "
        s += f"Then {x}"

    assert formatted.cache() == "Always this. "


def test_the_constant_beginning_of_a_chat(backend: FakeBackend) -> None:
    @sgl.function
    def program(s, question):
        s += sgl.system("Be brief.")
        with s.user():
            s += "Question: "
            s += question
        s += sgl.assistant(sgl.gen("x"))

    begin = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nQuestion: "
    assert program.trace().constant_prefix() == ""
    assert program.trace(backend=backend).constant_prefix() == begin == program.cache()
    assert backend.requests[0].prompt == begin and backend.conversations[0] is not None
    program("Why?").sync()
    assert str(backend.requests[1].prompt).startswith(begin + "Why?")
