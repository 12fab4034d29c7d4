"""Automata one after the other: the automaton of a graph of places, each held by an automaton of its own.

In: `Places`. Out: a `ByteAutomaton`. Which specs make which graph is unknown here (`grammars.compose`).

Where one part ends and the next begins may be open, so a state is a set of items (place, state of its automaton). An
item whose automaton accepts stands also for the beginnings of the places that follow; they are not written out. Nearly
always there is one item only, a *lone* one, and then the state is that of its automaton, renumbered:

    lone state:  context = the part's own context;  local = (place, the part's own local)
    set state:   context 0;                         local = the set
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from grammars.arrays import distinct_columns
from grammars.automaton import CROSS, DEAD, LOCAL_MASK, UNFILLED, pack
from grammars.errors import ConstraintLimitError, UnsatisfiableConstraintError
from grammars.limits import Limits
from grammars.masks.transitions import Transitions

_MOST_ITEMS = 2_000
Item = tuple[int, int]
"""(place, state of its automaton)"""


class Places(Protocol):
    """Integer places. Every place has an automaton, and from each the end can be reached."""

    def first(self) -> Iterable[int]:
        """The places that a text may begin in."""
        ...

    def part(self, place: int) -> Transitions:
        """The automaton of a place; places may share one."""
        ...

    def after(self, place: int, state: int) -> Iterable[int]:
        """The places that may follow a place whose automaton accepts in `state`."""
        ...

    def is_last(self, place: int, state: int) -> bool:
        """Whether the text may end with a place whose automaton accepts in `state`."""
        ...

    def ending(self, place: int, state: int) -> bytes:
        """A shortest text from (place, state) to the end of the whole."""
        ...


class ComposedAutomaton:
    """See `ByteAutomaton`."""

    def __init__(self, places: Places, limits: Limits) -> None:
        self._places = places
        self._limits = limits
        self.table = np.full((16, 256), UNFILLED, dtype=np.int32)
        self.exits = np.zeros(16, dtype=np.int32)
        self._locals: dict[Hashable, int] = {}
        self._items: list[frozenset[Item] | Item] = []
        """by local: a set, or (place, local of its automaton)"""
        self._exits: dict[Hashable, int] = {}
        self._endings: dict[int, bytes] = {}
        first = frozenset((place, places.part(place).automaton.start) for place in places.first())
        self.remembers = False
        """becomes true with the first part that does"""
        if not first:
            raise UnsatisfiableConstraintError("nothing is left to choose from")
        self.start = self._state(first)

    def fill(self, local: int) -> None:
        """Fill the row of a local."""
        held = self._items[local]
        if isinstance(held, frozenset):
            row = self._set_row(held)
            following = np.where(row >> 32 == 0, row, CROSS).astype(np.int32)
            following[row == DEAD] = DEAD
        else:
            following = self._lone_row(*held)
        self.exits[local] = self._exit_class(held)
        self.table[local] = following

    def _lone_row(self, place: int, inner: int) -> NDArray[np.int32]:
        part = self._places.part(place)
        part.fill(inner)
        inside = part.automaton.table[inner]
        row = inside.copy()
        for following in np.unique(inside[inside >= 0]).tolist():
            row[inside == following] = self._local((place, following))
        if self._may_end(place, inner):
            row[self._first_bytes(place, inner)] = CROSS
        return row

    def _set_row(self, items: frozenset[Item]) -> NDArray[np.int64]:
        """[256] the state after each byte."""
        expanded = sorted(self._expand(items))
        rows = np.stack([self._places.part(place).row(state) for place, state in expanded])
        columns, which = distinct_columns(rows)
        states = []
        for column in columns:
            following = frozenset((place, s) for (place, _), s in zip(expanded, column, strict=True) if s != DEAD)
            states.append(self._state(following) if following else DEAD)
        return np.array(states, dtype=np.int64)[which]

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        """See `ByteAutomaton`. The rows of lone states are those of their parts, and what follows them."""
        return self._set_row(self._items_of(pack(context, local)))

    def is_accepting(self, state: int) -> bool:
        return any(
            self._places.part(place).is_accepting(inner) and self._places.is_last(place, inner)
            for place, inner in self._expand(self._items_of(state))
        )

    def min_bytes(self, state: int) -> int:
        return len(self.witness(state))

    def witness(self, state: int) -> bytes:
        ending = self._endings.get(state)
        if ending is None:
            items = sorted(self._items_of(state))
            ending = min((self._places.ending(place, inner) for place, inner in items), key=len)
            self._endings[state] = ending
        return ending

    def remember(self, before: int, text: bytes, after: int) -> int:
        """Goes through the text byte by byte; each way to read it remembers for itself."""
        items = self._items_of(before)
        for byte in text:
            came = set()
            for place, inner in self._expand(items):
                part = self._places.part(place)
                following = part.step(inner, byte)
                if following != DEAD:
                    came.add((place, part.remember(inner, bytes((byte,)), following)))
            if not came:
                return after
            items = frozenset(came)
        return self._state(items)

    def is_settled(self, state: int) -> bool:
        """See `ByteAutomaton.remember`."""
        return all(self._places.part(place).is_settled(inner) for place, inner in self._items_of(state))

    def slice_key(self, local: int) -> Hashable | None:
        return None

    def canonical_byte(self, local: int) -> int:
        return DEAD

    def _expand(self, items: frozenset[Item]) -> set[Item]:
        """The items, and the beginnings of all places that may follow them without a byte between."""
        found = set(items)
        open_items = list(items)
        while open_items:
            place, inner = open_items.pop()
            if self._places.part(place).is_accepting(inner):
                for next_place in self._places.after(place, inner):
                    item = (next_place, self._places.part(next_place).automaton.start)
                    if item not in found:
                        found.add(item)
                        open_items.append(item)
        if len(found) > _MOST_ITEMS:
            raise ConstraintLimitError(f"more than {_MOST_ITEMS} ways to read one text; make the parts less ambiguous")
        return found

    def _may_end(self, place: int, inner: int) -> bool:
        """Whether the part's local may be accepting in some context. Parts with a stack are not asked: it may."""
        automaton = self._places.part(place).automaton
        may_end = getattr(automaton, "may_end", None)
        return True if may_end is None else bool(may_end(inner))

    def _first_bytes(self, place: int, inner: int) -> NDArray[np.bool_]:
        """[256] whether a byte may begin what follows the part."""
        live = np.zeros(256, dtype=np.bool_)
        for next_place, start in self._expand_after(place, inner):
            live |= self._places.part(next_place).row(start) != DEAD
        return live

    def _expand_after(self, place: int, inner: int) -> set[Item]:
        follow = ((p, self._places.part(p).automaton.start) for p in self._places.after(place, inner))
        return self._expand(frozenset(follow))

    def _items_of(self, state: int) -> frozenset[Item]:
        held = self._items[state & LOCAL_MASK]
        return held if isinstance(held, frozenset) else frozenset({(held[0], pack(state >> 32, held[1]))})

    def _state(self, items: frozenset[Item]) -> int:
        if len(items) == 1:
            ((place, inner),) = items
            return pack(inner >> 32, self._local((place, inner & LOCAL_MASK)))
        return self._local(items)

    def _local(self, held: frozenset[Item] | Item) -> int:
        local = self._locals.get(held)
        if local is None:
            local = self._locals[held] = len(self._items)
            if local >= self._limits.states:
                raise ConstraintLimitError(f"the composition has more than {self._limits.states} states")
            self._items.append(held)
            if local == len(self.table):
                self.table = np.concatenate([self.table, np.full_like(self.table, UNFILLED)])
                self.exits = np.concatenate([self.exits, np.zeros_like(self.exits)])
            places = [place for place, _ in held] if isinstance(held, frozenset) else [held[0]]
            self.remembers |= any(self._places.part(place).remembers for place in places)
        return local

    def _exit_class(self, held: frozenset[Item] | Item) -> int:
        """Lone locals that cannot end a part cross as the part's own locals do; others each in their own way."""
        key: Hashable = held
        if not isinstance(held, frozenset) and not self._may_end(*held):
            key = ("part", held[0], int(self._places.part(held[0]).automaton.exits[held[1]]))
        return self._exits.setdefault(key, len(self._exits) + 1)
