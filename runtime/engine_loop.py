"""The loop that serves requests, in a thread of its own.

In: active requests. Out: their outputs. Knows no configuration.

Everything that changes requests, pages or the model happens in this thread, between two steps; other threads only leave
commands. A request that fails ends alone. If the loop itself fails, every request gets the cause.
"""

from __future__ import annotations

import heapq
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from runtime.active_request import ActiveRequest
from runtime.completion import Completion
from runtime.constraint.grammar_runner import GrammarRunner
from runtime.errors import EngineStopped, PromptTooLongError, RequestAborted, RequestError
from runtime.failed_images import FailedImages
from runtime.metrics import Metrics
from runtime.request import Request
from runtime.scheduler.batch import SampledTokens, ScheduledBatch, ScheduledRequest
from runtime.scheduler.scheduler import Progress, Scheduler

T = TypeVar("T")
LOG = logging.getLogger("sgl_lite.engine")


class Runner(Protocol):
    def forward(self, batch: ScheduledBatch, drawn: Any = None, /) -> Any:
        """Starts or does the step; its logits, for the sampler. drawn: see `ModelRunner`; with `overlap` only."""
        ...


class DrawnTokens(Protocol):
    """See `runtime.execution.sampler.Drawn`."""

    @property
    def token_ids(self) -> Any: ...

    def read(self) -> SampledTokens: ...


class TokenSampler(Protocol):
    def draw(self, logits: Any, batch: ScheduledBatch, masks: NDArray[np.int32] | None, /) -> DrawnTokens: ...


