"""What a program adds to its state: frozen nodes, one a thing that can happen. They know no state and no backend.

Nodes add up: `"Name: " + gen("name") + "\n"` is a `Parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from sgl_lite.constraints import Constraint
from sgl_lite.errors import AppendError
from sgl_lite.reasoning import ReasoningFormat
from sgl_lite.settings import SamplingSettings

Role = str


class Node:
    """One thing that a program does."""

    __slots__ = ()

    def __add__(self, other: Node | str) -> Parts:
        return Parts((*_nodes_of(self), *_nodes_of(other)))

    def __radd__(self, other: Node | str) -> Parts:
        return Parts((*_nodes_of(other), *_nodes_of(self)))

    def label(self) -> str:
        """How errors and pictures call it."""
        return type(self).__name__


@dataclass(frozen=True, slots=True)
class Parts(Node):
    """Several nodes, one after the other."""

    nodes: tuple[Node, ...] = ()

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)


@dataclass(frozen=True, slots=True)
class Text(Node):
    """Text of the program itself."""

    text: str

    def label(self) -> str:
        return repr(self.text if len(self.text) <= 40 else self.text[:37] + "...")


@dataclass(frozen=True, slots=True)
class Picture(Node):
    """An image (`runtime.images.Image`). While tracing: the stand-in for one."""

    image: Any

    def label(self) -> str:
        return "image(...)"


@dataclass(frozen=True, slots=True)
class Gen(Node):
    """An answer of the model, drawn again while `check(answer)` is False, at most `retries` times.

    reasoning: how to tell the model's thoughts, kept in `<name>_reasoning_content`, from its answer.
    """

    name: str | None
    settings: SamplingSettings = field(default_factory=SamplingSettings)
    constraint: Constraint | None = None
    check: Callable[[Any], bool] | None = None
    retries: int = 0
    reasoning: ReasoningFormat | None = None

    def label(self) -> str:
        return f"gen({self.name!r})" if self.name is not None else "gen()"


@dataclass(frozen=True, slots=True)
class Select(Node):
    """The best of `choices`, by `method` (see `choices.py`). temperature above 0 draws one by probability."""

    name: str | None
    choices: tuple[str, ...]
    method: Any
    temperature: float = 0.0
    seed: int | None = None

    def label(self) -> str:
        return f"select({self.name!r})"


@dataclass(frozen=True, slots=True)
class RoleBegin(Node):
    """A message of `role` begins."""

    role: Role

    def label(self) -> str:
        return f"{self.role}_begin()"


@dataclass(frozen=True, slots=True)
class RoleEnd(Node):
    """The message of `role` ends."""

    role: Role

    def label(self) -> str:
        return f"{self.role}_end()"


@dataclass(frozen=True, slots=True)
class VarBegin(Node):
    """Text from here on ..."""

    name: str


@dataclass(frozen=True, slots=True)
class VarEnd(Node):
    """... to here is the variable."""

    name: str


@dataclass(frozen=True, slots=True)
class ConstrainBegin(Node):
    """All that is added from here on is one text of `constraint`."""

    constraint: Constraint

    def label(self) -> str:
        return "constrain(...)"


@dataclass(frozen=True, slots=True)
class ConstrainEnd(Node):
    """The end of the constrain block."""


@dataclass(frozen=True, slots=True)
class Fork(Node):
    """From here on the children go their own ways. `children` are interpreters that wait for this state's text."""

    children: tuple[Any, ...]


# What `spans.py` makes of the nodes inside a constrain block.


@dataclass(frozen=True, slots=True)
class SpanBegin(Node):
    """A span begins; `opener` is text already in the state that belongs to it."""

    constraint: Constraint
    opener: str = ""


@dataclass(frozen=True, slots=True)
class SpanText(Node):
    """Text of the program that must conform."""

    text: str

    def label(self) -> str:
        return Text(self.text).label()


@dataclass(frozen=True, slots=True)
class SpanGen(Node):
    """A gen in a span, now that it is known what follows it.

    after: the text that the program adds next ("" if nothing is known).
    ends:  "complete": the gen followed by `after` completes the span. "open": it need only begin one.
    """

    gen: Gen
    after: str
    ends: Literal["complete", "open"]

    def label(self) -> str:
        return self.gen.label()


@dataclass(frozen=True, slots=True)
class SpanSelect(Node):
    """A select in a span: among the choices that conform."""

    select: Select

    def label(self) -> str:
        return self.select.label()


@dataclass(frozen=True, slots=True)
class SpanEnd(Node):
    """The span ends. `verify`: it is not yet certain that it is complete."""

    verify: bool

    def label(self) -> str:
        return "the end of the constrain block"


def _nodes_of(value: Node | str) -> tuple[Node, ...]:
    if isinstance(value, Parts):
        return value.nodes
    if isinstance(value, str):
        return (Text(value),)
    if isinstance(value, Node):
        return (value,)
    raise AppendError(f"{value!r} ({type(value).__name__}) is neither text nor a node; write str(...) or an f-string")


def flatten(value: Any) -> tuple[Node, ...]:
    """The nodes of what is added to a state: text, a node, or a list of these. Errors: `AppendError`."""
    if isinstance(value, list | tuple):
        return tuple(node for item in value for node in flatten(item))
    if value is None:
        raise AppendError(
            "None was added to the state; a function that adds to `s` itself returns None: call it without `s +=`"
        )
    return _nodes_of(value)
