"""Many runs of one program: a bounded pool for their Python code, none for their waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

from sgl_lite.errors import ArgumentError
from sgl_lite.state import ProgramState

MAX_THREADS = 48
MAX_OPEN = 1024
"""Programs under way at a time: enough to fill any engine, few enough to keep memory bounded."""

Job = TypeVar("Job")


class Progress(Protocol):
    """Told of every program that is done."""

    def __call__(self) -> None: ...


def run_all(
    begin: Callable[[], ProgramState],
    execute: Callable[[ProgramState, Job], None],
    jobs: Sequence[Job],
    num_threads: int | str,
    progress_bar: bool,
    title: str,
) -> Iterator[ProgramState]:
    """The jobs' states, in order, each when its program is done. Leaving early cancels all that is under way.

    begin: makes a job's state. execute: runs the program's function on it, and keeps its errors in it.
    """
    threads = _threads(num_threads, len(jobs))
    return _run_all(begin, execute, jobs, threads, progress_bar, title)


def _run_all(
    begin: Callable[[], ProgramState],
    execute: Callable[[ProgramState, Job], None],
    jobs: Sequence[Job],
    threads: int,
    progress_bar: bool,
    title: str,
) -> Iterator[ProgramState]:
    if not jobs:
        return
    begun: list[ProgramState] = []
    results: list[Future[ProgramState]] = [Future() for _ in jobs]
    bar: AbstractContextManager[Progress] = _bar(title, len(jobs)) if progress_bar else nullcontext(lambda: None)
    with bar as advance, ThreadPoolExecutor(threads, thread_name_prefix=f"batch {title}") as pool:

        def run(state: ProgramState, job: Job, result: Future[ProgramState]) -> None:
            try:
                execute(state, job)
            except BaseException as error:  # handed to whoever takes the result
                result.set_exception(error)
                return

            def done() -> None:
                advance()
                result.set_result(state)

            state.interpreter.queue.when_idle(done)

        try:
            for taken, result in enumerate(results):
                while len(begun) < min(len(jobs), taken + MAX_OPEN):
                    index = len(begun)
                    begun.append(begin())
                    pool.submit(run, begun[index], jobs[index], results[index])
                yield result.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for state in begun:
                state.cancel()
            raise


async def run_all_async(
    start: Callable[[Job], Awaitable[ProgramState]], jobs: Sequence[Job], progress_bar: bool, title: str
) -> list[ProgramState]:
    """As `run_all` for `async` programs: all in one event loop, no threads."""
    room = asyncio.Semaphore(MAX_OPEN)
    bar: AbstractContextManager[Progress] = _bar(title, len(jobs)) if progress_bar else nullcontext(lambda: None)
    with bar as advance:

        async def one(job: Job) -> ProgramState:
            async with room:
                state = await start(job)
            advance()
            return state

        return list(await asyncio.gather(*map(one, jobs)))


def _threads(num_threads: int | str, jobs: int) -> int:
    if num_threads == "auto":
        return max(1, min(MAX_THREADS, jobs))
    if not isinstance(num_threads, int) or num_threads < 1:
        raise ArgumentError(f"num_threads={num_threads!r} must be 'auto' or at least 1")
    return num_threads


def _bar(title: str, total: int) -> AbstractContextManager[Progress]:
    from sgl_lite.progress import progress  # brings rich, which `import sgl_lite` goes without

    return progress(title, total)