class EngineLoop:
    """Runs from `start` to `stop`. `submit`, `abort` and `call` may be used from any thread.

    images: of a model that sees: what became of the images of a step.
    overlap: start steps ahead, before the tokens that they compute have been read.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        runner: Runner,
        sampler: TokenSampler,
        grammars: GrammarRunner,
        metrics: Metrics,
        images: FailedImages | None = None,
        overlap: bool = False,
    ) -> None:
        self.scheduler = scheduler
        self.metrics = metrics
        self._runner = runner
        self._sampler = sampler
        self._grammars = grammars
        self._images = images
        self._overlap = overlap
        self._ahead: Any = None
        """Logits of the step that was started ahead last."""
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._active: dict[str, ActiveRequest] = {}
        self._owners: dict[str, tuple[ActiveRequest, Completion]] = {}
        self._deadlines: list[tuple[float, str]] = []
        """Heap of (moment, request id); entries of requests that have ended stay until there are many."""
        self._stopping = False
        self._gate = threading.Lock()
        self._closed: EngineStopped | None = None
        self._thread = threading.Thread(target=self._run, name="sgl-lite-engine", daemon=True)

    # The loop

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._receive()
                if not self._stopping:
                    self.step()
            self._close(EngineStopped("the engine was shut down"), None)
        except BaseException as error:
            self._close(EngineStopped(f"the engine's loop died: {error!r}"), error)

    def step(self) -> bool:
        """Schedule, compute, draw, and hand out. False if there was nothing to do.

        With overlap the device computes the next step while this one's tokens are read and handed out.
        """
        started = time.monotonic()
        batch = self.scheduler.schedule()
        if batch is None:
            return False
        scheduled = time.monotonic()
        logits = self._runner.forward(batch) if batch.rows is None else self._ahead
        forwarded = time.monotonic()
        masks, failures = self._fill_masks(batch)
        filled = time.monotonic()
        tokens = self._sampler.draw(logits, batch, masks)
        if self._overlap and not any(self._owner_of(share).jumps for share in batch.requests):
            self._start_ahead(tokens)
        sampled = tokens.read()
        drawn = time.monotonic()
        steps = self.scheduler.commit(sampled)
        if self._images is not None and self._images.look():
            steps = self._drop_failed(self._images, steps)
        self._deliver(steps, failures, started)
        self._count_step(batch, (started, scheduled, forwarded, filled, drawn, time.monotonic()))
        return True

    def _receive(self) -> None:
        """Do what other threads asked for; wait for it when there is nothing to compute."""
        if not self.scheduler.has_work:
            self._commands.get()()
        while not self._commands.empty():
            self._commands.get_nowait()()
        now = time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, request_id = heapq.heappop(self._deadlines)
            if request_id in self._active:
                self._expire(self._active[request_id])

    def _expire(self, active: ActiveRequest) -> None:
        request = active.request
        timeout = request.generate.timeout
        self._end(active, RequestAborted(f"request {request.request_id} was not done after its timeout of {timeout} s"))

    def _remember_deadline(self, moment: float, request_id: str) -> None:
        if len(self._deadlines) > 2 * len(self._active) + 1000:
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self._active]
            heapq.heapify(self._deadlines)
        heapq.heappush(self._deadlines, (moment, request_id))

    def _owner_of(self, share: ScheduledRequest) -> Completion:
        return self._owners[share.request_id][1]

    def _start_ahead(self, tokens: DrawnTokens) -> None:
        """Start the next step, if it is known which that is."""
        batch = self.scheduler.schedule_ahead()
        if batch is not None:
            self._ahead = self._runner.forward(batch, tokens.token_ids)

    def _fill_masks(self, batch: ScheduledBatch) -> tuple[NDArray[np.int32] | None, dict[str, Exception]]:
        """Masks of the rows that are drawn from, and why some could not be made."""
        drawn = [self._owner_of(share) for share in batch.requests if share.samples]
        masks, failures = self._grammars.fill_masks([completion.constraint for completion in drawn])
        return masks, {drawn[row].branch.branch_id: error for row, error in failures.items()}

    def _drop_failed(self, images: FailedImages, steps: list[Progress]) -> list[Progress]:
        """End the requests whose images could not be encoded; the others' part of the step."""
        for active in list(self._active.values()):
            error = images.error_of(active.completions[0].branch)
            if error is not None:
                self._end(active, error)
        return [progress for progress in steps if not progress.branch.finished]

    def _deliver(self, steps: list[Progress], failures: dict[str, Exception], started: float) -> None:
        """Give every request what the step brought it."""
        now = time.monotonic()
        touched: dict[str, ActiveRequest] = {}
        for progress in steps:
            branch = progress.branch
            active, completion = self._owners[branch.branch_id]
            touched[active.request.request_id] = active
            active.scheduled = active.scheduled or started
            try:
                if branch.branch_id in failures:
                    raise failures[branch.branch_id]
                if progress.scored:
                    completion.score(progress.scored, progress.first_scored)
                if progress.token_id is not None:
                    self._observe_token(active, now)
                    completion.take(progress.token_id, progress.logprob)
            except Exception as error:
                completion.fail(error)
            if completion.is_done:
                self._retire(completion)
        for active in touched.values():
            self._publish(active)

    def _publish(self, active: ActiveRequest) -> None:
        """Tell the caller how far its request is."""
        if active.error is not None or active.is_done:
            self._end(active, active.error)
        elif active.request.wants_outputs and active.request.generate.sampling.best_of is None:
            try:
                active.request.put(active.output(finished=False))
            except Exception as error:
                self._end(active, error)

    def _end(self, active: ActiveRequest, error: BaseException | None) -> None:
        """Free all that a request holds, and give its caller the last output or the error."""
        if self._active.pop(active.request.request_id, None) is None:
            return
        for completion in active.completions:
            completion.abort()
            self._retire(completion)
        output = active.output(finished=True)
        if isinstance(error, RequestAborted):
            error.output = output
        self._count_request(active, error)
        for raised in active.request.end(output, error):
            LOG.error("a callback of request %s failed", active.request.request_id, exc_info=raised)

    def _retire(self, completion: Completion) -> None:
        if not completion.branch.finished:
            self.scheduler.finish(completion.branch)
            del self._owners[completion.branch.branch_id]

    def _close(self, stopped: EngineStopped, cause: BaseException | None) -> None:
        """Refuse what comes, end what is there."""
        stopped.__cause__ = cause
        with self._gate:
            self._closed = stopped
        while not self._commands.empty():
            self._commands.get_nowait()()
        for active in list(self._active.values()):
            self._active.pop(active.request.request_id)
            active.request.end(None, stopped)
        self._owners.clear()
        self._deadlines.clear()

    @property
    def largest_need(self) -> int:
        """Tokens that the longest of the running requests may come to."""
        return max((active.need for active in self._active.values()), default=0)

    # From other threads

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End all requests with EngineStopped; returns when the thread has ended."""

        def leave() -> None:
            self._stopping = True

        self._commands.put(leave)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def submit(self, active: ActiveRequest) -> None:
        """EngineStopped if the loop no longer runs."""
        self._post(lambda: self._accept(active))

    def abort(self, request: Request) -> None:
        """Without effect if it is done, or the loop no longer runs."""

        def end() -> None:
            if request.request_id in self._active:
                self._end(self._active[request.request_id], None)

        self._commands.put(end)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function between two steps and return its result. Callbacks, which run there, get it at once."""
        if threading.current_thread() is self._thread:
            return function()
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self._post(run)
        return future.result()

    def _post(self, command: Callable[[], None]) -> None:
        with self._gate:
            if self._closed is not None:
                raise EngineStopped(str(self._closed)) from self._closed.__cause__
            self._commands.put(command)

    def _accept(self, active: ActiveRequest) -> None:
        if self._closed is not None:
            active.request.end(None, self._closed)
            return
        if active.request.request_id in self._active:
            active.request.end(None, RequestError(f"request_id={active.request.request_id!r} is running already"))
            return
        capacity = self.scheduler.cache.capacity
        if active.need > capacity:
            active.request.end(None, PromptTooLongError(f"{active.need} tokens no longer fit the pool's {capacity}"))
            return
        error = self._images.error_of(active.completions[0].branch) if self._images is not None else None
        if error is not None:
            active.request.end(None, error)
            return
        self.metrics.requests += 1
        self._active[active.request.request_id] = active
        if active.deadline is not None:
            self._remember_deadline(active.deadline, active.request.request_id)
        for completion in active.completions:
            if not completion.is_done:
                self._owners[completion.branch.branch_id] = (active, completion)
                self.scheduler.add(completion.branch)
            else:
                completion.branch.finished = True
        if active.is_done:
            self._end(active, None)

    # Counting

    def _observe_token(self, active: ActiveRequest, now: float) -> None:
        if active.first_token is None:
            active.first_token = now
            self.metrics.first_token_seconds.observe(now - active.submitted)

    def _count_step(self, batch: ScheduledBatch, moments: tuple[float, ...]) -> None:
        metrics = self.metrics
        started, scheduled, forwarded, filled, drawn, delivered = moments
        metrics.steps += 1
        metrics.computed_tokens += batch.num_tokens
        metrics.schedule_seconds.observe(scheduled - started)
        metrics.forward_seconds.observe(forwarded - scheduled)
        metrics.mask_seconds.observe(filled - forwarded)
        metrics.sample_seconds.observe(drawn - filled)
        metrics.deliver_seconds.observe(delivered - drawn)
        metrics.step_seconds.observe(delivered - started)
        if batch.num_samples:
            metrics.inter_token_seconds.observe(delivered - started, batch.num_samples)

    def _count_request(self, active: ActiveRequest, error: BaseException | None) -> None:
        metrics, usage, timing = self.metrics, active.usage(), active.timing()
        metrics.prompt_tokens += usage.prompt_tokens
        metrics.cached_tokens += usage.cached_tokens
        metrics.completion_tokens += usage.completion_tokens
        metrics.forced_tokens += usage.forced_tokens
        metrics.queue_seconds.observe(timing.queued)
        metrics.request_seconds.observe(timing.total)
        if error is not None and not isinstance(error, RequestAborted):
            metrics.requests_failed += 1
        elif any(completion.finish_reason == "abort" for completion in active.completions):
            metrics.requests_aborted += 1
        else:
            metrics.requests_finished += 1
