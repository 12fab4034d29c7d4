"""Constrain blocks, read in the order in which the program writes them.

In: nodes as they are added. Out: nodes that can be executed, each gen of a block with what follows it. Knows no
answers: what comes out depends on the program's order alone, never on how far the model is.

A block is one text. A gen in it is held back until it is known what follows, because that decides how it may end:

    next comes              the gen's text x must be such that ...
    ----------------------  ----------------------------------------------------------------------
    literals, then a gen    x + literals begins a text of the constraint
    the end of the block    x (+ literals) is a text of the constraint
    another gen             x begins a text of the constraint
    a read of the gen       as "another gen" if the gen has a stop of its own, else as "the end of the block"

If the literal just before the block opens a JSON value by itself (`s += "{\n"`), the block continues that value, and
what follows the block closes it: the last gen is held until the closing literal is there. If anything else comes first,
x must be such that the plain mirror of the open brackets closes the value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sgl_lite.constraints import Constraint
from sgl_lite.errors import SpanError
from sgl_lite.interpreter.json_brackets import JsonBrackets, closing_length, opening_of
from sgl_lite.nodes import (
    ConstrainBegin,
    ConstrainEnd,
    Gen,
    Node,
    Select,
    SpanBegin,
    SpanEnd,
    SpanGen,
    SpanSelect,
    SpanText,
    Text,
    VarBegin,
    VarEnd,
)


@dataclass(frozen=True, slots=True)
class Placed:
    """A node with the line of the program that added it."""

    node: Node
    where: str

    def describe(self) -> str:
        return f"{self.where}: {self.node.label()}"


@dataclass(slots=True)
class _Block:
    """The open constrain block. `brackets` are those that it continues, None if it stands alone.

    held: the gen whose ending is not known yet; tail: what was added after it.
    ended: the block itself is over, its closing literal is awaited.
    closing: the literals after its end. certain: nothing was added since a gen that completes the span.
    """

    constraint: Constraint
    brackets: JsonBrackets | None
    held: tuple[Gen, str] | None = None
    tail: list[Placed] = field(default_factory=list)
    ended: bool = False
    closing: str = ""
    certain: bool = False

    def after(self) -> str:
        return "".join(placed.node.text for placed in self.tail if isinstance(placed.node, SpanText))

    def release(self, ends: str, closers: str = "") -> list[Placed]:
        """The held gen and its tail; `closers` are expected after the tail without being part of it."""
        self.certain = ends == "complete" and not closers
        out: list[Placed] = []
        if self.held is not None:
            gen, where = self.held
            after = self.after() + closers
            out.append(Placed(SpanGen(gen, after, "complete" if ends == "complete" else "open"), where))
        else:
            self.certain = False
        out += self.tail
        self.held, self.tail = None, []
        return out


class SpanPlanner:
    """One state's nodes, in program order.

    conforms: whether a text begins a text of a constraint (asked of the backend for an opening literal).
    """

    def __init__(self, conforms: Callable[[Constraint, str], bool]) -> None:
        self._conforms = conforms
        self._block: _Block | None = None
        self._literal = ""

    @property
    def inside(self) -> bool:
        """Whether a constrain block is open."""
        return self._block is not None and not self._block.ended

    def add(self, node: Node, where: str) -> list[Placed]:
        """The nodes that can be executed now that `node` was added. Errors: `SpanError`."""
        block = self._block
        if block is None:
            return self._outside(node, where)
        if block.ended:
            return self._closing(block, node, where)
        return self._within(block, node, where)

    def settle(self, name: str | None = None) -> list[Placed]:
        """The program waits, for variable `name` or (None) for everything: nothing more is known of what follows."""
        block = self._block
        if block is None or block.held is None:
            return []
        gen, _ = block.held
        if name is not None and gen.name != name:
            return []
        if block.brackets is not None:
            if not block.ended and _stops_itself(gen):
                return block.release("open")
            return block.release("complete", block.brackets.closers())
        follows = bool(block.after()) or _stops_itself(gen)
        return block.release("open" if follows else "complete")

    def abandon(self) -> bool:
        """The block was left by an exception: what is held is dropped. Returns whether that was a gen."""
        block, self._block = self._block, None
        return block is not None and block.held is not None

    def _outside(self, node: Node, where: str) -> list[Placed]:
        literal, self._literal = self._literal, ""
        if isinstance(node, ConstrainBegin):
            brackets = opening_of(literal.lstrip()) if node.constraint.is_json else None
            if brackets is not None and not self._conforms(node.constraint, literal.lstrip()):
                brackets = None
            self._block = _Block(node.constraint, brackets)
            opener = literal.lstrip() if brackets is not None else ""
            return [Placed(SpanBegin(node.constraint, opener), where)]
        if isinstance(node, Text):
            self._literal = node.text
        return [Placed(node, where)]

    def _within(self, block: _Block, node: Node, where: str) -> list[Placed]:
        if isinstance(node, Text):
            return self._literal_within(block, node, where)
        if isinstance(node, VarBegin | VarEnd):
            return self._marker(block, node, where)
        if isinstance(node, Gen):
            if node.constraint is not None or node.reasoning is not None:
                raise SpanError(
                    f"{node.label()} has a constraint or reasoning of its own in a constrain block; keep one of the two"
                )
            out = block.release("open")
            block.held = node, where
            return out
        if isinstance(node, Select):
            return [*block.release("open"), Placed(SpanSelect(node), where)]
        if isinstance(node, ConstrainEnd):
            return self._end(block, where)
        raise SpanError(
            f"{node.label()} cannot stand inside a constrain block, which is one text; close the block before it"
        )

    def _marker(self, block: _Block, node: Node, where: str) -> list[Placed]:
        if block.held is None:
            return [Placed(node, where)]
        block.tail.append(Placed(node, where))
        return []

    def _literal_within(self, block: _Block, node: Text, where: str) -> list[Placed]:
        placed = Placed(SpanText(node.text), where)
        if block.brackets is not None:
            block.brackets.feed(node.text)
        if block.held is None:
            block.certain = False
            return [placed]
        block.tail.append(placed)
        return []

    def _end(self, block: _Block, where: str) -> list[Placed]:
        if block.brackets is not None and block.brackets.open:
            block.ended = True
            return []
        out = block.release("complete") if block.held is not None else []
        self._block = None
        return [*out, Placed(SpanEnd(verify=not block.certain), where)]

    def _closing(self, block: _Block, node: Node, where: str) -> list[Placed]:
        """After a block that continues an opened value."""
        if isinstance(node, VarBegin | VarEnd):
            return self._marker(block, node, where)
        if not isinstance(node, Text):
            out = self.settle()
            self._block = None
            return [*out, Placed(SpanEnd(verify=False), where), *self._outside(node, where)]
        assert block.brackets is not None
        before = block.closing
        block.closing += node.text
        length = closing_length(block.brackets.open, block.closing)
        closed_at = None if length is None else length - len(before)
        block.tail.append(Placed(SpanText(node.text[:closed_at]), where))
        if closed_at is None:
            if block.held is not None:
                return []
            out, block.tail = block.tail, []
            return out
        certain = block.held is not None
        out = block.release("complete")
        self._block = None
        out.append(Placed(SpanEnd(verify=not certain), where))
        if rest := node.text[closed_at:]:
            out.append(Placed(Text(rest), where))
        return out


def _stops_itself(gen: Gen) -> bool:
    return bool(gen.settings.stop or gen.settings.stop_regex or gen.settings.stop_token_ids)
