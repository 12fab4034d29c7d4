"""Runs a program without a model, to see what it would do: its nodes, its constant beginning, its gens in stages.

Arguments and variables are stand-ins. They can be added to the state; asking for their text is a `TraceError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, NoReturn

from sgl_lite.backends.base import Backend, Conversation
from sgl_lite.chat.messages import ChatLog
from sgl_lite.constraints import constraint_of
from sgl_lite.errors import ArgumentError, TraceError
from sgl_lite.nodes import (
    ConstrainBegin,
    ConstrainEnd,
    Gen,
    Node,
    Parts,
    RoleBegin,
    RoleEnd,
    Select,
    Text,
    VarBegin,
    VarEnd,
    flatten,
)


class _StandIn(Node):
    """A text that is not there while tracing."""

    __slots__ = ()

    def _refuse(self, *_: object) -> NoReturn:
        raise TraceError(
            f"{self.label()} has no value while tracing; "
            "add it to the state by itself (s += x) instead of formatting it, and keep it out of conditions"
        )

    __str__ = __format__ = __bool__ = __len__ = __iter__ = __getitem__ = _refuse


@dataclass(frozen=True, slots=True, eq=False)
class Argument(_StandIn):
    """A parameter of the program that was not given."""

    name: str

    def label(self) -> str:
        return f"argument {self.name!r}"


@dataclass(frozen=True, slots=True, eq=False)
class Variable(_StandIn):
    """A variable, as far as a trace knows it."""

    name: str

    def label(self) -> str:
        return f"variable {self.name!r}"


@dataclass(frozen=True, slots=True, eq=False)
class TracedNode:
    """A node in the order of its state. previous: the one before it, in a fork's first node that of the parent.

    state: number of the state. needs: nodes of other states whose variables it reads.
    """

    number: int
    node: Node
    state: int
    previous: TracedNode | None = None
    needs: tuple[TracedNode, ...] = ()

    def before(self) -> Iterator[TracedNode]:
        """All nodes on which this one depends, nearest first, each once."""
        seen: dict[int, TracedNode] = {}
        waiting = [*self.needs, *((self.previous,) if self.previous else ())]
        while waiting:
            one = waiting.pop()
            if one.number not in seen:
                seen[one.number] = one
                waiting += [*one.needs, *((one.previous,) if one.previous else ())]
        yield from sorted(seen.values(), key=lambda n: -n.number)

    def print_graph_dfs(self) -> None:
        """Print what leads to this node, a line each, first things first."""
        for one in [*reversed(list(self.before())), self]:
            parents = [str(n.number) for n in ((one.previous,) if one.previous else ()) + one.needs]
            print(f"%{one.number} = {one.node.label()}" + (f"  after {', '.join(parents)}" if parents else ""))


class TracerProgramState:
    """Takes the place of `ProgramState` while a program is traced.

    nodes: of this state, forks not included. ret_value: what the program's function returned.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any] | None = None,
        parent: TracerProgramState | None = None,
        backend: Backend | None = None,
    ) -> None:
        self.arguments = dict(arguments or {})
        self.backend: Backend | None = parent.backend if parent else backend
        self.nodes: list[TracedNode] = []
        self.ret_value: Any = None
        self.children: list[TracerProgramState] = []
        self.last_node: TracedNode | None = parent.last_node if parent else None
        self.variables: dict[str, TracedNode] = dict(parent.variables) if parent else {}
        self._numbers: Iterator[int] = parent._numbers if parent else count()
        self._states: Iterator[int] = parent._states if parent else count()
        self._unnamed: Iterator[int] = parent._unnamed if parent else count()
        self._state = next(self._states)

    def __iadd__(self, value: Any) -> TracerProgramState:
        for node in flatten(value):
            self._append(node)
        return self

    def _append(self, node: Node) -> None:
        needs = (self.variables[node.name],) if isinstance(node, Variable) and node.name in self.variables else ()
        traced = TracedNode(next(self._numbers), node, self._state, self.last_node, needs)
        self.nodes.append(traced)
        self.last_node = traced
        if isinstance(node, Gen | Select):
            kind = "gen" if isinstance(node, Gen) else "select"
            self.variables[node.name or f"{kind}_{next(self._unnamed)}"] = traced
        elif isinstance(node, VarEnd):
            self.variables[node.name] = traced

    def __getitem__(self, name: str) -> Variable:
        if name not in self.variables:
            raise TraceError(f"the program reads {name!r} before it makes it; so far it makes {list(self.variables)}")
        return Variable(name)

    get_var = __getitem__

    def __contains__(self, name: object) -> bool:
        return name in self.variables

    def set_var(self, name: str, value: Any) -> None:
        self._append(VarBegin(name))
        self._append(VarEnd(name))

    __setitem__ = set_var

    def fork(self, size: int = 1, position_ids_offset: object = None) -> TracerProgramStateGroup:
        states = [TracerProgramState(self.arguments, self) for _ in range(size)]
        self.children += states
        return TracerProgramStateGroup(states, self)

    @contextmanager
    def constrain(self, *, name: str | None = None, **given: Any) -> Iterator[None]:
        constraint = constraint_of(**given)
        if constraint is None:
            raise ArgumentError("constrain needs one of json_schema=, regex=, format=, grammar=, choices=, type=")
        self._append(ConstrainBegin(constraint))
        yield
        self._append(ConstrainEnd())
        if name is not None:
            self._append(VarEnd(name))

    @contextmanager
    def var_scope(self, name: str) -> Iterator[None]:
        self._append(VarBegin(name))
        yield
        self._append(VarEnd(name))

    def system(self, content: Any = None) -> Any:
        return self._role("system", content)

    def user(self, content: Any = None) -> Any:
        return self._role("user", content)

    def assistant(self, content: Any = None) -> Any:
        return self._role("assistant", content)

    def _role(self, role: str, content: Any) -> Any:
        if content is None:
            return self._role_scope(role)
        for node in (RoleBegin(role), *flatten(content), RoleEnd(role)):
            self._append(node)
        return Parts()

    @contextmanager
    def _role_scope(self, role: str) -> Iterator[None]:
        self._append(RoleBegin(role))
        yield
        self._append(RoleEnd(role))

    def text(self) -> NoReturn:
        raise TraceError("the state has no text while tracing")

    messages = get_meta_info = parsed = text_iter = text

    def sync(self) -> TracerProgramState:
        return self

    # ------------------------------------------------------------------ what was seen

    def flatten_nodes(self) -> list[TracedNode]:
        """All nodes, those of forks included, in the order in which the program added them."""
        nodes = [*self.nodes, *(node for child in self.children for node in child.flatten_nodes())]
        return sorted(nodes, key=lambda n: n.number)

    def constant_prefix(self) -> str:
        """The text with which every run of the program begins, whatever its arguments."""
        return self.constant_beginning()[0]

    def constant_beginning(self) -> tuple[str, Conversation | None]:
        """As `constant_prefix`, with the messages that it writes, if a backend is known whose template writes them."""
        text, chat = "", None if self.backend is None else ChatLog(self.backend.chat_template)
        for node in (traced.node for traced in self.nodes):
            if isinstance(node, Text):
                text += node.text
            elif chat is not None and isinstance(node, RoleBegin):
                text = chat.begin(text, node.role)
            elif chat is not None and isinstance(node, RoleEnd):
                text = chat.end(text, node.role)
            elif not isinstance(node, VarBegin | VarEnd):
                break
        if chat is None or not chat.active:
            return text, None
        text = chat.open(text)
        return text, chat.conversation(text)

    def plan(self) -> list[list[TracedNode]]:
        """The gens and selects in stages: those of a stage need only earlier stages, so they can run side by side."""
        stages: list[list[TracedNode]] = []
        depth: dict[int, int] = {}
        for traced in self.flatten_nodes():
            before = max((depth[n.number] for n in (traced.previous, *traced.needs) if n is not None), default=0)
            asks = isinstance(traced.node, Gen | Select)
            depth[traced.number] = before + asks
            if asks:
                if before == len(stages):
                    stages.append([])
                stages[before].append(traced)
        return stages


