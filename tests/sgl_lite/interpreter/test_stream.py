"""Streams: the pieces join to the final text, of every variable and of all."""

from __future__ import annotations

import asyncio

import pytest

import sgl_lite as sgl
from tests.sgl_lite.fake_backend import FakeBackend

ANSWER = "größer 😀 ok"


@pytest.fixture(autouse=True)
def _answer(backend: FakeBackend) -> None:
    backend.answer = lambda request: ANSWER


@sgl.function
def program(s):
    s += "A: " + sgl.gen("a") + " B: " + sgl.gen("b", stop="ok")
    s += sgl.select("c", [" x", " y"])


WHOLE = f"A: {ANSWER} B: größer 😀  x"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("name", "final"), [("a", ANSWER), ("b", "größer 😀 "), ("c", " x"), (None, WHOLE)])
def test_pieces_join(stream: bool, name: str | None, final: str) -> None:
    state = program.run(stream=stream)
    assert "".join(state.text_iter(name)) == final
    assert state.text() == WHOLE


def test_pieces_come_one_by_one(backend: FakeBackend) -> None:
    backend.pause = 0.002
    assert len(list(program.stream().text_iter("a"))) > 2


@pytest.mark.parametrize(("name", "final"), [("a", ANSWER), (None, WHOLE)])
def test_async_pieces(name: str | None, final: str) -> None:
    async def collect() -> str:
        return "".join([piece async for piece in program.stream().text_async_iter(name)])

    assert asyncio.run(collect()) == final


def test_async_pieces_with_meta() -> None:
    async def collect() -> list[tuple[str, dict]]:
        return [pair async for pair in program.stream().text_async_iter("a", return_meta_data=True)]

    pairs = asyncio.run(collect())
    assert "".join(piece for piece, _ in pairs) == ANSWER
    assert pairs[-1][1]["finish_reason"]["type"] == "stop"


def test_a_variable_that_never_comes() -> None:
    with pytest.raises(sgl.UnknownVariableError):
        list(program.stream().text_iter("zzz"))


def test_an_error_ends_the_stream(backend: FakeBackend) -> None:
    @sgl.function
    def failing(s):
        s += sgl.gen("a")
        raise ValueError("mine")

    state = failing.stream()
    with pytest.raises(ValueError, match="mine"):
        "".join(state.text_iter())
    assert isinstance(state.error(), ValueError)


def test_reading_while_the_program_runs(backend: FakeBackend) -> None:
    state = program.stream()
    assert state["b"] == "größer 😀 "
