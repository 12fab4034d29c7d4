"""One state of one run: takes in what the program adds, and lets it be read.

The planner (`spans.py`) says which nodes can be carried out, the queue (`node_queue.py`) takes them one after another,
the writer (`writer.py`) does what they say.

Errors stop the state. They are raised by the `+=` that caused them where that is known at once, else by the next read.
"""

from __future__ import annotations

import threading
from typing import Any

from grammars.errors import GrammarError
from runtime.images import Image
from sgl_lite.backends.base import Message
from sgl_lite.constraints import Constraint
from sgl_lite.errors import AppendError, BlockingReadError, SpanError, UnknownVariableError, UnsupportedByBackendError
from sgl_lite.interpreter.node_queue import NodeQueue
from sgl_lite.interpreter.run import Run
from sgl_lite.interpreter.spans import Placed, SpanPlanner
from sgl_lite.interpreter.variables import Cell
from sgl_lite.interpreter.writer import Writer
from sgl_lite.marks import check_text
from sgl_lite.nodes import ConstrainBegin, Fork, Gen, Node, Picture, Select, Text, VarBegin, flatten


class Interpreter:
    """cells: the variables by name, declared in program order. queue: what is still to be done. writer: the text."""

    def __init__(self, run: Run, parent: Interpreter | None = None) -> None:
        self.run = run
        self.cells: dict[str, Cell] = dict(parent.cells) if parent else {}
        # a child waits for its parent's text
        self.queue = NodeQueue(lambda placed: self.writer.carry_out(placed), self.fail, held=parent is not None)
        self.writer = Writer(run, self.queue, self.fail)
        self._planner = SpanPlanner(self.writer.conforms)

    # ------------------------------------------------------------------ the program adds

    def add(self, value: Any, where: str) -> None:
        """Take in text, a node or a list. Errors: `AppendError`, `SpanError`, and whatever stopped the state."""
        nodes = flatten(value)
        self.queue.raise_error()
        for node in nodes:
            if isinstance(node, Text):
                check_text(node.text)
                self._check_words(node.text)
            elif isinstance(node, Picture):
                self._check_picture(node, where)
            if isinstance(node, Gen | ConstrainBegin) and node.constraint is not None:
                self._check(node.constraint, where, node)
            placed = self._planner.add(node, where)
            self._declare(node)
            self.queue.put(placed)
        self.queue.raise_error()

    def set(self, name: str, value: Any) -> None:
        """Assign a variable; there is nothing to wait for."""
        cell = Cell(name, self.queue)
        cell.fill(value)
        self.cells[name] = cell

    def seed(self, parent: Writer) -> None:
        """A child gets its parent's text and goes on by itself."""
        self.writer.seed(parent)
        self.queue.resume()

    def restore(self, text: str, images: tuple[Image, ...], messages: list[Message]) -> None:
        """Begin with what was saved."""
        self.writer.text, self.writer.images = text, images
        if messages:
            self.writer.chat.resume(messages, text)

    def settle(self, name: str | None = None) -> None:
        """The program's own thread is about to wait: send out what was held back."""
        if self.run.may_settle():
            self.queue.put(self._planner.settle(name))

    def abandon_span(self) -> None:
        """A constrain block was left by an exception: the gen that was held back is never sent."""
        if self._planner.abandon():
            cell = self.writer.coming.pop()
            cell.error = SpanError(f"the constrain block was left by an exception before {cell.name!r} was asked for")
            cell.ready = True
        self.writer.abandon_span()

    @property
    def inside_span(self) -> bool:
        return self._planner.inside

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
        self.writer.abandon_answer()
        for waiting in self.queue.stop(error, broken=placed is None):
            if isinstance(waiting.node, Fork):
                for child in waiting.node.children:
                    child.fail(error)

    def _declare(self, node: Node) -> None:
        if isinstance(node, Gen | Select):
            constraint = node.constraint if isinstance(node, Gen) else None
            cell = Cell(node.name, self.queue, constraint.parse if constraint else None)
            self.writer.coming.append(cell)
        elif isinstance(node, VarBegin):
            cell = Cell(node.name, self.queue)
            self.writer.scopes.append(cell)
        else:
            return
        if node.name is not None:
            self.cells[node.name] = cell
        if isinstance(node, Gen) and node.reasoning is not None:
            thinking = Cell(f"{node.name}_reasoning_content", self.queue)
            self.writer.coming.append(thinking)
            self.cells[f"{node.name}_reasoning_content"] = thinking

    def _check(self, constraint: Constraint, where: str, node: Node) -> None:
        try:
            self.run.backend.check_constraint(constraint.spec)
        except GrammarError as error:
            error.add_note(f"in {where}: {node.label()}")
            raise

    def _check_picture(self, node: Picture, where: str) -> None:
        backend = self.run.backend
        if not backend.capabilities.images:
            error = UnsupportedByBackendError(
                f"{backend.model_name} sees no images; use a vision-language model: "
                "sgl.set_default_backend(sgl.Engine(model_path=...))"
            )
            error.add_note(f"in {where}: {node.label()}")
            raise error

    def _check_words(self, text: str) -> None:
        for word in self.run.backend.capabilities.reserved:
            if word in text:
                raise AppendError(
                    f"the text contains {word!r}, which the model would take for an image; "
                    "add images with sgl.image(...), and leave the word out"
                )

    # ------------------------------------------------------------------ someone reads

    def read(self, name: str, timeout: float | None = None) -> Cell:
        """A variable, once it is there. Errors: those of the program, `UnknownVariableError`.

        A reader in another thread waits until the program declares it.
        """
        if name not in self.cells and not self.run.may_settle():
            self.queue.wait_for(lambda: name in self.cells or self.run.thread is None)
        cell = self._cell(name)
        if not cell.ready:
            self._refuse_to_block(f"await s.read({name!r})")
        if cell.owner is self.queue:
            self.settle(name)
        cell.get(timeout)
        if self.queue.broken:
            self.queue.raise_error()
        return cell

    async def read_async(self, name: str) -> Cell:
        """As `read`, without blocking the event loop."""
        if name not in self.cells and not self.run.may_settle():
            await self.queue.wait_async(lambda: name in self.cells or self.run.thread is None)
        cell = self._cell(name)
        if not cell.ready:
            if cell.owner is self.queue:
                self.settle(name)
            await cell.owner.wait_async(lambda: cell.ready)
        return self.read(name)

    def sync(self) -> None:
        """Wait for all that was added. Errors: those of the program."""
        if not self.queue.idle or self._planner.inside:
            self._refuse_to_block("await s.wait()")
        self.settle()
        # another thread's program may add more yet
        self.queue.wait_for(lambda: self.queue.idle and self.run.may_settle())
        self.queue.raise_error()

    def _cell(self, name: str) -> Cell:
        if name not in self.cells:
            self.queue.raise_error()
            raise UnknownVariableError(name, self.cells)
        return self.cells[name]

    def _refuse_to_block(self, way_out: str) -> None:
        if self.run.in_event_loop and self.run.thread == threading.get_ident():
            raise BlockingReadError(f"an async program must not block its event loop; write {way_out}")
