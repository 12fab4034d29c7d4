"""The rows of property names: which names may be written in a frame, as one automaton that tells them apart at their
end.

Where names that nobody lists are welcome, any text can still become one of them, so all frames of the same plans
share one automaton, and the frame refuses at the closing quote what it has had. Otherwise the automaton knows just
the names that may come, so that no name is begun that could not be ended.

Comes in: frames. Goes out: rows of the table. Knows no values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import CROSS, DEAD
from grammars.json_schema.escapes import BACKSLASH, NO_CLASS, QUOTE
from grammars.json_schema.frames import Frames, Name, ObjectFrame
from grammars.json_schema.plans import Cell
from grammars.json_schema.rows import Exit, Few, Lexeme, Line, Rows
from grammars.json_schema.strings import KeyLexeme
from grammars.regex import Language

NO_PATTERN: Cell = frozenset()


class Keys:
    """The names of one frame as a lexeme. Its exit says which."""

    def __init__(self, others: Mapping[Cell, Language], remembers: bool) -> None:
        self._lexeme = KeyLexeme(tuple(others.values()))
        self._cells = tuple(others)
        self.is_open = remembers and bool(others)
        """Whether it has names that no plan lists."""
        self._next: dict[int, tuple[Name | None, list[tuple[bytes, int]]]] = {}

    def before(self, names: Iterable[str], allowed: Collection[Name] | None) -> int:
        """The state before a name, out of these or not listed; None: all may come."""
        if allowed is None:
            return self._lexeme.before(names)
        shut = [place for place, cell in enumerate(self._cells) if cell not in allowed]
        return self._lexeme.before(names, {name for name in names if name not in allowed}, shut)

    def _name(self, state: int) -> Name | None:
        """The name, or the cell of the name, that has been closed."""
        found = self._lexeme.class_of(state)
        if found == NO_CLASS:
            return None
        return self._cells[found] if found < len(self._cells) else self._lexeme.name(found)

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        row = self._lexeme.row(state)
        name = self._name(int(row[QUOTE]))
        if name is None:
            return row, (), None
        row = row.copy()
        row[QUOTE] = DEAD
        return row, (QUOTE,), ("key", name)

    def rows(self, state: int) -> Sequence[Few | Line]:
        few, chains = self._lexeme.spread(state)
        found: list[Few | Line] = [Line(chain, ("key", self._name(chain.end))) for chain in chains]
        for here, like, nexts in few:
            end = nexts.get(QUOTE, DEAD)
            name = None if end == DEAD else self._name(end)
            if name is None:
                found.append(Few(here, like, nexts, None))
            else:
                nexts[QUOTE] = CROSS
                found.append(Few(here, like, nexts, ("key", name)))
        return found

    def passed_on(self) -> Sequence[tuple[int, Lexeme, int]]:
        return ()

    def slice_key(self, state: int) -> Hashable | None:
        return self._lexeme.slice_key(state)

    def canonical_byte(self, state: int) -> int:
        return self._lexeme.canonical_byte(state)

    def search(self, state: int, cost: Callable[[Name], int | None], floor: int) -> tuple[int, bytes, Name] | None:
        """(length, rest of the name with its quote, name) of the completion that is cheapest with what `cost` adds.

        `floor`: what it adds at least.
        """
        best: tuple[int, bytes, Name] | None = None
        seen, queue = {state}, deque([(state, b"")])
        while queue:
            here, text = queue.popleft()
            if best is not None and len(text) + 1 + floor >= best[0]:
                break
            name, onward = self._onward(here)
            if name is not None:
                more = cost(name)
                if more is not None and (best is None or len(text) + 1 + more < best[0]):
                    best = (len(text) + 1 + more, text + b'"', name)
            for byte, following in onward:
                if following not in seen:
                    seen.add(following)
                    queue.append((following, text + byte))
        return best

    def _onward(self, state: int) -> tuple[Name | None, list[tuple[bytes, int]]]:
        """The name that may end in a state, and for each state after it a byte that leads there: those that a shortest
        way may take."""
        found = self._next.get(state)
        if found is None:
            row, _, meaning = self.row(state)
            if not self._lexeme.needs_escape(state):
                row = row.copy()
                row[BACKSLASH] = DEAD
            states, bytes_ = np.unique(row, return_index=True)
            onward = [(bytes((byte,)), after) for after, byte in zip(states.tolist(), bytes_.tolist(), strict=True)]
            name: Name | None = None if meaning is None else meaning[1]  # type: ignore[assignment]
            found = self._next[state] = (name, [(byte, after) for byte, after in onward if after >= 0])
        return found


class KeyRows:
    """Where the names of a frame begin in the table."""

    def __init__(self, frames: Frames, rows: Rows) -> None:
        self._frames = frames
        self._rows = rows
        self._keys: dict[object, Keys] = {}
        self._locals: dict[int, int | None] = {}

    def local(self, frame: ObjectFrame) -> int | None:
        """The row after the opening quote of a name; None if no name may come."""
        if frame.number not in self._locals:
            self._locals[frame.number] = self._local(frame)
        return self._locals[frame.number]

    def _local(self, frame: ObjectFrame) -> int | None:
        names, cells = self._frames.names(frame)
        wide = len(cells) == 1 and NO_PATTERN in cells and self._frames.has_member(frame, NO_PATTERN)
        allowed: frozenset[Name] | None = None
        if not wide:
            every: tuple[Name, ...] = (*self._frames.listed(frame), *cells)
            if any(state[4] for _, _, state in frame.alternatives):
                every = (*names, *cells)
            allowed = frozenset([name for name in every if self._frames.has_member(frame, name)])
            if not allowed:
                return None
            if allowed.isdisjoint(cells):
                cells = {}
        key = tuple((cell, language.key) for cell, language in cells.items())
        if key not in self._keys:
            self._keys[key] = Keys(cells, self._frames.remembers)
        keys = self._keys[key]
        return self._rows.local(keys, keys.before(names, allowed))
