"""The rows of the machine's table: what a byte does inside one lexeme of JSON, whatever is around it.

A lexeme is a small automaton with states of its own. Where it ends, its row says CROSS, and an *exit* says what ended:

    ("value",) ("item or end",) ("name",) ("name or end",) ("next",) ("end",)      a gap between lexemes
    ("string", goals) ("number", goals) ("literal", goals, byte)                    bits of the goals that the value met
    ("key", name)                                                                   which property name was written

Comes in: languages and number sets. Goes out: rows. Knows no schema, no stack.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import CROSS, DEAD, UNFILLED
from grammars.json_schema.escapes import EscapedText

Exit = tuple[Hashable, ...]

QUOTE, COMMA, COLON, MINUS = b'",:-'
OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = b"{}[]"
SPACE, TAB, LINE_FEED, CARRIAGE_RETURN = b" \t\n\r"
SPACES = (SPACE, TAB, LINE_FEED, CARRIAGE_RETURN)
AFTER_VALUE = (COMMA, CLOSE_OBJECT, CLOSE_ARRAY, *SPACES)
VALUE_STARTS = (*b'"-0123456789tfn[{',)

MAPPED_STATES = 1 << 16
"""Lexemes with higher states than this look their locals up one by one."""

MAX_INDENT = 128
"""Longest run of white space."""


class Lexeme(Protocol):
    """One kind of lexeme. States are integers of its own."""

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        """(next states or DEAD [256], the bytes that cross, what crossing means)."""
        ...

    def slice_key(self, state: int) -> Hashable | None:
        """See `ByteAutomaton.slice_key`."""
        ...

    def canonical_byte(self, state: int) -> int:
        """See `ByteAutomaton.canonical_byte`."""
        ...


class Automaton(Protocol):
    """What `Language`, `NumberText`, `StringLexeme` have in common."""

    start: int

    def row(self, state: int) -> NDArray[np.int32]: ...
    def is_accepting(self, state: int) -> bool: ...
    def witness(self, state: int) -> bytes: ...


class Rows:
    """The table: rows of all lexemes of one machine, numbered as they are reached."""

    def __init__(self) -> None:
        self.table: NDArray[np.int32] = np.full((64, 256), UNFILLED, np.int32)
        self.exits: NDArray[np.int32] = np.zeros(64, np.int32)
        self._rows: list[tuple[Lexeme, int]] = []
        self._locals: dict[tuple[int, int], int] = {}
        self._keep: dict[int, Lexeme] = {}
        self._mapped: dict[int, NDArray[np.int32]] = {}
        """by lexeme: state -> local, UNFILLED where it has none yet; states beyond MAPPED_STATES are in `_locals`"""
        self._exit_numbers: dict[Exit, int] = {}
        self._exits: list[Exit] = [()]

    def __len__(self) -> int:
        return len(self._rows)

    def local(self, lexeme: Lexeme, state: int) -> int:
        """The row of a state of a lexeme."""
        if state < MAPPED_STATES:
            mapped = self._map(lexeme, state)
            found = int(mapped[state])
            if found == UNFILLED:
                found = mapped[state] = len(self._rows)
                self._add(lexeme, [state])
            return found
        key = (id(lexeme), state)
        other = self._locals.get(key)
        if other is None:
            other = self._locals[key] = len(self._rows)
            self._add(lexeme, [state])
        return other

    def _add(self, lexeme: Lexeme, states: Sequence[int]) -> None:
        """Number rows for states that have none."""
        self._keep[id(lexeme)] = lexeme
        self._rows.extend([(lexeme, state) for state in states])
        while len(self._rows) > len(self.table):
            self._grow()

    def _map(self, lexeme: Lexeme, highest: int) -> NDArray[np.int32]:
        """state -> local, for the states of a lexeme up to `highest` at least. The last entry is what DEAD looks up."""
        mapped = self._mapped.get(id(lexeme))
        if mapped is None or highest >= len(mapped) - 1:
            longer = np.full(2 * highest + 32, UNFILLED, np.int32)
            longer[-1] = DEAD
            if mapped is not None:
                longer[: len(mapped) - 1] = mapped[:-1]
            mapped = self._mapped[id(lexeme)] = longer
        return mapped

    def owner(self, local: int) -> tuple[Lexeme, int]:
        """The lexeme and the state that a row is of."""
        return self._rows[local]

    def exit(self, local: int) -> Exit:
        """What crossing from a row means; () where it never crosses."""
        if self.table[local, 0] == UNFILLED:
            self.fill(local)
        return self._exits[self.exits[local]]

    def fill(self, local: int) -> None:
        lexeme, state = self._rows[local]
        nexts, crossing, meaning = lexeme.row(state)
        row = self._numbered(lexeme, nexts)
        for byte in crossing:
            row[byte] = CROSS
        if meaning is not None:
            self.exits[local] = self._exit_number(meaning)
        self.table[local] = row

    def fill_together(
        self, lexeme: Lexeme, states: Sequence[int], nexts: NDArray[np.int32], exits: Sequence[Exit | None], end: int
    ) -> None:
        """Fill the rows of many states: their next states [n, 256], and what crossing at the byte `end` means."""
        if not len(states) or int(nexts.max()) >= MAPPED_STATES:
            return
        rows = self._numbered(lexeme, nexts)
        rows[[exit is not None for exit in exits], end] = CROSS
        locals_ = [self.local(lexeme, state) for state in states]
        self.exits[locals_] = [0 if exit is None else self._exit_number(exit) for exit in exits]
        self.table[locals_] = rows

    def _numbered(self, lexeme: Lexeme, nexts: NDArray[np.int32]) -> NDArray[np.int32]:
        """The locals of the states `nexts`. One look-up for all bytes, since rows are made by the thousand."""
        highest = int(nexts.max())
        if highest >= MAPPED_STATES:
            alive = nexts[nexts >= 0]
            row = np.full(256, DEAD, np.int32)
            row[nexts >= 0] = [self.local(lexeme, state) for state in alive.tolist()]
            return row
        mapped = self._map(lexeme, highest)
        row = mapped[nexts]
        if row.min() == UNFILLED:
            fresh = list(set(nexts[row == UNFILLED].tolist()))
            mapped[fresh] = range(len(self._rows), len(self._rows) + len(fresh))
            self._add(lexeme, fresh)
            row = mapped[nexts]
        return row

    def _exit_number(self, meaning: Exit) -> int:
        number = self._exit_numbers.get(meaning)
        if number is None:
            number = self._exit_numbers[meaning] = len(self._exits)
            self._exits.append(meaning)
        return number

    def _grow(self) -> None:
        table = np.full((2 * len(self.table), 256), UNFILLED, np.int32)
        table[: len(self.table)] = self.table
        exits = np.zeros(2 * len(self.exits), np.int32)
        exits[: len(self.exits)] = self.exits
        self.table, self.exits = table, exits


class Gap:
    """White space, then something else.

    spaces: "none"; "one" (or none); "line" (nothing, or a line break and indentation); "one or line"; "any" run.
    ends: the bytes that end it; then: bytes that lead to another gap of the same context, by its first state.
    State 0 is before any white space, 1 after one space, 2 + n inside a run of n bytes of indentation.
    """

    def __init__(self, spaces: str, ends: Sequence[int], meaning: Exit | None) -> None:
        self._spaces = spaces
        self._ends = tuple(ends)
        self._meaning = meaning
        self.breaks_line = LINE_FEED in self._ends

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        row = np.full(256, DEAD, np.int32)
        length = state - 2
        if self._spaces == "any":
            length = max(0, length)
            if length < MAX_INDENT:
                row[list(SPACES)] = length + 3
        elif state == 0:
            if self._spaces.startswith("one"):
                row[SPACE] = 1
            if self._spaces.endswith("line"):
                row[LINE_FEED] = 2
        elif state >= 2 and length < MAX_INDENT:
            row[[SPACE, TAB]] = state + 1
        return row, self._ends, self._meaning

    def slice_key(self, state: int) -> Hashable | None:
        return None

    def canonical_byte(self, state: int) -> int:
        return DEAD


class Colon:
    """After a name: a colon, then the gap before the value, whose states are moved up by one run of white space."""

    def __init__(self, before: bool, gap: Gap) -> None:
        self._before = before
        self._gap = gap
        self.offset = MAX_INDENT + 4

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        if state >= self.offset:
            row, ends, meaning = self._gap.row(state - self.offset)
            return np.where(row >= 0, row + self.offset, row).astype(np.int32), ends, meaning
        row = np.full(256, DEAD, np.int32)
        row[COLON] = self.offset
        if self._before and state < MAX_INDENT:
            row[list(SPACES)] = state + 1
        return row, (), None

    def slice_key(self, state: int) -> Hashable | None:
        return None

    def canonical_byte(self, state: int) -> int:
        return DEAD


class Literal:
    """The rest of `true`, `false` or `null` after its first byte. State: bytes read."""

    def __init__(self, text: bytes, met: int) -> None:
        self.text, self._met = text, met

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        row = np.full(256, DEAD, np.int32)
        byte = self.text[state]
        if state == len(self.text) - 1:
            return row, (byte,), ("literal", self._met, byte)
        row[byte] = state + 1
        return row, (), None

    def slice_key(self, state: int) -> Hashable | None:
        return None

    def canonical_byte(self, state: int) -> int:
        return DEAD

    def endings(self, state: int) -> list[tuple[int, bytes]]:
        """(bits of goals met, rest of the text) of each way to end."""
        return [(self._met, self.text[state:])]


class Parallel:
    """Several automata over the same bytes, one for each goal that this type can meet.

    goals: the number of the goal of each automaton. closes: whether a quote ends it (strings), or what follows it does.
    """

    def __init__(self, automata: Sequence[Automaton], goals: Sequence[int], closes: bool) -> None:
        self._automata = tuple(automata)
        self._goals = tuple(goals)
        self.closes = closes
        self._states: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self.start = self._number(tuple(automaton.start for automaton in automata))

    def _number(self, states: tuple[int, ...]) -> int:
        if len(self._automata) == 1:
            return states[0]
        found = self._numbers.get(states)
        if found is None:
            found = self._numbers[states] = len(self._states)
            self._states.append(states)
        return found

    def _parts(self, state: int) -> tuple[int, ...]:
        return (state,) if len(self._automata) == 1 else self._states[state]

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        if len(self._automata) == 1:
            return self._lone_row(state)
        parts = self._parts(state)
        nothing = np.full(256, DEAD, np.int32)
        rows = np.stack([a.row(s) if s >= 0 else nothing for a, s in zip(self._automata, parts, strict=True)])
        met = 0
        for goal, automaton, part, row in zip(self._goals, self._automata, parts, rows, strict=True):
            end = int(row[QUOTE]) if self.closes else part
            if end >= 0 and automaton.is_accepting(end):
                met |= 1 << goal
                row[QUOTE] = DEAD
        crossing = (QUOTE,) if self.closes else AFTER_VALUE
        meaning: Exit = ("string" if self.closes else "number", met)
        return self._joined(rows), crossing if met else (), meaning if met else None

    def _lone_row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        """As `row`, of a single automaton."""
        automaton, goal = self._automata[0], self._goals[0]
        row = automaton.row(state)
        end = int(row[QUOTE]) if self.closes else state
        if end < 0 or not automaton.is_accepting(end):
            return row, (), None
        if not self.closes:
            return row, AFTER_VALUE, ("number", 1 << goal)
        return row, (QUOTE,), ("string", 1 << goal)

    def _joined(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        columns, places = np.unique(rows, axis=1, return_inverse=True)
        numbers = [self._number(tuple(int(s) for s in column)) if (column >= 0).any() else DEAD for column in columns.T]
        return np.array(numbers, np.int32)[places.reshape(-1)]

    def is_accepting(self, state: int) -> bool:
        """Whether a number may end here."""
        return any(s >= 0 and a.is_accepting(s) for a, s in zip(self._automata, self._parts(state), strict=True))

    def endings(self, state: int) -> list[tuple[int, bytes]]:
        """(bits of goals met, rest of the text) of a shortest way to meet each goal."""
        parts = zip(self._goals, self._automata, self._parts(state), strict=True)
        return [(1 << goal, automaton.witness(part)) for goal, automaton, part in parts if part >= 0]

    def slice_key(self, state: int) -> Hashable | None:
        if len(self._automata) != 1:
            return None
        name = getattr(self._automata[0], "slice_key", None)
        return None if name is None else name(state)

    def canonical_byte(self, state: int) -> int:
        lone = self._automata[0] if len(self._automata) == 1 else None
        return lone.canonical_byte(state) if isinstance(lone, EscapedText) else DEAD
