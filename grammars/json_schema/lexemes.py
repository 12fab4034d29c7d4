"""The rows of the machine's table: what a byte does inside one lexeme of JSON, whatever is around it.

A lexeme is a small automaton with states of its own. Where it ends, its row says CROSS, and an *exit* says what ended:

    ("value",) ("item or end",) ("name",) ("name or end",) ("next",) ("end",)      a gap between lexemes
    ("string", goals) ("number", goals) ("literal", goals, byte)                    bits of the goals that the value met
    ("key", name)                                                                   which property name was written

Comes in: languages and number sets. Goes out: rows. Knows no schema, no stack.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

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

_SEVERAL = 6
"""More rows than this are filled together"""

_DEAD_ROW = np.full(256, DEAD, np.int32)


class Few(NamedTuple):
    """The row of a state in which few bytes are alive, or in which few differ from another row.

    like:  the state whose row it is but for `nexts`; DEAD: all other bytes are dead
    nexts: byte -> next state, DEAD or CROSS
    exit:  what crossing means
    """

    state: int
    like: int
    nexts: dict[int, int]
    exit: Exit | None


class Block(NamedTuple):
    """Rows that are made together.

    states: [n]; nexts: [n, 256] their next states or DEAD; ends: [n] whether the quote crosses; exit: what that means
    """

    states: NDArray[np.int32]
    nexts: NDArray[np.int32]
    ends: NDArray[np.bool_]
    exit: Exit


class Lexeme(Protocol):
    """One kind of lexeme. States are integers of its own."""

    def few(self, state: int) -> Sequence[Few]:
        """The row by its few live bytes or by its difference to another, and others that are as well made with it.

        None at all: ask `row`.
        """
        ...

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        """(next states or DEAD [256], the bytes that cross, what crossing means). Need not answer where `few` does."""
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
        first = len(self._rows)
        self._rows.extend([(lexeme, state) for state in states])
        while len(self._rows) > len(self.table):
            self._grow()
        self.table[first : len(self._rows)] = UNFILLED

    def _map(self, lexeme: Lexeme, highest: int) -> NDArray[np.int32]:
        """state -> local, for the states of a lexeme up to `highest` at least. DEAD and CROSS look up the last two."""
        mapped = self._mapped.get(id(lexeme))
        if mapped is None or highest >= len(mapped) - 2:
            longer = np.full(2 * highest + 32, UNFILLED, np.int32)
            longer[DEAD], longer[CROSS] = DEAD, CROSS
            if mapped is not None:
                longer[: len(mapped) - 2] = mapped[:-2]
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
        few = lexeme.few(state)
        if len(few) > _SEVERAL:
            self._fill_few(lexeme, few)
        elif few:
            for part in few:
                self._put(self.local(lexeme, part.state), self._from_few(lexeme, part), part.exit)
        elif not self._fill_together(lexeme, state):
            nexts, crossing, meaning = lexeme.row(state)
            row = self._numbered(lexeme, nexts)
            for byte in crossing:
                row[byte] = CROSS
            self._put(local, row, meaning)

    def _put(self, local: int, row: NDArray[np.int32], meaning: Exit | None) -> None:
        if meaning is not None:
            self.exits[local] = self._exit_number(meaning)
        self.table[local] = row

    def _fill_few(self, lexeme: Lexeme, few: Sequence[Few]) -> None:
        """Fill many rows in few steps."""
        for like in {part.like for part in few} - {DEAD}:
            model = self.local(lexeme, like)
            if self.table[model, 0] == UNFILLED:
                self.fill(model)
        likes = self._numbered(lexeme, np.array([part.like for part in few], np.int32))
        locals_ = self._numbered(lexeme, np.array([part.state for part in few], np.int32))
        places = [place for place, part in enumerate(few) for _ in part.nexts]
        bytes_ = [byte for part in few for byte in part.nexts]
        nexts = self._numbered(lexeme, np.array([after for part in few for after in part.nexts.values()], np.int32))
        table = self.table
        table[locals_] = DEAD
        alike = likes != DEAD
        if alike.any():
            table[locals_[alike]] = table[likes[alike]]
        table[locals_[places], bytes_] = nexts
        for local, part in zip(locals_.tolist(), few, strict=True):
            if part.exit is not None:
                self.exits[local] = self._exit_number(part.exit)

    def _fill_together(self, lexeme: Lexeme, state: int) -> bool:
        """Fill the row with all that are made with it, if it is such a lexeme's."""
        block = lexeme.together(state) if isinstance(lexeme, Parallel) else None
        if block is None or int(block.nexts.max()) >= MAPPED_STATES or int(block.states[-1]) >= MAPPED_STATES:
            return False
        locals_ = self._numbered(lexeme, block.states)  # first, so that few are left to number in the rows
        rows = self._numbered(lexeme, block.nexts)
        rows[block.ends, QUOTE] = CROSS
        self.exits[locals_[block.ends]] = self._exit_number(block.exit)
        self.table[locals_] = rows
        return True

    def _from_few(self, lexeme: Lexeme, few: Few) -> NDArray[np.int32]:
        if few.like == DEAD:
            row = _DEAD_ROW.copy()
        else:
            model = self.local(lexeme, few.like)
            if self.table[model, 0] == UNFILLED:
                self.fill(model)
            row = self.table[model].copy()
        for byte, following in few.nexts.items():
            row[byte] = following if following < 0 else self.local(lexeme, following)
        return row

    def _numbered(self, lexeme: Lexeme, nexts: NDArray[np.int32]) -> NDArray[np.int32]:
        """The locals of the states `nexts`, which may be DEAD or CROSS; one look-up for all."""
        highest = int(nexts.max(initial=0))
        if highest >= MAPPED_STATES:
            row = nexts.copy()
            row[nexts >= 0] = [self.local(lexeme, state) for state in nexts[nexts >= 0].tolist()]
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
        table = np.empty((2 * len(self.table), 256), np.int32)  # memory is not touched before there are rows
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
        self._ends = dict.fromkeys(ends, CROSS)
        self._meaning = meaning
        self.breaks_line = LINE_FEED in self._ends

    def few(self, state: int) -> tuple[Few]:
        nexts: dict[int, int] = {}
        length = state - 2
        if self._spaces == "any":
            length = max(0, length)
            if length < MAX_INDENT:
                nexts = dict.fromkeys(SPACES, length + 3)
        elif state == 0:
            if self._spaces.startswith("one"):
                nexts[SPACE] = 1
            if self._spaces.endswith("line"):
                nexts[LINE_FEED] = 2
        elif state >= 2 and length < MAX_INDENT:
            nexts = {SPACE: state + 1, TAB: state + 1}
        return (Few(state, DEAD, nexts | self._ends, self._meaning),)

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        raise AssertionError("`few` tells all")

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

    def few(self, state: int) -> tuple[Few]:
        if state >= self.offset:
            (found,) = self._gap.few(state - self.offset)
            moved = {byte: after + self.offset if after >= 0 else after for byte, after in found.nexts.items()}
            return (Few(state, DEAD, moved, found.exit),)
        nexts = {COLON: self.offset}
        if self._before and state < MAX_INDENT:
            nexts |= dict.fromkeys(SPACES, state + 1)
        return (Few(state, DEAD, nexts, None),)

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        raise AssertionError("`few` tells all")

    def slice_key(self, state: int) -> Hashable | None:
        return None

    def canonical_byte(self, state: int) -> int:
        return DEAD


