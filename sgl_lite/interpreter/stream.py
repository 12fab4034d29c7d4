"""What a state has written so far, piece by piece. The pieces join to the final text."""

from __future__ import annotations

from sgl_lite.errors import UnknownVariableError
from sgl_lite.interpreter.interpreter import Interpreter


class TextStream:
    """One reader of a state's text, or (`name`) of one variable. given: characters handed out so far."""

    def __init__(self, interpreter: Interpreter, name: str | None) -> None:
        self._interpreter, self._name = interpreter, name
        self.given = 0
        self.ended = False
        interpreter.settle(name)

    def more(self) -> bool:
        """Whether something new is there, or all is. Errors: `UnknownVariableError`."""
        self.ended = self._has_ended()
        return self.ended or len(self._seen()) > self.given

    def take(self) -> str:
        """What is new; "" if nothing is. Errors: those of the program, at the end of all its text."""
        piece = self._seen()[self.given :]
        self.given += len(piece)
        if not piece and self.ended and self._name is None:
            self._interpreter.queue.raise_error()
        return piece

    def _seen(self) -> str:
        if self._name is None:
            return self._interpreter.writer.visible_text()
        cell = self._interpreter.cells.get(self._name)
        return "" if cell is None else cell.partial

    def _has_ended(self) -> bool:
        interpreter, name = self._interpreter, self._name
        over = interpreter.run.thread is None
        if name is None:
            return over and interpreter.queue.idle
        if name in interpreter.cells:
            return interpreter.cells[name].ready
        if over:
            raise UnknownVariableError(name, interpreter.cells)
        return False
