"""What all states of one run of a program share: its backend, its defaults, its deadline, its cancellation."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from runtime.api import GenerateRequest, RequestOutput
from sgl_lite.backends.base import Backend, Conversation, OnFailure, OnOutput, Pending
from sgl_lite.errors import ArgumentError, ProgramCancelled, ProgramTimeout
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
        if timeout is not None and not isinstance(timeout, int | float):
            raise ArgumentError(f"timeout={timeout!r} must be a number of seconds")
        self.timeout = timeout
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.thread: int | None = threading.get_ident()
        self.in_event_loop = False
        self.task: Any = None
        self.cancelled = False
        self._under_way: set[_Sent] = set()

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
        self.cancelled = True
        for sent in self._under_way.copy():
            if sent.pending is not None:  # else `send` sees that the run was cancelled
                sent.pending.abort()

    def send(
        self,
        request: GenerateRequest,
        on_output: OnOutput,
        on_failure: OnFailure,
        conversation: Conversation | None = None,
    ) -> None:
        """Start a request; one of the callbacks gets its end. Errors: what the backend refuses at once."""
        sent = _Sent(self._under_way, on_output, on_failure)
        self._under_way.add(sent)
        try:
            sent.pending = self.backend.generate(request, sent.output, sent.failure, conversation, self.stream)
        except BaseException:
            self._under_way.discard(sent)
            raise
        if self.cancelled:
            sent.pending.abort()


class _Sent:
    """A request of a run, in the set of those `under_way` until it ends. pending: once the backend has taken it.

    Needs no lock: sets change in one step, and whichever of `send` and `cancel` comes later aborts the request.
    """

    __slots__ = ("_on_failure", "_on_output", "_under_way", "pending")

    def __init__(self, under_way: set[_Sent], on_output: OnOutput, on_failure: OnFailure) -> None:
        self._under_way, self._on_output, self._on_failure = under_way, on_output, on_failure
        self.pending: Pending | None = None

    def output(self, answer: RequestOutput) -> None:
        if answer.finished:
            self._under_way.discard(self)
        self._on_output(answer)

    def failure(self, error: BaseException) -> None:
        self._under_way.discard(self)
        self._on_failure(error)
