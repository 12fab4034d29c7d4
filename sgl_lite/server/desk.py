"""Where calls wait for their answers: a queue limit, admission in threads, outputs brought into the event loop.

In: `GenerateRequest`s. Out: `Answers`, read in the event loop. The engine compiles constraints and tokenises in the
thread that submits, so that is never the event loop's. Knows no HTTP but the errors it raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from runtime.api import GenerateRequest, RequestOutput
from runtime.errors import EngineStopped, RequestAborted
from sgl_lite.backends.base import Backend, Conversation, Pending
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.errors import ApiError
from sgl_lite.server.gate import Call

ADMISSION_THREADS = 8
"""Requests whose prompts are tokenised and constraints compiled at the same time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a call. conversation: given in a chat. stream: outputs before the last are wanted."""

    request: GenerateRequest
    conversation: Conversation | None = None
    stream: bool = False

    @property
    def weight(self) -> int:
        """Answers that the engine will draw."""
        return self.request.sampling.best_of or self.request.sampling.n


@dataclass(slots=True, eq=False)
class Answers:
    """The requests of one call, under way together. Used in the event loop only."""

    count: int
    pending: list[Pending] = field(default_factory=list)
    aborted: bool = False
    _changed: dict[int, RequestOutput | BaseException] = field(default_factory=dict)
    _fresh: asyncio.Event = field(default_factory=asyncio.Event)

    async def outputs(self) -> AsyncIterator[tuple[int, RequestOutput]]:
        """Which request, and all it has so far; a slow reader sees fewer of them. Raises what ends a request."""
        left = self.count
        while left:
            await self._fresh.wait()
            self._fresh.clear()
            changed, self._changed = self._changed, {}
            for number, output in changed.items():
                if isinstance(output, BaseException):
                    raise output
                left -= output.finished
                yield number, output

    async def finished(self) -> list[RequestOutput]:
        """The last output of each, in order."""
        last = {number: output async for number, output in self.outputs() if output.finished}
        return [last[number] for number in range(self.count)]

    def put(self, number: int, output: RequestOutput | BaseException) -> None:
        self._changed[number] = output
        self._fresh.set()

    def add(self, pending: Pending) -> None:
        self.pending.append(pending)
        if self.aborted:
            pending.abort()

    def abort(self) -> None:
        """End what still runs, soon; without effect on what is done."""
        self.aborted = True
        for pending in self.pending:
            pending.abort()


class Desk:
    """Takes requests to the backend, no more than `config.max_under_way` answers at a time."""

    def __init__(self, backend: Backend, config: ServerConfig) -> None:
        self._backend = backend
        self._config = config
        self._threads = ThreadPoolExecutor(ADMISSION_THREADS, thread_name_prefix="sgl-lite admission")
        self._calls: set[Answers] = set()
        self._serials = itertools.count()
        self._mean_seconds = 1.0
        self.under_way = 0
        self.rejected = 0
        self.is_open = True
        self.engine_runs = True

    async def start(self, call: Call, asked: Sequence[Asked]) -> Answers:
        """Start the requests of a call; they are aborted when the call ends.

        Errors: `ApiError` when the server is full or stopping, and whatever the engine has against a request.
        """
        self._check_room(sum(one.weight for one in asked))
        answers = Answers(len(asked))
        self._calls.add(answers)
        call.at_end.callback(self._calls.discard, answers)
        call.at_end.callback(answers.abort)
        starts = [asyncio.ensure_future(self._admit(call, answers, number, one)) for number, one in enumerate(asked)]
        for start in starts:
            start.add_done_callback(_retrieved)
        for start in starts:
            await asyncio.shield(start)
        return answers

    def occupy(self, call: Call, weight: int) -> None:
        """Count work that is no answer as so many of them, until the call ends. Errors: as `start`'s."""
        self._check_room(weight)
        self.under_way += weight
        call.at_end.callback(self._leave, weight)

    def _leave(self, weight: int) -> None:
        self.under_way -= weight

    async def in_thread(self, function: Any, *arguments: Any) -> Any:
        """Run something that would hold up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def close(self) -> None:
        """Take no more requests."""
        self.is_open = False

    def abort_all(self) -> None:
        for answers in list(self._calls):
            answers.abort()

    def shutdown(self) -> None:
        self.close()
        self.abort_all()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check_room(self, weight: int) -> None:
        if not self.is_open:
            raise ApiError(503, "the server is stopping", code="server_stopping", retry_after=1)
        most = self._config.max_under_way
        if weight > most:
            raise ApiError(400, f"this asks for {weight} answers at once; the server gives at most {most}", param="n")
        if self.under_way + weight > most:
            self.rejected += 1
            wait = min(max(math.ceil(self._mean_seconds), 1), 60)
            message = f"{self.under_way} answers are under way, and the server takes {most}; try again in {wait} s"
            raise ApiError(429, message, code="server_busy", retry_after=wait)

    async def _admit(self, call: Call, answers: Answers, number: int, asked: Asked) -> None:
        """Submit one request. Its weight counts until it has ended.

        The engine's id of it is the call's and a number: clients may send the same id twice.
        """
        loop, begun = asyncio.get_running_loop(), time.monotonic()
        self.under_way += asked.weight

        def ended(result: RequestOutput | BaseException) -> None:
            self.under_way -= asked.weight
            self._mean_seconds += 0.05 * (time.monotonic() - begun - self._mean_seconds)
            self.engine_runs = self.engine_runs and not isinstance(result, EngineStopped)
            answers.put(number, self._told(result))

        def on_output(output: RequestOutput) -> None:
            _in_loop(loop, ended, output) if output.finished else _in_loop(loop, answers.put, number, output)

        request_id = f"{call.request_id}-{next(self._serials)}"
        request = replace(asked.request, request_id=request_id, timeout=self._config.request_seconds)

        def submit() -> Pending:
            if answers.aborted:
                raise RequestAborted("its call ended before a thread was free")
            on_failure = partial(_in_loop, loop, ended)
            return self._backend.generate(request, on_output, on_failure, asked.conversation, asked.stream)

        try:
            pending = await self.in_thread(submit)
        except BaseException:
            self.under_way -= asked.weight
            raise
        answers.add(pending)

    def _told(self, result: RequestOutput | BaseException) -> RequestOutput | BaseException:
        """What is aborted while the server stops, is aborted by that."""
        if isinstance(result, RequestAborted) and not self.is_open:
            return ApiError(503, "the server stopped before the answer was complete", code="server_stopping")
        return result


def _in_loop(loop: asyncio.AbstractEventLoop, function: Any, *arguments: Any) -> None:
    """Call in the event loop, from another thread. A loop that is closed has nobody who waits."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)


def _retrieved(start: asyncio.Future[None]) -> None:
    """An error of a request whose client is gone, or of a second one of a call, is nobody's to read."""
    if not start.cancelled():
        start.exception()
