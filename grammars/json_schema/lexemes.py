"""The lexemes of JSON: what a byte does inside one, whatever is around it.

A lexeme is a small automaton with states of its own (see `rows`). Where it ends, its row says CROSS, and an *exit* says
what ended:

    ("value",) ("item or end",) ("name",) ("name or end",) ("next",) ("end",)      a gap between lexemes
    ("string", goals) ("number", goals) ("literal", goals, byte)                    bits of the goals that the value met
    ("key", name)                                                                   which property name was written

Comes in: languages and number sets. Goes out: rows. Knows no schema, no stack.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from grammars.arrays import distinct_columns
from grammars.automaton import CROSS, DEAD
from grammars.json_schema.escapes import QUOTE, EscapedText
from grammars.json_schema.rows import Block, Exit, Few, Lexeme, Line

COMMA, COLON, MINUS = b",:-"
OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY = b"{}[]"
SPACE, TAB, LINE_FEED, CARRIAGE_RETURN = b" \t\n\r"
SPACES = (SPACE, TAB, LINE_FEED, CARRIAGE_RETURN)
AFTER_VALUE = (COMMA, CLOSE_OBJECT, CLOSE_ARRAY, *SPACES)
VALUE_STARTS = (*b'"-0123456789tfn[{',)

MAX_INDENT = 128
"""Longest run of white space."""


class Automaton(Protocol):
    """What `Language`, `NumberText`, `StringLexeme` have in common."""

    start: int

    def row(self, state: int) -> NDArray[np.int32]: ...
    def is_accepting(self, state: int) -> bool: ...
    def min_bytes(self, state: int) -> int: ...
    def witness(self, state: int) -> bytes: ...


class Told:
    """A lexeme whose `rows` tell all: no row is asked for by itself, no slice and no byte stand for others."""

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        raise AssertionError("`rows` tells all")

    def passed_on(self) -> Sequence[tuple[int, Lexeme, int]]:
        return ()

    def slice_key(self, state: int) -> Hashable | None:
        return None

    def canonical_byte(self, state: int) -> int:
        return DEAD


class Gap(Told):
    """White space, then something else.

    spaces: "none"; "one" (or none); "line" (nothing, or a line break and indentation); "one or line"; "any" run.
    ends: the bytes that end it; then: bytes that lead to another gap of the same context, by its first state.
    State 0 is before any white space, 1 after one space, 2 + n inside a run of n bytes of indentation.
    """

    def __init__(self, spaces: str, ends: Sequence[int], meaning: Exit | None) -> None:
        self._spaces = spaces
        self._ends = dict.fromkeys(ends, CROSS)
        self.meaning = meaning
        self.breaks_line = LINE_FEED in self._ends

    def rows(self, state: int) -> tuple[Few]:
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
        return (Few(state, DEAD, nexts | self._ends, self.meaning),)


class Colon(Told):
    """After a name: a colon, then the gap before the value, whose states are moved up by one run of white space."""

    def __init__(self, before: bool, gap: Gap) -> None:
        self._before = before
        self._gap = gap
        self.offset = MAX_INDENT + 4

    def rows(self, state: int) -> tuple[Few]:
        if state >= self.offset:
            (found,) = self._gap.rows(state - self.offset)
            moved = {byte: after + self.offset if after >= 0 else after for byte, after in found.nexts.items()}
            return (Few(state, DEAD, moved, found.exit),)
        nexts = {COLON: self.offset}
        if self._before and state < MAX_INDENT:
            nexts |= dict.fromkeys(SPACES, state + 1)
        return (Few(state, DEAD, nexts, None),)


class Literal(Told):
    """The rest of `true`, `false` or `null` after its first byte. State: bytes read."""

    def __init__(self, text: bytes, met: int) -> None:
        self.text, self._met = text, met

    def rows(self, state: int) -> list[Few]:
        last = len(self.text) - 1
        found = [Few(at, DEAD, {self.text[at]: at + 1}, None) for at in range(state, last)]
        return [*found, Few(last, DEAD, {self.text[last]: CROSS}, ("literal", self._met, self.text[last]))]

    def endings(self, state: int) -> list[tuple[int, bytes]]:
        """(bits of goals met, rest of the text) of each way to end."""
        return [(self._met, self.text[state:])]

    def lengths(self, state: int) -> list[tuple[int, int]]:
        """As `endings`, but how long the texts are."""
        return [(self._met, len(self.text) - state)]


class Parallel:
    """Several automata over the same bytes.

    met: by automaton, the goals, as bits, that its texts meet. closes: whether a quote ends it (strings), or what
    follows it does.
    Where only one automaton is left, the text goes on in the lexeme of that one, which has rows made together, slices
    and so on: see `Lexeme.passed_on`.
    """

    def __init__(self, met: Mapping[Automaton, int], closes: bool) -> None:
        self._automata = tuple(met)
        self._met = tuple(met.values())
        self.closes = closes
        self._states: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self._alone: dict[int, Parallel] = {}
        self._passed_on: list[tuple[int, Lexeme, int]] = []
        self.start = self._number(tuple(automaton.start for automaton in met))

    def _number(self, states: tuple[int, ...]) -> int:
        if len(self._automata) == 1:
            return states[0]
        found = self._numbers.get(states)
        if found is None:
            found = self._numbers[states] = len(self._states)
            self._states.append(states)
            live = [place for place, state in enumerate(states) if state >= 0]
            if len(live) == 1:
                self._passed_on.append((found, self._lone(live[0]), states[live[0]]))
        return found

    def _lone(self, place: int) -> Parallel:
        """The lexeme of one of the automata."""
        if place not in self._alone:
            self._alone[place] = Parallel({self._automata[place]: self._met[place]}, self.closes)
        return self._alone[place]

    def _parts(self, state: int) -> tuple[int, ...]:
        return (state,) if len(self._automata) == 1 else self._states[state]

    def rows(self, state: int) -> Sequence[Few | Line | Block]:
        lone = self._automata[0]
        if len(self._automata) > 1 or not isinstance(lone, EscapedText):
            return ()
        exit_: Exit = ("string", self._met[0])
        block = lone.together(state)
        if block is not None:
            block.rows[block.ends, QUOTE] = DEAD
            return (Block(*block, exit_),)
        few, chains = lone.spread(state)
        found: list[Few | Line] = [Line(chain, exit_) for chain in chains]
        for here, like, nexts in few:
            if not lone.is_accepting(nexts.get(QUOTE, DEAD)):
                found.append(Few(here, like, nexts, None))
            else:
                nexts[QUOTE] = CROSS
                found.append(Few(here, like, nexts, exit_))
        return found

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        if len(self._automata) == 1:
            return self._lone_row(state)
        parts = self._parts(state)
        nothing = np.full(256, DEAD, np.int32)
        rows = np.stack([a.row(s) if s >= 0 else nothing for a, s in zip(self._automata, parts, strict=True)])
        met = 0
        for goals, automaton, part, row in zip(self._met, self._automata, parts, rows, strict=True):
            end = int(row[QUOTE]) if self.closes else part
            if end >= 0 and automaton.is_accepting(end):
                met |= goals
                row[QUOTE] = DEAD
        crossing = (QUOTE,) if self.closes else AFTER_VALUE
        meaning: Exit = ("string" if self.closes else "number", met)
        return self._joined(rows), crossing if met else (), meaning if met else None

    def _lone_row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        """As `row`, of a single automaton."""
        automaton, met = self._automata[0], self._met[0]
        row = automaton.row(state)
        end = int(row[QUOTE]) if self.closes else state
        if end < 0 or not automaton.is_accepting(end):
            return row, (), None
        if not self.closes:
            return row, AFTER_VALUE, ("number", met)
        return row, (QUOTE,), ("string", met)

    def _joined(self, rows: NDArray[np.int32]) -> NDArray[np.int32]:
        """The states after each byte, from those of all parts."""
        several, places = distinct_columns(rows)
        joined = [self._number(states) if max(states) >= 0 else DEAD for states in several]
        return np.array(joined, np.int32)[places]

    def passed_on(self) -> Sequence[tuple[int, Lexeme, int]]:
        taken, self._passed_on = self._passed_on, []
        return taken

    def is_accepting(self, state: int) -> bool:
        """Whether a number may end here."""
        return any(s >= 0 and a.is_accepting(s) for a, s in zip(self._automata, self._parts(state), strict=True))

    def endings(self, state: int) -> list[tuple[int, bytes]]:
        """(bits of goals met, rest of the text) of a shortest way to meet each goal."""
        parts = zip(self._met, self._automata, self._parts(state), strict=True)
        return [(met, automaton.witness(part)) for met, automaton, part in parts if part >= 0]

    def lengths(self, state: int) -> list[tuple[int, int]]:
        """As `endings`, but how long the texts are."""
        parts = zip(self._met, self._automata, self._parts(state), strict=True)
        return [(met, automaton.min_bytes(part)) for met, automaton, part in parts if part >= 0]

    def slice_key(self, state: int) -> Hashable | None:
        if len(self._automata) != 1:
            return None
        name = getattr(self._automata[0], "slice_key", None)
        return None if name is None else name(state)

    def canonical_byte(self, state: int) -> int:
        lone = self._automata[0] if len(self._automata) == 1 else None
        return lone.canonical_byte(state) if isinstance(lone, EscapedText) else DEAD


class Shut(Told):
    """The beginning of a value, where the token that began it has to end: no byte leads on by the tables.

    meaning: what crossing means in the place that this stands for. behind: the string that has been opened, if one has.
    """

    def __init__(self, meaning: Exit | None, behind: Parallel | None) -> None:
        self.meaning = meaning
        self.behind = behind

    def rows(self, state: int) -> tuple[Few]:
        return (Few(state, DEAD, {}, self.meaning),)
