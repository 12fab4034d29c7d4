"""The rows of property names: which names may be written in a frame, as one automaton that tells them apart at their end.

Where names that nobody lists are welcome, any text can still become one of them, so all frames of the same plans share one
automaton, and the frame refuses at the closing quote what it has had. Otherwise the automaton knows just the names that may
come, so that no name is begun that could not be ended.

Comes in: frames. Goes out: rows of the table. Knows no values.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD
from grammars.json_schema.frames import Frames, Name, ObjectFrame
from grammars.json_schema.lexemes import QUOTE, Exit, Rows
from grammars.json_schema.plans import Cell
from grammars.json_schema.strings import KeyLexeme
from grammars.json_schema.texts import Texts
from grammars.regex import Language

NO_PATTERN: Cell = frozenset()


class Keys:
    """The names of one frame as a lexeme. Its exit says which."""

    def __init__(self, classes: dict[Name, Language | str]) -> None:
        self._names = tuple(classes)
        self._lexeme = KeyLexeme(list(classes.values()))
        self.start = self._lexeme.start

    def row(self, state: int) -> tuple[NDArray[np.int32], tuple[int, ...], Exit | None]:
        row = self._lexeme.row(state)
        if row[QUOTE] < 0:
            return row, (), None
        name = self._names[self._lexeme.exit_class(int(row[QUOTE]))]
        row = row.copy()
        row[QUOTE] = DEAD
        return row, (QUOTE,), ("key", name)

    def slice_key(self, state: int) -> Hashable | None:
        return self._lexeme.slice_key(state)

    def search(self, state: int, cost: Callable[[Name], int | None]) -> tuple[int, bytes, Name] | None:
        """(length, rest of the name with its quote, name) of the completion that is cheapest with what `cost` adds."""
        best: tuple[int, bytes, Name] | None = None
        seen, queue = {state}, deque([(state, b"")])
        while queue:
            here, text = queue.popleft()
            if best is not None and len(text) + 1 >= best[0]:
                break
            row, crossing, meaning = self.row(here)
            if crossing and meaning is not None:
                more = cost(meaning[1])  # type: ignore[arg-type]
                if more is not None and (best is None or len(text) + 1 + more < best[0]):
                    best = (len(text) + 1 + more, text + b'"', meaning[1])  # type: ignore[assignment]
            for byte in np.flatnonzero(row >= 0).tolist():
                following = int(row[byte])
                if following not in seen:
                    seen.add(following)
                    queue.append((following, text + bytes((byte,))))
        return best


class KeyRows:
    """Where the names of a frame begin in the table."""

    def __init__(self, frames: Frames, texts: Texts, rows: Rows) -> None:
        self._frames = frames
        self._texts = texts
        self._rows = rows
        self._keys: dict[object, Keys] = {}
        self._locals: dict[int, int | None] = {}

    def local(self, frame: ObjectFrame) -> int | None:
        """The row after the opening quote of a name; None if no name may come."""
        if frame.number not in self._locals:
            classes = self._classes(frame)
            self._locals[frame.number] = self._local(classes) if classes else None
        return self._locals[frame.number]

    def _local(self, classes: dict[Name, Language | str]) -> int:
        key = tuple((name, content if isinstance(content, str) else content.key) for name, content in classes.items())
        keys = self._keys.get(key)
        if keys is None:
            keys = self._keys[key] = Keys(classes)
        return self._rows.local(keys, keys.start)

    def _classes(self, frame: ObjectFrame) -> dict[Name, Language | str]:
        names, cells = self._frames.names(frame)
        wide = len(cells) == 1 and NO_PATTERN in cells and self._frames.member(frame, NO_PATTERN) is not None
        classes: dict[Name, Language | str] = {
            name: name for name in names if wide or self._frames.member(frame, name) is not None
        }
        for cell, language in cells.items():
            if self._frames.member(frame, cell) is not None:
                classes[cell] = language
        return classes