class TracerProgramStateGroup:
    """The states of a traced fork."""

    def __init__(self, states: list[TracerProgramState], parent: TracerProgramState) -> None:
        self.states, self.parent = states, parent

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, index: int) -> TracerProgramState:
        return self.states[index]

    def __setitem__(self, index: int, value: TracerProgramState) -> None:
        pass  # `group[i] += x` assigns what it added to

    def __iter__(self) -> Iterator[TracerProgramState]:
        return iter(self.states)

    def __iadd__(self, value: Any) -> TracerProgramStateGroup:
        for index, state in enumerate(self.states):
            state += value(index) if callable(value) else value[index] if isinstance(value, list | tuple) else value
        return self

    def join(self, mode: str = "gather_variable") -> None:
        """The children's new variables are the parent's, and what follows waits for them."""
        parent = self.parent
        new = {n: t for s in self.states for n, t in s.variables.items() if n not in parent.variables}
        ends = tuple(s.last_node for s in self.states if s.last_node is not None)
        parent.variables |= new
        joined = TracedNode(next(parent._numbers), Join(mode), parent._state, parent.last_node, ends)
        parent.nodes.append(joined)
        parent.last_node = joined


@dataclass(frozen=True, slots=True)
class Join(Node):
    """Forks come together."""

    mode: str

    def label(self) -> str:
        return f"join({self.mode!r})"


def _given(arguments: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    return {name: arguments[name] if name in arguments else Argument(name) for name in names}


def trace(
    func: Callable[..., Any], arguments: Mapping[str, Any], names: list[str], backend: Backend | None = None
) -> TracerProgramState:
    """Run `func` on a tracing state; of its parameters `names`, those not in `arguments` are stand-ins."""
    state = TracerProgramState(_given(arguments, names), backend=backend)
    state.ret_value = func(state, **state.arguments)
    return state


def constant_beginning(
    func: Callable[..., Any], arguments: Mapping[str, Any], names: list[str], backend: Backend
) -> tuple[str, Conversation | None]:
    """The text with which every run begins, and its messages. Where the program needs a value, or fails for want of
    one, it ends.
    """
    state = TracerProgramState(_given(arguments, names), backend=backend)
    with suppress(Exception):  # whatever a stand-in breaks, what was added before is constant
        func(state, **state.arguments)
    return state.constant_beginning()
