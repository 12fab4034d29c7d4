"""Carries out the nodes of one state, one after the other: one method a node.

Event driven: a node that asks the model sends its request and returns; the engine's answer takes the state on. Nodes
that need no model are carried out where they are added, in the program's thread. No thread belongs to a state, so
thousands can be under way. All waiting is done by whoever reads.

Errors stop the state. They are raised by the `+=` that caused them where that is known at once, else by the next read.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from grammars.errors import ConformError, GrammarError
from grammars.spec import UpTo
from runtime.api import GenerateRequest
from sgl_lite.answer import Answer
from sgl_lite.backends.base import Message
from sgl_lite.changes import Changes
from sgl_lite.chat import ChatLog
from sgl_lite.constraints import Constraint
from sgl_lite.errors import BlockingReadError, SpanError, UnknownVariableError
from sgl_lite.nodes import (
    ConstrainBegin,
    Fork,
    Gen,
    Node,
    RoleBegin,
    RoleEnd,
    Select,
    SpanBegin,
    SpanEnd,
    SpanGen,
    SpanSelect,
    SpanText,
    Text,
    VarBegin,
    VarEnd,
    flatten,
)
from sgl_lite.run import Run, advancing
from sgl_lite.selection import Selection
from sgl_lite.spans import Placed, SpanPlanner
from sgl_lite.variables import Cell


class Segment(NamedTuple):
    """A piece of a state's text: the program's, or (with `meta`) the model's, in variable `name`."""

    text: str
    name: str | None = None
    meta: Mapping[str, Any] | None = None


class Span:
    """The open constrained text. text: all of it so far, with its opener."""

    __slots__ = ("constraint", "gens", "text")

    def __init__(self, constraint: Constraint, text: str) -> None:
        self.constraint, self.text, self.gens = constraint, text, 0


