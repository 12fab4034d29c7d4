"""The table: rows of all lexemes of one machine, numbered as they are reached.

Comes in: lexemes, each a small automaton with states of its own. Goes out: rows of the table, and what crossing from
one means. Knows no lexeme of JSON.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from grammars.arrays import roomy
from grammars.automaton import CROSS, DEAD, UNFILLED
from grammars.json_schema import row_kernels as kernel
from grammars.json_schema.escapes import BACKSLASH, IS_RAW, QUOTE, Chain

Exit = tuple[Hashable, ...]

MAPPED_STATES = 1 << 20
"""Lexemes with higher states than this look their locals up one by one."""
_FIRST_CAPACITY = 16_384
"""Rows that there is room for at first: it takes no memory before there are rows, but to move many takes long"""
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


class Line(NamedTuple):
    """The rows along the only text that is left, and what the quote after it means."""

    chain: Chain
    exit: Exit


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

    def rows(self, state: int) -> Sequence[Few | Line | Block]:
        """The row of a state, and others that are as well made with it. None at all: ask `row`."""
        ...

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        """(next states or DEAD [256], the bytes that cross, what crossing means). Need not answer where `rows` does."""
        ...

    def passed_on(self) -> Sequence[tuple[int, Lexeme, int]]:
        """The states named since the last call that are those of another lexeme: (state, lexeme, its state)."""
        ...

    def slice_key(self, state: int) -> Hashable | None:
        """See `ByteAutomaton.slice_key`."""
        ...

    def canonical_byte(self, state: int) -> int:
        """See `ByteAutomaton.canonical_byte`."""
        ...


class Rows:
    """See the module docstring."""

    def __init__(self) -> None:
        self.table: NDArray[np.int32] = roomy((_FIRST_CAPACITY, 256), np.int32)
        self.exits: NDArray[np.int32] = roomy((_FIRST_CAPACITY,), np.int32)
        self._lexeme_of: NDArray[np.int32] = roomy((_FIRST_CAPACITY,), np.int32)
        self._state_of: NDArray[np.int64] = roomy((_FIRST_CAPACITY,), np.int64)
        self._count = 0
        self._lexemes: list[Lexeme] = []
        self._numbers: dict[int, int] = {}
        """by id of a lexeme: its place in `_lexemes`"""
        self._maps: list[NDArray[np.int32]] = []
        """by lexeme: see `row_kernels`; states beyond MAPPED_STATES are in `_locals`"""
        self._locals: dict[tuple[int, int], int] = {}
        self._exit_numbers: dict[Exit, int] = {}
        self._exits: list[Exit] = [()]

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Memory that the rows take."""
        return self._count * self.table[0].nbytes

    def local(self, lexeme: Lexeme, state: int) -> int:
        """The row of a state of a lexeme."""
        number = self._number_of(lexeme)
        if state < MAPPED_STATES:
            mapped = self._map(number, state)
            found = int(mapped[state])
            if found == UNFILLED:
                found = mapped[state] = self._add(number, state)
            return found
        key = (number, state)
        other = self._locals.get(key)
        if other is None:
            other = self._locals[key] = self._add(number, state)
        return other

    def owner(self, local: int) -> tuple[Lexeme, int]:
        """The lexeme and the state that a row is of."""
        return self._lexemes[self._lexeme_of[local]], int(self._state_of[local])

    def exit(self, local: int) -> Exit:
        """What crossing from a row means; () where it never crosses."""
        if self.table[local, 0] == UNFILLED:
            self.fill(local)
        return self._exits[self.exits[local]]

    # -- numbering -------------------------------------------------------------------------------

    def _number_of(self, lexeme: Lexeme) -> int:
        number = self._numbers.get(id(lexeme))
        if number is None:
            number = self._numbers[id(lexeme)] = len(self._lexemes)
            self._lexemes.append(lexeme)
            self._maps.append(_empty_map(0))
        for state, other, its_state in lexeme.passed_on():
            self._map(number, state)[state] = self.local(other, its_state)
        return number

    def _add(self, lexeme: int, state: int) -> int:
        """Number the row of a state that has none."""
        local = self._count
        self._make_room(1)
        self._lexeme_of[local], self._state_of[local] = lexeme, state
        self.table[local] = UNFILLED
        self._count += 1
        return local

    def _make_room(self, rows: int) -> None:
        while self._count + rows > len(self.table):
            capacity = 4 * len(self.table)
            self.table, self.exits = _longer(self.table, capacity), _longer(self.exits, capacity)
            self._lexeme_of, self._state_of = _longer(self._lexeme_of, capacity), _longer(self._state_of, capacity)

    def _map(self, lexeme: int, highest: int) -> NDArray[np.int32]:
        """The map of a lexeme for its states up to `highest` at least."""
        mapped = self._maps[lexeme]
        if highest >= len(mapped) - 2:
            longer = _empty_map(2 * highest)
            longer[: len(mapped) - 2] = mapped[:-2]
            mapped = self._maps[lexeme] = longer
        return mapped

    def _numbered(self, lexeme: Lexeme, states: NDArray[np.int32]) -> NDArray[np.int32]:
        """The locals of states, which may be DEAD or CROSS; one look-up for all."""
        number, flat, found = self._number_of(lexeme), states.reshape(-1), np.empty(states.shape, np.int32)
        while True:
            self._count, short = kernel.number(
                self._maps[number],
                flat,
                found.reshape(-1),
                self._count,
                number,
                self.table,
                self._lexeme_of,
                self._state_of,
            )
            if short == 0:
                return found
            if short < 0:
                self._make_room(1)
            elif short < MAPPED_STATES:
                self._map(number, short)
            else:
                return self._numbered_singly(lexeme, states)

    def _numbered_singly(self, lexeme: Lexeme, states: NDArray[np.int32]) -> NDArray[np.int32]:
        """The same where some states are too high for a map."""
        distinct, places = np.unique(states, return_inverse=True)
        locals_ = [state if state < 0 else self.local(lexeme, state) for state in distinct.tolist()]
        return np.array(locals_, np.int32)[places].reshape(states.shape)

    def _exit_number(self, meaning: Exit) -> int:
        number = self._exit_numbers.get(meaning)
        if number is None:
            number = self._exit_numbers[meaning] = len(self._exits)
            self._exits.append(meaning)
        return number

    # -- filling ---------------------------------------------------------------------------------

    def fill(self, local: int) -> None:
        """Fill a row, and those that are as well made with it."""
        lexeme, state = self.owner(local)
        found = lexeme.rows(state)
        few: list[Few] = []
        lines: list[Line] = []
        for part in found:
            if isinstance(part, Few):
                few.append(part)
            elif isinstance(part, Line):
                lines.append(part)
            else:
                self._fill_block(lexeme, part)
        if lines:
            self._fill_lines(lexeme, lines)
        if len(few) > _SEVERAL:
            self._fill_few(lexeme, few)
        else:
            for part in few:
                self._put(self.local(lexeme, part.state), self._from_few(lexeme, part), part.exit)
        if not found:
            nexts, crossing, meaning = lexeme.row(state)
            row = self._numbered(lexeme, nexts)
            for byte in crossing:
                row[byte] = CROSS
            self._put(local, row, meaning)

    def _put(self, local: int, row: NDArray[np.int32], meaning: Exit | None) -> None:
        if meaning is not None:
            self.exits[local] = self._exit_number(meaning)
        self.table[local] = row

    def _filled(self, lexeme: Lexeme, states: Sequence[int]) -> NDArray[np.int32]:
        """The locals of states, or DEAD, their rows filled."""
        for state in set(states) - {DEAD}:
            local = self.local(lexeme, state)
            if self.table[local, 0] == UNFILLED:
                self.fill(local)
        return self._numbered(lexeme, np.array(states, np.int32))

    def _fill_lines(self, lexeme: Lexeme, lines: Sequence[Line]) -> None:
        """Fill the rows along texts. Between two texts stands the quote that ends one."""
        chains = [line.chain for line in lines]
        likes = self._filled(lexeme, [chain.like for chain in chains])
        text = b"".join([chain.text + b'"' for chain in chains])
        states = [at for chain in chains for at in range(chain.first, chain.first + 2 * len(chain.text) + 1, 2)]
        escapes = [after for chain in chains for after in (*chain.escapes, CROSS)]
        both = self._numbered(lexeme, np.array([states, escapes], np.int32))
        kernel.write_lines(
            self.table, self.exits, both[0], likes, np.frombuffer(text, np.uint8), both[1], IS_RAW, QUOTE, BACKSLASH
        )
        ends = both[0][both[1] == CROSS]
        self.exits[ends] = [self._exit_number(line.exit) for line in lines]

    def _fill_few(self, lexeme: Lexeme, few: Sequence[Few]) -> None:
        """Fill many rows in few steps."""
        likes = self._filled(lexeme, [part.like for part in few])
        locals_ = self._numbered(lexeme, np.array([part.state for part in few], np.int32))
        places = np.array([place for place, part in enumerate(few) for _ in part.nexts], np.int32)
        bytes_ = np.array([byte for part in few for byte in part.nexts], np.int32)
        nexts = self._numbered(lexeme, np.array([after for part in few for after in part.nexts.values()], np.int32))
        kernel.write_few(self.table, locals_, likes, places, bytes_, nexts)
        for local, part in zip(locals_.tolist(), few, strict=True):
            if part.exit is not None:
                self.exits[local] = self._exit_number(part.exit)

    def _fill_block(self, lexeme: Lexeme, block: Block) -> None:
        locals_ = self._numbered(lexeme, block.states)  # first, so that few are left to number in the rows
        rows = self._numbered(lexeme, block.nexts)
        rows[block.ends, QUOTE] = CROSS
        self.exits[locals_[block.ends]] = self._exit_number(block.exit)
        self.table[locals_] = rows

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


def _empty_map(states: int) -> NDArray[np.int32]:
    mapped = np.full(states + 32, UNFILLED, np.int32)
    mapped[DEAD], mapped[CROSS] = DEAD, CROSS
    return mapped


def _longer(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    longer = roomy((capacity, *array.shape[1:]), array.dtype.type)
    longer[: len(array)] = array
    return longer
