"""What `Engine.submit` returns: a request as its caller sees it, safe to use from any thread.

In: outputs, from the loop's thread. Out: the same outputs, to whoever waits, iterates or was to be called.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator

from runtime.api import GenerateRequest, RequestOutput
from runtime.errors import RequestAborted

OnOutput = Callable[[RequestOutput], None]


class Request:
    """Ends exactly once: with a finished output, or with an error that every way of reading raises.

    The callbacks run in the loop's thread, so they must be quick and must not wait for the engine.
    """

    def __init__(
        self, request_id: str, generate: GenerateRequest, abort: Callable[[Request], None], on_output: OnOutput | None
    ) -> None:
        self.request_id = request_id
        self.generate = generate
        self._abort = abort
        self._listeners: list[OnOutput] = [on_output] if on_output else []
        self._changed = threading.Condition(threading.Lock())
        self._latest: RequestOutput | None = None
        self._num_outputs = 0
        self._error: BaseException | None = None
        self._done = False
        self._num_readers = 0
        self._callbacks: list[Callable[[Request], None]] = []

    @property
    def done(self) -> bool:
        return self._done

    @property
    def error(self) -> BaseException | None:
        """What `result` would raise; None while it runs and when it went well."""
        return self._error

    @property
    def latest(self) -> RequestOutput | None:
        """The newest output that was made for a reader or a callback; the finished one once it is done."""
        return self._latest

    def result(self, timeout: float | None = None) -> RequestOutput:
        """Wait for the end. Raises RequestAborted or what went wrong; TimeoutError leaves the request running."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._done, timeout):
                raise TimeoutError(f"request {self.request_id} is not done after {timeout} s; it goes on")
        return self._finished()

    def outputs(self) -> Iterator[RequestOutput]:
        """Outputs as they come, the last one finished. Each holds all there is: a slow reader sees fewer of them."""
        with self._changed:
            self._num_readers += 1
        seen = 0
        try:
            while True:
                with self._changed:
                    while not self._done and self._num_outputs == seen:
                        self._changed.wait()
                    seen, output, done = self._num_outputs, self._latest, self._done
                if done:
                    yield self._finished()
                    return
                assert output is not None
                yield output
        finally:
            with self._changed:
                self._num_readers -= 1

    async def __aiter__(self) -> AsyncIterator[RequestOutput]:
        """As `outputs`, for `async for`. Leaving the loop early does not abort."""
        woken = asyncio.Event()
        wake = _waker(asyncio.get_running_loop(), woken)
        self._listeners.append(wake)
        self.add_done_callback(wake)
        seen = 0
        try:
            while not self._done:
                await woken.wait()
                woken.clear()
                with self._changed:
                    fresh, seen, output = self._num_outputs > seen, self._num_outputs, self._latest
                if fresh and not self._done and output is not None:
                    yield output
            yield self._finished()
        finally:
            self._listeners.remove(wake)

    async def completed(self) -> RequestOutput:
        """As `result`, for `await`."""
        ended = asyncio.Event()
        self.add_done_callback(_waker(asyncio.get_running_loop(), ended))
        await ended.wait()
        return self._finished()

    def abort(self) -> None:
        """End it soon, wherever it is; without effect once it is done."""
        if not self._done:
            self._abort(self)

    def add_done_callback(self, callback: Callable[[Request], None]) -> None:
        """Call once when it is done; at once, in this thread, if it is already."""
        with self._changed:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def _finished(self) -> RequestOutput:
        if self._error is not None:
            raise self._error
        assert self._latest is not None
        return self._latest

    # For the loop's thread:

    @property
    def wants_outputs(self) -> bool:
        """Whether somebody reads before the end."""
        return bool(self._listeners) or self._num_readers > 0

    def put(self, output: RequestOutput) -> None:
        """A new output that is not the last."""
        with self._changed:
            self._latest = output
            self._num_outputs += 1
            self._changed.notify_all()
        for listener in self._listeners.copy():
            listener(output)

    def end(self, output: RequestOutput | None, error: BaseException | None = None) -> list[BaseException]:
        """The last output, or the error. Returns what callbacks raised; the request is done all the same."""
        if error is None and output is not None and any(one.finish_reason == "abort" for one in output.outputs):
            error = RequestAborted(f"request {self.request_id} was aborted", output)
        with self._changed:
            self._latest, self._error, self._done = output or self._latest, error, True
            self._abort = _nothing_to_abort  # a request that is kept does not keep its engine
            self._num_outputs += 1
            callbacks, self._callbacks = self._callbacks, []
            self._changed.notify_all()
        raised: list[BaseException] = []
        for listener in self._listeners.copy() if output is not None else ():
            _call(listener, output, raised)
        for callback in callbacks:
            _call(callback, self, raised)
        return raised


def _nothing_to_abort(request: Request) -> None:
    return None


def _waker(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> Callable[[object], None]:
    """Sets the event from another thread."""

    def wake(_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop is closed: nobody waits
            loop.call_soon_threadsafe(event.set)

    return wake


def _call(callback: Callable[..., None], argument: object, raised: list[BaseException]) -> None:
    try:
        callback(argument)
    except Exception as error:
        raised.append(error)
