"""`async def` programs: many in one event loop, cancelled with their task."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

import sgl_lite as sgl
from tests.sgl_lite.fake_backend import FakeBackend


@sgl.function
async def ask(s, i):
    s += f"{i}: " + sgl.gen("a", max_tokens=2)
    first = await s.read("a")
    s += " then " + sgl.gen("b", max_tokens=3)
    if i == 3:
        raise ValueError("three")
    return first


def test_await(backend: FakeBackend) -> None:
    state = asyncio.run(ask(1))
    assert (state.ret_value, state["b"], state.text()) == ("an", "an ", "1: an then an ")


def test_errors(backend: FakeBackend) -> None:
    with pytest.raises(ValueError, match="three"):
        asyncio.run(ask(3))
    with pytest.raises(sgl.ArgumentError, match="await ask"):
        ask.run(1)


def test_many_side_by_side_in_one_thread(backend: FakeBackend) -> None:
    before = threading.active_count()

    async def all_of_them() -> list[sgl.ProgramState]:
        states = await asyncio.gather(*(ask(i) for i in range(50) if i != 3))
        assert threading.active_count() <= before + 4
        return states

    assert [s["a"] for s in asyncio.run(all_of_them())] == ["an"] * 49


def test_batch(backend: FakeBackend) -> None:
    states = ask.run_batch([(i,) for i in range(5)], progress_bar=False)
    assert [s.ret_value for s in states] == ["an", "an", "an", None, "an"]
    with pytest.raises(ValueError, match="three"):
        states[3].text()


def test_a_blocking_read_is_an_error(backend: FakeBackend) -> None:
    backend.gate.clear()

    @sgl.function
    async def blocking(s):
        s += sgl.gen("a")
        return s["a"]

    with pytest.raises(sgl.BlockingReadError, match=r"await s\.read\('a'\)"):
        asyncio.run(blocking())
    backend.gate.set()


def test_a_sync_program_awaited(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.gen("a", max_tokens=2)
        return s["a"]

    assert asyncio.run(program.run_async()).ret_value == "an"


def test_cancelling_the_task_cancels_the_program(backend: FakeBackend) -> None:
    backend.gate.clear()
    seen: list[sgl.ProgramState] = []

    @sgl.function
    async def program(s):
        seen.append(s)
        s += sgl.gen("a")
        await s.read("a")

    async def cancelled() -> None:
        task = asyncio.create_task(program())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    backend.gate.set()
    assert isinstance(seen[0].error(), sgl.ProgramCancelled)


def test_streaming(backend: FakeBackend) -> None:
    async def collect() -> str:
        state = await ask.run_async(1, stream=True)
        return "".join([piece async for piece in state.text_async_iter("b")])

    assert asyncio.run(collect()) == "an "


def test_constrained_blocks(backend: FakeBackend) -> None:
    backend.answer = lambda request: "12, 3]"

    @sgl.function
    async def program(s):
        with s.constrain(type=list[int]):
            s += "["
            s += sgl.gen("items", max_tokens=20)
        return await s.read("items")

    state = asyncio.run(program())
    assert json.loads(state.text()) == [12, 3]