class Literal:
    """The rest of `true`, `false` or `null` after its first byte. State: bytes read."""

    def __init__(self, text: bytes, met: int) -> None:
        self.text, self._met = text, met

    def few(self, state: int) -> list[Few]:
        last = len(self.text) - 1
        found = [Few(at, DEAD, {self.text[at]: at + 1}, None) for at in range(state, last)]
        return [*found, Few(last, DEAD, {self.text[last]: CROSS}, ("literal", self._met, self.text[last]))]

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        raise AssertionError("`few` tells all")

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

    def few(self, state: int) -> Sequence[Few]:
        lone = self._automata[0]
        if len(self._automata) > 1 or not isinstance(lone, EscapedText):
            return ()
        found = []
        for here, like, nexts in lone.spread(state):
            if not lone.is_accepting(nexts.get(QUOTE, DEAD)):
                found.append(Few(here, like, nexts, None))
            else:
                nexts[QUOTE] = CROSS
                found.append(Few(here, like, nexts, ("string", 1 << self._goals[0])))
        return found

    def together(self, state: int) -> Block | None:
        """The rows that are as fast made together with that of `state`."""
        lone = self._automata[0]
        if len(self._automata) > 1 or not isinstance(lone, EscapedText) or (found := lone.together(state)) is None:
            return None
        states, nexts = found
        ends = np.array([end >= 0 and lone.is_accepting(end) for end in nexts[:, QUOTE].tolist()])
        nexts[ends, QUOTE] = DEAD
        return Block(states, nexts, ends, ("string", 1 << self._goals[0]))

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
        """The states after each byte, from those of all parts."""
        found: dict[bytes, int] = {}
        columns = np.ascontiguousarray(rows.T)
        joined = np.full(256, DEAD, np.int32)
        for byte in np.flatnonzero(rows.max(axis=0) >= 0).tolist():
            content = columns[byte].tobytes()
            if content not in found:
                found[content] = self._number(tuple(columns[byte].tolist()))
            joined[byte] = found[content]
        return joined

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
