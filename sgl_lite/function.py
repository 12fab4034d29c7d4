"""`@function`: a Python function as a program, and the ways to run it."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, overload

from runtime.api import GenerateRequest, RequestOutput, SamplingParams
from sgl_lite.backends.base import Backend
from sgl_lite.batch import run_all, run_all_async
from sgl_lite.defaults import backend_of
from sgl_lite.errors import ArgumentError, UnsupportedByBackendError
from sgl_lite.interpreter.interpreter import Interpreter
from sgl_lite.interpreter.run import Run
from sgl_lite.settings import RUN_DEFAULTS, SAMPLING_NAMES, SamplingSettings
from sgl_lite.state import ProgramState
from sgl_lite.tracer import TracerProgramState, constant_beginning, trace

_RUN_NAMES = ("backend", "stream", "timeout", "use_thread", "max_new_tokens")


@overload
def function(func: Callable[..., Any], *, num_api_spec_tokens: int | None = None) -> SglFunction: ...
@overload
def function(
    func: None = None, *, num_api_spec_tokens: int | None = None
) -> Callable[[Callable[..., Any]], SglFunction]: ...
def function(func: Callable[..., Any] | None = None, *, num_api_spec_tokens: int | None = None) -> Any:
    """Make a program of a function whose first parameter is the state: `def profile(s, name): ...`.

    num_api_spec_tokens: completion models of an API draw on past the stop of a gen that may be so long, and the next
        gens are read from that as long as the program writes what the model wrote: fewer calls, the same answers.
        Other gens are asked as ever. Engines need it not; chat models refuse it.
    """
    if func is None:
        return lambda f: SglFunction(f, num_api_spec_tokens=num_api_spec_tokens)
    return SglFunction(func, num_api_spec_tokens=num_api_spec_tokens)


class SglFunction:
    """A program. Calling it runs it."""

    def __init__(
        self, func: Callable[..., Any], num_api_spec_tokens: int | None = None, bound: Mapping[str, Any] | None = None
    ) -> None:
        if num_api_spec_tokens is not None and num_api_spec_tokens < 1:
            raise ArgumentError(f"num_api_spec_tokens={num_api_spec_tokens} must be at least 1")
        self.func, self.num_api_spec_tokens = func, num_api_spec_tokens
        self.bind_arguments: dict[str, Any] = dict(bound or {})
        parameters = list(inspect.signature(func).parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise ArgumentError(
                f"{func.__name__} must take the state as its first parameter: def {func.__name__}(s, ...)"
            )
        self._signature = inspect.Signature(parameters[1:])
        self.arg_names = [p.name for p in parameters[1:]]
        self.arg_defaults = [p.default for p in parameters[1:] if p.default is not p.empty]
        self.__name__, self.__doc__ = func.__name__, func.__doc__
        self.__wrapped__ = func
        self.is_async = inspect.iscoroutinefunction(func)

    def __repr__(self) -> str:
        return f"SglFunction({self.func.__name__}{self._signature})"

    def bind(self, **arguments: Any) -> SglFunction:
        """The same program with some arguments given."""
        for name in arguments:
            if name not in self.arg_names:
                raise ArgumentError(f"{self.func.__name__} has no parameter {name!r}; it has {self.arg_names}")
        return SglFunction(self.func, self.num_api_spec_tokens, {**self.bind_arguments, **arguments})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As `run`; of an `async` function as `run_async`, to be awaited."""
        return self.run_async(*args, **kwargs) if self.is_async else self.run(*args, **kwargs)

    def run(self, *args: Any, **kwargs: Any) -> ProgramState:
        """Run the program once. Returns when its function returns; answers may be on their way still: reads wait.

        Keyword arguments are the program's own parameters, and
          sampling defaults for all its gens (see `SamplingSettings`; `max_new_tokens` is another name of `max_tokens`),
          backend: where to run; None: the default one, or the embedded model,
          stream:  return at once, with the function running in a thread; read with `text_iter`,
          timeout: seconds; then the program ends with `ProgramTimeout`.
        A name that the program has too is the program's.
        Errors: those of the function, and of `s += ...` in it.
        """
        if self.is_async:
            raise ArgumentError(
                f"{self.func.__name__} is async: write `await {self.func.__name__}(...)`, or run_batch([...])"
            )
        arguments, options, settings = self._split(args, kwargs)
        state = self._start(options, settings)
        if options.get("stream"):
            thread = threading.Thread(
                target=self._execute, args=(state, arguments, True), name=self.func.__name__, daemon=True
            )
            state.interpreter.run.thread = -1  # until the thread says which it is
            thread.start()
        else:
            self._execute(state, arguments)
        return state

    async def run_async(self, *args: Any, **kwargs: Any) -> ProgramState:
        """As `run`, awaited: the state comes when all its answers are there. `stream=True`: it comes at once.

        An `async` function runs in this event loop, any other in a thread. Cancelling the task cancels the program.
        """
        arguments, options, settings = self._split(args, kwargs)
        state = self._start(options, settings)
        state.interpreter.run.thread = -1  # until the body says which it is
        if self.is_async:
            body = self._execute_async(state, arguments, keep_errors=bool(options.get("stream")))
        else:
            body = asyncio.to_thread(self._execute, state, arguments, bool(options.get("stream")))
        if options.get("stream"):
            state.interpreter.run.task = asyncio.create_task(body)
            return state
        try:
            await body
        except asyncio.CancelledError:
            state.cancel()
            raise
        return await _settled(state)

    def stream(self, *args: Any, **kwargs: Any) -> ProgramState:
        """As `run(stream=True)`: `for piece in program.stream(...).text_iter(): ...`."""
        return self.run(*args, **{**kwargs, "stream": True})

    def run_batch(
        self,
        batch_kwargs: Sequence[Mapping[str, Any] | Sequence[Any]],
        *,
        backend: Any = None,
        num_threads: int | str = "auto",
        progress_bar: bool = False,
        generator_style: bool = False,
        timeout: float | None = None,
        max_new_tokens: int | None = None,
        **sampling: Any,
    ) -> list[ProgramState] | Iterator[ProgramState]:
        """Run the program for each item, a dict or a tuple of arguments. States come in the order of the items.

        num_threads:     for the programs' Python code; "auto" is as many as useful, at most 48. Waiting for answers
                         takes no thread.
        progress_bar:    show how many are done.
        generator_style: an iterator that gives each state when it and those before it are done.
        timeout:         seconds for each program.
        A failing program does not hurt the others: its error is raised where its state is read.
        """
        if max_new_tokens is not None:
            sampling["max_tokens"] = max_new_tokens
        settings = SamplingSettings.of(sampling).over(RUN_DEFAULTS)
        if isinstance(batch_kwargs, str | Mapping) or not isinstance(batch_kwargs, Iterable):
            raise ArgumentError(f"run_batch takes a list of dicts or tuples of arguments, not {batch_kwargs!r}")
        jobs = [self._bound(*_as_call(item)) for item in batch_kwargs]
        options = {"backend": backend_of(backend) if jobs else None, "timeout": timeout}

        if self.is_async:

            async def start_async(arguments: inspect.BoundArguments) -> ProgramState:
                state = self._start(options, settings)
                await self._execute_async(state, arguments, keep_errors=True)
                return await _settled(state)

            done = asyncio.run(run_all_async(start_async, jobs, progress_bar, self.func.__name__))
            return iter(done) if generator_style else done

        def begin() -> ProgramState:
            state = self._start(options, settings)
            state.interpreter.run.thread = -1  # until the body says which it is
            return state

        def execute(state: ProgramState, arguments: inspect.BoundArguments) -> None:
            self._execute(state, arguments, keep_errors=True)

        states = run_all(begin, execute, jobs, num_threads, progress_bar, self.func.__name__)
        return states if generator_style else list(states)

    def trace(self, *, backend: Any = None, **arguments: Any) -> TracerProgramState:
        """What the program would do, without a model: parameters that are not given are stand-ins.

        backend: whose chat template writes the roles in `constant_prefix()`; None: that ends at the first role.
        Errors: `TraceError` where the program needs the text of a stand-in.
        """
        given = {**self._defaults(), **self.bind_arguments, **arguments}
        return trace(self.func, given, self.arg_names, None if backend is None else backend_of(backend))

    def cache(self, backend: Any = None) -> str:
        """Compute the text with which every run begins, ahead of the first run. Returns that text."""
        target = backend_of(backend)
        prefix, conversation = constant_beginning(self.func, self.bind_arguments, self.arg_names, target)
        if prefix:
            ended: Future[RequestOutput] = Future()
            run = Run(target, RUN_DEFAULTS, self.func.__name__)
            request = GenerateRequest(prompt=prefix, sampling=SamplingParams(max_tokens=0))
            run.send(request, ended.set_result, ended.set_exception, conversation)
            ended.result()
        return prefix

    def _defaults(self) -> dict[str, Any]:
        return {n: p.default for n, p in self._signature.parameters.items() if p.default is not p.empty}

    def _start(self, options: Mapping[str, Any], settings: SamplingSettings) -> ProgramState:
        backend: Backend = backend_of(options.get("backend"))
        ahead = self.num_api_spec_tokens
        if ahead is not None and backend.capabilities.reads_ahead is False:
            raise UnsupportedByBackendError(
                f"{backend.model_name} cannot go on with its own text, so num_api_spec_tokens={ahead} means nothing "
                "to it; leave it out, or use a completion model"
            )
        stream = bool(options.get("stream"))
        run = Run(backend, settings, self.func.__name__, options.get("timeout"), stream, ahead)
        return ProgramState(Interpreter(run))

    def _execute(self, state: ProgramState, arguments: inspect.BoundArguments, keep_errors: bool = False) -> None:
        """Run the function's body in this thread. `keep_errors`: they stop the state instead of being raised here."""
        interpreter = state.interpreter
        interpreter.run.body_begins()
        try:
            state.ret_value = self.func(state, *arguments.args, **arguments.kwargs)
            interpreter.settle()
        except BaseException as error:  # of an interruption too: nobody waits for the answers any more
            interpreter.fail(error)
            interpreter.run.cancel()
            if not keep_errors or not isinstance(error, Exception):
                raise
        finally:
            interpreter.run.thread = None
            interpreter.queue.notify()

    async def _execute_async(
        self, state: ProgramState, arguments: inspect.BoundArguments, keep_errors: bool = False
    ) -> None:
        """As `_execute`, of an `async` body."""
        interpreter = state.interpreter
        interpreter.run.body_begins()
        interpreter.run.in_event_loop = True
        try:
            state.ret_value = await self.func(state, *arguments.args, **arguments.kwargs)
            interpreter.settle()
        except asyncio.CancelledError:
            interpreter.run.cancel()
            raise
        except Exception as error:
            interpreter.fail(error)
            interpreter.run.cancel()
            if not keep_errors:
                raise
        finally:
            interpreter.run.thread = None
            interpreter.queue.notify()

    def _split(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[inspect.BoundArguments, dict[str, Any], SamplingSettings]:
        """The program's arguments, what says how to run it, and how to draw. Errors: `ArgumentError`."""
        own = {k: v for k, v in kwargs.items() if k in self.arg_names or self._takes_any()}
        rest = {k: v for k, v in kwargs.items() if k not in own}
        options = {k: rest.pop(k) for k in _RUN_NAMES if k in rest}
        if "max_new_tokens" in options:
            rest["max_tokens"] = options.pop("max_new_tokens")
        for name in rest:
            if name not in SAMPLING_NAMES:
                names = (*self.arg_names, *_RUN_NAMES, *SAMPLING_NAMES)
                close = get_close_matches(name, names, n=1)
                raise ArgumentError(
                    f"{self.func.__name__} has no parameter {name!r}, nor has run()"
                    + (f"; did you mean {close[0]!r}?" if close else f"; its parameters are {self.arg_names}")
                )
        return self._bound(args, own), options, SamplingSettings.of(rest).over(RUN_DEFAULTS)

    def _takes_any(self) -> bool:
        return any(p.kind is p.VAR_KEYWORD for p in self._signature.parameters.values())

    def _bound(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        """The arguments of one call. Errors: `ArgumentError`."""
        try:
            return self._signature.bind(*args, **{**self.bind_arguments, **kwargs})
        except TypeError as error:
            raise ArgumentError(f"{self.func.__name__}{self._signature}: {error}") from error


async def _settled(state: ProgramState) -> ProgramState:
    """The state when nothing is left to do; what went wrong is raised where it is read."""
    with suppress(Exception):
        await state.wait()
    return state


def _as_call(item: Mapping[str, Any] | Sequence[Any]) -> tuple[Sequence[Any], Mapping[str, Any]]:
    if isinstance(item, Mapping):
        return (), item
    if isinstance(item, list | tuple):
        return item, {}
    raise ArgumentError(f"each item of a batch must be a dict of arguments or a tuple of them, not {item!r}")