class Interpreter:
    """One state of one run.

    text:  all text so far; only whole nodes are in it. Its first `seeded` characters are the parent's.
    cells: the variables by name, declared in program order. segments: who wrote what, in order.
    error: why the state stopped, None while it goes on.
    """

    def __init__(self, run: Run, parent: Interpreter | None = None) -> None:
        self.run = run
        self.changes = Changes()
        self.text = ""
        self.seeded = 0
        self.segments: list[Segment] = []
        self.chat = ChatLog(run.backend.chat_template)
        self.cells: dict[str, Cell] = dict(parent.cells) if parent else {}
        self.error: BaseException | None = None
        self._traceback: Any = None
        self._broken = False
        self._planner = SpanPlanner(self._conforms)
        self._queue: deque[Placed] = deque()
        self._coming: deque[Cell] = deque()
        self._writing: Cell | None = None
        self._span: Span | None = None
        self._scopes: list[tuple[Cell, int]] = []
        self._scope_cells: deque[Cell] = deque()
        self._when_idle: list[Callable[[], None]] = []
        self._busy = parent is not None  # a child waits for its parent's text

    # ------------------------------------------------------------------ the program adds

    def add(self, value: Any, where: str) -> None:
        """Take in text, a node or a list. Errors: `AppendError`, `SpanError`, and whatever stopped the state."""
        nodes = flatten(value)
        self.raise_error()
        for node in nodes:
            if isinstance(node, Gen | ConstrainBegin) and node.constraint is not None:
                self._check(node.constraint, where, node)
            placed = self._planner.add(node, where)
            self._declare(node)
            self._enqueue(placed)
        self.raise_error()

    def set(self, name: str, value: Any) -> None:
        """Assign a variable; there is nothing to wait for."""
        cell = Cell(name, self)
        cell.fill(value)
        self.cells[name] = cell

    def restore(self, text: str, messages: list[Message]) -> None:
        """Begin with what was saved."""
        self.text = text
        if messages:
            self.chat.resume(messages, text)

    def settle(self, name: str | None = None) -> None:
        """The program's own thread is about to wait: send out what was held back."""
        if self.run.may_settle():
            self._enqueue(self._planner.settle(name))

    def abandon_span(self) -> None:
        """A constrain block was left by an exception: the gen that was held back is never sent."""
        if self._planner.abandon():
            cell = self._coming.pop()
            cell.error = SpanError(f"the constrain block was left by an exception before {cell.name!r} was asked for")
            cell.ready = True
        self._span = None

    @property
    def inside_span(self) -> bool:
        return self._planner.inside

    def _declare(self, node: Node) -> None:
        if isinstance(node, Gen | Select):
            cell = Cell(node.name, self, node.constraint.parse if isinstance(node, Gen) and node.constraint else None)
            self._coming.append(cell)
        elif isinstance(node, VarBegin):
            cell = Cell(node.name, self)
            self._scope_cells.append(cell)
        else:
            return
        if node.name is not None:
            self.cells[node.name] = cell
        if isinstance(node, Gen) and node.reasoning is not None:
            thinking = Cell(f"{node.name}_reasoning_content", self)
            self._coming.append(thinking)
            self.cells[f"{node.name}_reasoning_content"] = thinking

    def _check(self, constraint: Constraint, where: str, node: Node) -> None:
        try:
            self.run.backend.check_constraint(constraint.spec)
        except GrammarError as error:
            error.add_note(f"in {where}: {node.label()}")
            raise

    # ------------------------------------------------------------------ someone reads

    def cell(self, name: str) -> Cell:
        """A variable by name. A reader in another thread waits until the program declares it.

        Errors: `UnknownVariableError`.
        """
        if name not in self.cells and not self.run.may_settle():
            self.wait_for(lambda: name in self.cells or self.run.thread is None)
        if name not in self.cells:
            self.raise_error()
            raise UnknownVariableError(name, self.cells)
        return self.cells[name]

    def read(self, name: str, timeout: float | None = None) -> Cell:
        """A variable, once it is there. Errors: those of the program."""
        cell = self.cell(name)
        if not cell.ready:
            self._refuse_to_block(f"await s.read({name!r})")
        if cell.owner is self:
            self.settle(name)
        cell.get(timeout)
        if self._broken:
            self.raise_error()
        return cell

    def sync(self) -> None:
        """Wait for all that was added. Errors: those of the program."""
        if not self.idle or self._planner.inside:
            self._refuse_to_block("await s.wait()")
        self.settle()
        self.wait_for(lambda: self.idle and self.run.may_settle())  # another thread's program may add more yet
        self.raise_error()

    def _refuse_to_block(self, way_out: str) -> None:
        if self.run.in_event_loop and self.run.thread == threading.get_ident():
            raise BlockingReadError(f"an async program must not block its event loop; write {way_out}")

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return self.error is not None or not (self._busy or self._queue)

    def wait_for(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Until `ready()`, or False after `timeout` seconds. Errors: those of a program that stopped before."""
        in_time = self.changes.wait(lambda: ready() or self.error is not None, timeout)
        if in_time and not ready():
            self.raise_error()
        return in_time

    async def wait_async(self, ready: Callable[[], bool]) -> None:
        """As `wait_for`, without blocking the event loop."""
        await self.changes.wait_async(lambda: ready() or self.error is not None)
        if not ready():
            self.raise_error()

    async def read_async(self, name: str) -> Cell:
        """As `read`, without blocking the event loop."""
        if name not in self.cells and not self.run.may_settle():
            await self.wait_async(lambda: name in self.cells or self.run.thread is None)
        cell = self.cell(name)
        if not cell.ready:
            if cell.owner is self:
                self.settle(name)
            await cell.owner.wait_async(lambda: cell.ready)
        return self.read(name)

    def raise_error(self) -> None:
        """Raise what stopped the state, if it stopped."""
        if self.error is not None:
            raise self.error.with_traceback(self._traceback)

    def visible_text(self) -> str:
        """All text, with the answer that is being written."""
        with self.changes.lock:
            return self.text + (self._writing.partial if self._writing is not None else "")

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call once, from any thread, when nothing is left to do; at once if that is so already."""
        with self.changes.lock:
            if not self.idle:
                self._when_idle.append(call)
                return
        call()

    def notify(self) -> None:
        """Tell all who wait that something changed."""
        with self.changes.lock:
            waiting: list[Callable[[], None]] = []
            if self.idle:
                waiting, self._when_idle = self._when_idle, waiting
        self.changes.notify(waiting)

    # ------------------------------------------------------------------ one node after the other

    def _enqueue(self, placed: list[Placed]) -> None:
        if placed:
            with self.changes.lock:
                if self.error is None:
                    self._queue.extend(placed)
            self._advance()

    def _advance(self) -> None:
        """Carry out nodes until one waits for the model, or none is left. Whoever finds the state busy leaves it be."""
        while True:
            with self.changes.lock:
                if self._busy or not self._queue or self.error is not None:
                    return
                placed = self._queue.popleft()
                self._busy = True
            try:
                waits = _METHODS[type(placed.node)](self, placed.node, placed)
            except Exception as error:
                self.fail(error, placed)
                return
            if waits:
                return
            with self.changes.lock:
                self._busy = False
                last = not self._queue
            if last:
                self.notify()

    def _resume(self) -> None:
        """The node that waited is done; the next one is sent from another thread than the engine's."""
        with self.changes.lock:
            self._busy = False
            more = bool(self._queue)
        self.notify()
        if more:
            advancing().submit(self._advance)

    def fail(self, error: BaseException, placed: Placed | None = None) -> None:
        """Stop the state, and the children that wait for its text.

        placed: the node that failed; what was there before it can still be read. None: the program's own code failed,
        and every read raises that.
        """
        error = self.run.stopped_because(error)
        if placed is not None:
            note = f"in {placed.describe()}"
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
        with self.changes.lock:
            if self.error is not None:
                return
            self._broken = placed is None
            self.error, self._traceback = error, error.__traceback__
            left, self._queue = self._queue, deque()
            self._busy = False
            self._writing = None
        self.notify()
        for waiting in left:
            if isinstance(waiting.node, Fork):
                for child in waiting.node.children:
                    child.fail(error)

    def _text(self, node: Text, placed: Placed) -> bool:
        self.text += node.text
        self.segments.append(Segment(node.text))
        return False

    def _gen(self, node: Gen, placed: Placed) -> bool:
        constraint = node.constraint
        request = self._request(node, extra_stop=constraint.stops if constraint else ())
        if constraint is not None:
            request = replace(request, constraint=constraint.spec)
        self._answer(node, placed, request)
        return True

    def _select(self, node: Select, placed: Placed, choices: tuple[str, ...] | None = None) -> bool:
        cell = self._coming.popleft()
        self.text = self.chat.open(self.text)

        def done(choice: str, meta: dict[str, Any]) -> None:
            self._write(choice, cell, choice, meta)
            self._resume()

        Selection(
            self.run,
            node if choices is None else replace(node, choices=choices),
            self.text,
            self.chat.active,
            done,
            lambda error: self.fail(error, placed),
        ).start()
        return True

    def _role_begin(self, node: RoleBegin, placed: Placed) -> bool:
        self.text = self.chat.begin(self.text, node.role)
        return False

    def _role_end(self, node: RoleEnd, placed: Placed) -> bool:
        self.text = self.chat.end(self.text, node.role)
        return False

    def _var_begin(self, node: VarBegin, placed: Placed) -> bool:
        self._scopes.append((self._scope_cells.popleft(), len(self.text)))
        return False

    def _var_end(self, node: VarEnd, placed: Placed) -> bool:
        cell, start = self._scopes.pop()
        with self.changes.lock:
            cell.fill(self.text[start:])
        self.notify()
        return False

    def _fork(self, node: Fork, placed: Placed) -> bool:
        for child in node.children:
            child.seed(self.text, self.chat)
        return False

    def seed(self, text: str, chat: ChatLog) -> None:
        """A child gets its parent's text and goes on by itself."""
        with self.changes.lock:
            self.text, self.chat, self.seeded = text, chat.copy(), len(text)
            self._busy = False
            more = bool(self._queue)
        self.notify()
        if more:
            advancing().submit(self._advance)

    # ------------------------------------------------------------------ constrained spans

    def _conforms(self, constraint: Constraint, text: str) -> bool:
        try:
            self.run.backend.check_constraint(constraint.spec, text)
        except ConformError:
            return False
        return True

    def _open_span(self) -> Span:
        if self._span is None:
            raise SpanError("the constrain block was left by an exception")
        return self._span

    def _span_begin(self, node: SpanBegin, placed: Placed) -> bool:
        self._span = Span(node.constraint, node.opener)
        return False

    def _span_text(self, node: SpanText, placed: Placed) -> bool:
        span = self._open_span()
        self.run.backend.check_constraint(span.constraint.spec, span.text + node.text)
        span.text += node.text
        self.text += node.text
        self.segments.append(Segment(node.text))
        return False

    def _span_gen(self, node: SpanGen, placed: Placed) -> bool:
        span = self._open_span()
        whole = node.ends == "complete"
        spec = span.constraint.spec
        if node.after or not whole:
            spec = UpTo(spec, node.after, open=not whole)
        request = self._request(node.gen, extra_stop=(node.after,) if node.after else ())
        request = replace(request, constraint=spec, constraint_prefix=span.text)
        before, sole, parse = span.text, whole and not span.gens, span.constraint.parse
        span.gens += 1
        self._coming[0].parse = (lambda text: parse(before + text + node.after)) if sole else _part_of_a_text
        self._answer(node.gen, placed, request)
        return True

    def _span_select(self, node: SpanSelect, placed: Placed) -> bool:
        span = self._open_span()
        choices = tuple(c for c in node.select.choices if self._conforms(span.constraint, span.text + c))
        if not choices:
            self.run.backend.check_constraint(span.constraint.spec, span.text + node.select.choices[0])
        span.gens += 1
        return self._select(node.select, placed, choices)

    def _span_end(self, node: SpanEnd, placed: Placed) -> bool:
        span, self._span = self._open_span(), None
        if node.verify:
            self.run.backend.check_constraint(span.constraint.spec, span.text, complete=True)
        return False

    # ------------------------------------------------------------------ asking the model

    def _request(self, node: Gen, extra_stop: tuple[str, ...]) -> GenerateRequest:
        self.text = self.chat.open(self.text)
        stops = extra_stop + (self.chat.template().stop if self.chat.active else ())
        settings = node.settings.over(self.run.settings)
        return GenerateRequest(prompt=self.text, sampling=settings.params(stops), timeout=self.run.remaining())

    def _answer(self, node: Gen, placed: Placed, request: GenerateRequest) -> None:
        """Ask for a gen's answer; it fills the variable and takes the state on."""
        cell = self._writing = self._coming.popleft()
        thinking = self._coming.popleft() if node.reasoning is not None else None

        def growing(text: str) -> None:
            cell.partial = text
            self.notify()

        def done(texts: list[str], thoughts: list[str], meta: dict[str, Any]) -> None:
            several = request.sampling.n > 1
            self._write(texts[0], cell, texts if several else texts[0], meta)
            if thinking is not None:
                thinking.fill(thoughts if several else thoughts[0], meta)
            self._resume()

        Answer(
            self.run,
            node,
            cell.parse,
            request,
            self.chat.conversation(self.text),
            growing=growing,
            done=done,
            failed=lambda error: self.fail(error, placed),
        ).start()

    def _write(self, text: str, cell: Cell, value: Any, meta: dict[str, Any]) -> None:
        """What the model wrote is part of the text, and the variable's value."""
        with self.changes.lock:
            self.text += text
            if self._span is not None:
                self._span.text += text
            self._writing = None
            self.segments.append(Segment(text, cell.name, meta))
            cell.fill(value, meta)


def _part_of_a_text(text: str) -> Any:
    raise SpanError(
        "this variable is only a part of a constrained text; "
        "name the whole with s.constrain(..., name='x') and read s.parsed('x')"
    )


_METHODS: Mapping[type[Node], Callable[[Interpreter, Any, Placed], bool]] = {
    Text: Interpreter._text,
    Gen: Interpreter._gen,
    Select: Interpreter._select,
    RoleBegin: Interpreter._role_begin,
    RoleEnd: Interpreter._role_end,
    VarBegin: Interpreter._var_begin,
    VarEnd: Interpreter._var_end,
    Fork: Interpreter._fork,
    SpanBegin: Interpreter._span_begin,
    SpanText: Interpreter._span_text,
    SpanGen: Interpreter._span_gen,
    SpanSelect: Interpreter._span_select,
    SpanEnd: Interpreter._span_end,
}
"""Each returns whether the state now waits for the model."""
