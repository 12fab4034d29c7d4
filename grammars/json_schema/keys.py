"""The rows of property names: which names may be written in a frame, as one automaton that tells them apart at their
end.

Where names that nobody lists are welcome, any text can still become one of them, so all frames of the same plans
share one automaton, and the frame refuses at the closing quote what it has had. Otherwise the automaton knows just
the names that may come, so that no name is begun that could not be ended.

Comes in: frames. Goes out: rows of the table. Knows no values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import CROSS, DEAD
from grammars.json_schema.frames import Frames, Name, ObjectFrame
from grammars.json_schema.lexemes import QUOTE, Exit, Few, Rows
from grammars.json_schema.listed_names import ListedKeys
from grammars.json_schema.plans import Cell
from grammars.json_schema.strings import KeyLexeme
from grammars.regex import Language

NO_PATTERN: Cell = frozenset()


class Keys:
    """The names of one frame as a lexeme. Its exit says which."""

    def __init__(self, lexeme: KeyLexeme | ListedKeys, classes: tuple[Name, ...], is_open: bool) -> None:
        self._lexeme = lexeme
        self._classes = classes
        self.is_open = is_open
        """Whether it has names that no plan lists."""
        self.start = lexeme.start
        self._next: dict[int, tuple[Name | None, list[tuple[bytes, int]]]] = {}

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        row = self._lexeme.row(state)
        if row[QUOTE] < 0 or self._lexeme.key_class(int(row[QUOTE])) < 0:
            return row, (), None
        name = self._classes[self._lexeme.key_class(int(row[QUOTE]))]
        row = row.copy()
        row[QUOTE] = DEAD
        return row, (QUOTE,), ("key", name)

    def few(self, state: int) -> Few | None:
        found = self._lexeme.few(state)
        if found is None:
            return None
        like, nexts = found
        name = self._lexeme.key_class(nexts.get(QUOTE, DEAD))
        if name < 0:
            return Few(like, nexts, None)
        nexts[QUOTE] = CROSS
        return Few(like, nexts, ("key", self._classes[name]))

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
        """The name that may end in a state, and for each state after it a byte that leads there."""
        found = self._next.get(state)
        if found is None:
            row, _, meaning = self.row(state)
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
        self._lexemes: dict[object, tuple[KeyLexeme, tuple[Name, ...]]] = {}
        self._listed: dict[tuple[str, ...], tuple[ListedKeys, Keys]] = {}
        self._keys: dict[object, Keys] = {}
        self._locals: dict[int, int | None] = {}

    def local(self, frame: ObjectFrame) -> int | None:
        """The row after the opening quote of a name; None if no name may come."""
        if frame.number not in self._locals:
            self._locals[frame.number] = self._local(frame)
        return self._locals[frame.number]

    def _local(self, frame: ObjectFrame) -> int | None:
        names, cells = self._frames.names(frame)
        wide = len(cells) == 1 and NO_PATTERN in cells and self._frames.member(frame, NO_PATTERN) is not None
        allowed = None
        if not wide:
            every: tuple[Name, ...] = (*names, *cells)
            allowed = frozenset(n for n, name in enumerate(every) if self._frames.member(frame, name) is not None)
            if not allowed:
                return None
            if max(allowed) < len(names):
                return self._listed_local(names, allowed)
        lexeme, classes = self._lexeme(names, cells)
        key = (id(lexeme), allowed)
        keys = self._keys.get(key)
        if keys is None:
            view = lexeme if allowed is None else lexeme.restrict(allowed)
            is_open = self._frames.remembers and (allowed is None or max(allowed) >= len(names))
            keys = self._keys[key] = Keys(view, classes, is_open)
        return self._rows.local(keys, keys.start)

    def _listed_local(self, names: tuple[str, ...], allowed: frozenset[int]) -> int:
        if names not in self._listed:
            lexeme = ListedKeys(names)
            self._listed[names] = (lexeme, Keys(lexeme, names, False))
        lexeme, keys = self._listed[names]
        return self._rows.local(keys, lexeme.before(allowed))

    def _lexeme(self, names: tuple[str, ...], cells: Mapping[Cell, Language]) -> tuple[KeyLexeme, tuple[Name, ...]]:
        key = (names, *cells)
        found = self._lexemes.get(key)
        if found is None:
            lexeme = KeyLexeme(names, tuple(cells.values()))
            found = self._lexemes[key] = (lexeme, (*names, *cells))
        return found
