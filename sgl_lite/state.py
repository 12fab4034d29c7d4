"""The `s` of a program: what it adds to, reads from, forks and joins. All work is the interpreter's."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grammars.spec import Spec
from sgl_lite.backends.base import Message
from sgl_lite.callsite import call_site
from sgl_lite.constraints import constraint_of
from sgl_lite.defaults import backend_of
from sgl_lite.errors import ArgumentError, SpanError
from sgl_lite.fork import ProgramStateGroup
from sgl_lite.interpreter.interpreter import Interpreter
from sgl_lite.interpreter.saved import load, save
from sgl_lite.interpreter.stream import TextStream
from sgl_lite.nodes import (
    ConstrainBegin,
    ConstrainEnd,
    Fork,
    Parts,
    RoleBegin,
    RoleEnd,
    VarBegin,
    VarEnd,
    flatten,
)


class ProgramState:
    """One state of a running program.

    Adding never waits for the model; reading waits for what is read. ret_value: what the program's function returned.
    """

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.ret_value: Any = None

    # ------------------------------------------------------------------ adding

    def __iadd__(self, value: Any) -> ProgramState:
        """Add text, a node, or a list of these."""
        self.interpreter.add(value, call_site())
        return self

    @contextmanager
    def constrain(
        self,
        *,
        json_schema: Any = None,
        regex: str | None = None,
        format: str | None = None,
        grammar: str | Spec | None = None,
        choices: Sequence[str] | None = None,
        type: Any = None,
        name: str | None = None,
    ) -> Iterator[None]:
        """All that is added inside is one text that satisfies the constraint: literals and gens together.

        A literal that cannot conform is a `ConformError` at its line. `name`: a variable for the whole text, which
        `parsed(name)` reads. If the literal just before the block opens a JSON value (`s += "{"`), the block continues
        it, and what follows the block closes it. See `spans.py` for how gens in the block end.
        """
        constraint = constraint_of(
            json_schema=json_schema, regex=regex, format=format, grammar=grammar, choices=choices, type=type
        )
        if constraint is None:
            raise ArgumentError("constrain needs one of json_schema=, regex=, format=, grammar=, choices=, type=")
        where, interpreter = call_site(), self.interpreter
        if interpreter.inside_span:
            raise SpanError("a constrain block cannot be opened inside another one, which is one text")
        if name is not None:
            interpreter.add(VarBegin(name), where)
        interpreter.add(ConstrainBegin(constraint), where)
        try:
            yield
        except BaseException:
            interpreter.abandon_span()
            raise
        interpreter.add(ConstrainEnd(), where)
        if name is not None:
            interpreter.add(VarEnd(name), where)
            interpreter.cells[name].parse = constraint.parse

    @contextmanager
    def var_scope(self, name: str) -> Iterator[None]:
        """The text added inside becomes variable `name`."""
        where = call_site()
        self.interpreter.add(VarBegin(name), where)
        yield
        self.interpreter.add(VarEnd(name), where)

    def system(self, content: Any = None) -> Any:
        """A system message: `s.system("...")`, or `with s.system(): ...`."""
        return self._role("system", content)

    def user(self, content: Any = None) -> Any:
        """A message of the user: `s.user("...")`, or `with s.user(): ...`."""
        return self._role("user", content)

    def assistant(self, content: Any = None) -> Any:
        """A message of the model: `s.assistant(gen("x"))`, or `with s.assistant(): ...`."""
        return self._role("assistant", content)

    def _role(self, role: str, content: Any) -> Any:
        where = call_site()
        if content is None:
            return self._role_scope(role, where)
        self.interpreter.add([RoleBegin(role), *flatten(content), RoleEnd(role)], where)
        return Parts()  # so that `s += s.user(...)` adds nothing twice

    @contextmanager
    def _role_scope(self, role: str, where: str) -> Iterator[None]:
        self.interpreter.add(RoleBegin(role), where)
        yield
        self.interpreter.add(RoleEnd(role), where)

    # ------------------------------------------------------------------ reading

    def __getitem__(self, name: str) -> Any:
        return self.get_var(name)

    def get_var(self, name: str) -> Any:
        """The variable, once it is there. Errors: `UnknownVariableError`, those of the program."""
        return self.interpreter.read(name).value

    def __setitem__(self, name: str, value: Any) -> None:
        self.set_var(name, value)

    def set_var(self, name: str, value: Any) -> None:
        """Assign a variable."""
        if not isinstance(name, str):
            raise ArgumentError(f"the name of a variable must be a str, not {name!r}")
        self.interpreter.set(name, value)

    def __contains__(self, name: object) -> bool:
        """Whether the program makes this variable (so far). Does not wait for its value."""
        return name in self.interpreter.cells

    def parsed(self, name: str) -> Any:
        """The variable as what its constraint says: a model object for a type, a dict or list for JSON, an int for
        `dtype=int`.
        """
        return self.interpreter.read(name).parsed()

    def get_meta_info(self, name: str, timeout: float | None = None) -> dict[str, Any] | None:
        """Token counts, finish reason, times, log-probabilities of a variable's answer; None if no model wrote it."""
        return self.interpreter.read(name, timeout).meta

    def text(self) -> str:
        """All text, once everything that was added is there."""
        self.interpreter.sync()
        return self.interpreter.writer.visible_text()

    def messages(self) -> list[Message]:
        """The messages of a chat, in OpenAI's form."""
        self.interpreter.sync()
        return self.interpreter.writer.messages()

    def sync(self) -> ProgramState:
        """Wait for everything that was added."""
        self.interpreter.sync()
        return self

    def error(self) -> BaseException | None:
        """Why the program stopped, or None. Waits until it did, or is done; never raises the error."""
        interpreter = self.interpreter
        try:
            interpreter.settle()
            interpreter.queue.wait_for(lambda: interpreter.queue.idle and interpreter.run.may_settle())
        except Exception as error:
            if error is not interpreter.queue.error:
                raise
        return interpreter.queue.error

    async def read(self, name: str) -> Any:
        """As `s[name]`, awaited: other programs of the event loop go on. Cancelling the task cancels the run."""
        try:
            return (await self.interpreter.read_async(name)).value
        except asyncio.CancelledError:
            self.cancel()
            raise

    async def wait(self) -> ProgramState:
        """As `sync`, awaited. Errors of the program are raised by what is read then."""
        interpreter = self.interpreter
        interpreter.settle()
        try:
            await interpreter.queue.wait_async(lambda: interpreter.queue.idle)
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self

    def cancel(self) -> None:
        """End the run of this state, forks included; its reads then raise `ProgramCancelled`."""
        self.interpreter.run.cancel()

    def save(self) -> dict[str, Any]:
        """The state as JSON data: text, messages, variables and meta info. Waits. Errors: `ArgumentError` for a
        variable that has no JSON form."""
        self.interpreter.sync()
        return save(self.interpreter)

    @classmethod
    def load(cls, saved: Mapping[str, Any], *, backend: Any = None) -> ProgramState:
        """A state that goes on from what `save` gave."""
        return cls(load(saved, backend_of(backend)))

    # ------------------------------------------------------------------ streaming

    def text_iter(self, var_name: str | None = None) -> Iterator[str]:
        """New text as it comes: all of it, or that of one variable. The pieces join to the final text."""
        stream = TextStream(self.interpreter, var_name)
        while not stream.ended:
            self.interpreter.queue.wait_for(stream.more)
            while piece := stream.take():
                yield piece

    async def text_async_iter(self, var_name: str | None = None, return_meta_data: bool = False) -> AsyncIterator[Any]:
        """As `text_iter`, without blocking the event loop. `return_meta_data`: yields (piece, meta info), with a
        variable.
        """
        if return_meta_data and var_name is None:
            raise ArgumentError("return_meta_data needs var_name: only a variable has meta info")
        stream = TextStream(self.interpreter, var_name)
        while not stream.ended:
            await self.interpreter.queue.wait_async(stream.more)
            while piece := stream.take():
                meta = self.interpreter.cells[var_name].meta or {} if return_meta_data and var_name else None
                yield piece if meta is None else (piece, meta)

    # ------------------------------------------------------------------ forks

    def fork(self, size: int = 1, position_ids_offset: list[int] | None = None) -> ProgramStateGroup:
        """`size` states that go on from here, each by itself, sharing all that was computed. Does not wait.

        position_ids_offset is SGLang's and has no meaning here: any but None is an error.
        """
        if size < 1:
            raise ArgumentError(f"fork size={size} must be at least 1")
        if position_ids_offset is not None:
            raise ArgumentError("position_ids_offset cannot be honoured: positions follow the text; leave it out")
        parent = self.interpreter
        if parent.inside_span:
            raise SpanError("a state cannot fork inside a constrain block, which is one text; close the block before")
        children = tuple(Interpreter(parent.run, parent) for _ in range(size))
        parent.add(Fork(children), call_site())
        return ProgramStateGroup([ProgramState(child) for child in children], self)

    @contextmanager
    def copy(self, position_ids_offset: list[int] | None = None) -> Iterator[ProgramState]:
        """A fork of one, joined at the end: its variables come back as lists of one."""
        group = self.fork(1, position_ids_offset)
        yield group[0]
        group.join()

    def show(self) -> None:
        """Print the run in a terminal, forks included: who wrote what, and what each answer cost. Waits."""
        from sgl_lite.display.picture import picture_of  # most programs draw nothing
        from sgl_lite.display.show import show  # brings rich, which `import sgl_lite` goes without

        self.error()  # a run that failed is drawn as far as it came
        show(picture_of(self.interpreter, self.interpreter.run.program))

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """The run as one self-contained page, which is returned, and written to `path` if given. Waits.

        Run the program with `return_logprob=True, top_logprobs_num=5` to see every token's probability.
        """
        from sgl_lite.display.html_page import page_of  # most programs draw nothing

        self.error()  # a run that failed is drawn as far as it came
        page = page_of(self.interpreter)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def __repr__(self) -> str:
        return f"ProgramState({self.interpreter.writer.visible_text()!r})"
