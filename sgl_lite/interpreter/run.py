"""What all states of one run of a program share: its backend, its defaults, its deadline, its cancellation."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from runtime.api import GenerateRequest, RequestOutput
from sgl_lite.backends.base import Backend, Conversation, OnFailure, OnOutput, Pending
from sgl_lite.errors import ProgramCancelled, ProgramTimeout
from sgl_lite.settings import SamplingSettings

ADVANCING_THREADS = 4
"""Threads that send the next request of any program after the engine has answered one. Not a thread a program."""


@cache
def advancing() -> ThreadPoolExecutor:
    """The threads that take programs on when nobody waits for them. Started when first needed."""
    return ThreadPoolExecutor(ADVANCING_THREADS, thread_name_prefix="sgl-lite")


class Run:
    """One call of a program.

    stream: whether answers are wanted while they are written.
    num_api_spec_tokens: see `speculation.py`; None: answers are not read ahead.
    in_event_loop: whether the body is `async`, so that its reads must not block.
    task: that of a streaming `async` body, kept from being collected.
    thread: the thread that executes the program's body, None once it is over. Only its reads say something about
            what the program does next.
    """

    def __init__(
        self,
        backend: Backend,
        settings: SamplingSettings,
        program: str = "program",
        timeout: float | None = None,
        stream: bool = False,
        num_api_spec_tokens: int | None = None,
    ) -> None:
        self.stream, self.num_api_spec_tokens = stream, num_api_spec_tokens
        self.backend, self.settings, self.program = backend, settings, program
        self.timeout = timeout
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.thread: int | None = threading.get_ident()
        self.in_event_loop = False
        self.task: Any = None
        self.cancelled = False
        self._lock = threading.Lock()
        self._pending: dict[object, Pending | None] = {}

    def body_begins(self) -> None:
        """The program's body is executed from now on, by this thread: the time begins to count."""
        self.thread = threading.get_ident()
        self.deadline = None if self.timeout is None else time.monotonic() + self.timeout

    def may_settle(self) -> bool:
        """Whether a read in this thread means that the program itself waits."""
        return self.thread is None or self.thread == threading.get_ident()

    def remaining(self) -> float | None:
        """Seconds left, None without a timeout. Errors: `ProgramCancelled`, `ProgramTimeout`."""
        if self.cancelled:
            raise self.cancellation()
        if self.deadline is None:
            return None
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise ProgramTimeout(f"{self.program} did not end within timeout={self.timeout} s")
        return left

    def cancellation(self) -> ProgramCancelled:
        return ProgramCancelled(f"{self.program} was cancelled")

    def stopped_because(self, error: BaseException) -> BaseException:
        """The error of a request, as the program's: a request that was aborted by `cancel` or by the deadline."""
        try:
            self.remaining()
        except (ProgramCancelled, ProgramTimeout) as reason:
            reason.__cause__ = error
            return reason
        return error

    def cancel(self) -> None:
        """Abort what is under way, in all states of the run."""
        with self._lock:
            self.cancelled = True
            pending = [request for request in self._pending.values() if request is not None]
        for request in pending:
            request.abort()

    def send(
        self,
        request: GenerateRequest,
        on_output: OnOutput,
        on_failure: OnFailure,
        conversation: Conversation | None = None,
    ) -> None:
        """Start a request; one of the callbacks gets its end. Errors: what the backend refuses at once."""
        ticket = object()

        def output(answer: RequestOutput) -> None:
            if answer.finished:
                self._forget(ticket)
            on_output(answer)

        def failure(error: BaseException) -> None:
            self._forget(ticket)
            on_failure(error)

        with self._lock:
            self._pending[ticket] = None
        try:
            pending = self.backend.generate(request, output, failure, conversation, self.stream)
        except BaseException:
            self._forget(ticket)
            raise
        with self._lock:
            if ticket in self._pending:
                self._pending[ticket] = pending
        if self.cancelled:
            pending.abort()

    def _forget(self, ticket: object) -> None:
        with self._lock:
            self._pending.pop(ticket, None)
