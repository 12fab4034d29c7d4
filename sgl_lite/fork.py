"""The states of a fork: adding to all of them, and bringing them together again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from sgl_lite.callsite import call_site
from sgl_lite.errors import ArgumentError, ForkError
from sgl_lite.marks import split
from sgl_lite.nodes import Picture, Text

if TYPE_CHECKING:
    from sgl_lite.state import ProgramState

JoinMode = Literal["gather_variable", "concate_and_append"]


class ProgramStateGroup:
    """The states of a fork."""

    def __init__(self, states: list[ProgramState], parent: ProgramState) -> None:
        self.states, self.parent = states, parent
        self._names = set(parent.interpreter.cells)
        self._joined = False

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: int) -> ProgramState:
        return self.states[index]

    def __setitem__(self, index: int, value: ProgramState) -> None:
        if value is not self.states[index]:  # `group[i] += x` assigns what it added to
            raise ForkError("the states of a fork cannot be replaced; add to them: group[i] += ...")

    def __iter__(self) -> Iterator[ProgramState]:
        return iter(self.states)

    def __iadd__(self, value: Any) -> ProgramStateGroup:
        """Add to all: text or a node to each, a list's items one to each, a function's result for its index."""
        if isinstance(value, list | tuple):
            if len(value) != len(self.states):
                raise ArgumentError(
                    f"a list of {len(value)} is added to {len(self.states)} states; give one item a state"
                )
            for state, item in zip(self.states, value, strict=True):
                state.interpreter.add(item, call_site())
            return self
        for index, state in enumerate(self.states):
            state.interpreter.add(value(index) if callable(value) else value, call_site())
        return self

    def join(self, mode: JoinMode = "gather_variable") -> None:
        """Wait for all. "gather_variable": what the children made is in the parent, as lists in order.
        "concate_and_append": the text they added is added to the parent, in order.

        A child that failed does not hurt the others: its error is raised where one of its variables is read.
        """
        if mode not in ("gather_variable", "concate_and_append"):
            raise ArgumentError(f"join mode={mode!r} is neither 'gather_variable' nor 'concate_and_append'")
        if self._joined:
            raise ForkError("this fork is joined already")
        self._joined = True
        for state in self.states:
            state.error()
        if mode == "concate_and_append":
            self._append()
        else:
            self._gather()

    def _gather(self) -> None:
        parent = self.parent.interpreter
        names = dict.fromkeys(n for s in self.states for n in s.interpreter.cells if n not in self._names)
        for name in names:
            having = [s.interpreter for s in self.states if name in s.interpreter.cells]
            failed = next((child.queue.error for child in having if not child.cells[name].ready), None)
            parent.set(name, [child.cells[name].value for child in having])
            cell = parent.cells[name]
            cell.error = failed
            cell.meta = None if failed else {"forks": [child.cells[name].meta for child in having]}

    def _append(self) -> None:
        where = call_site()
        for state in self.states:
            state.interpreter.queue.raise_error()
            if (
                state.interpreter.writer.chat.role != self.parent.interpreter.writer.chat.role
                or state.interpreter.writer.chat.messages != (self.parent.interpreter.writer.chat.messages)
            ):
                raise ForkError(
                    "concate_and_append joins text; these forks added messages: use join() and their variables"
                )
            writer = state.interpreter.writer
            own = [Picture(image) for image in writer.images]
            self.parent.interpreter.add(split(writer.text[writer.seeded :], Text, own.__getitem__), where)
