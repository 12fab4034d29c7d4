"""Which name of an object a key is, or which of some languages it falls to: an automaton over the key's UTF-8 bytes.

In: names, languages, the classes allowed. Out: `NameValues`, as `escapes` reads it. The names are a sorted list; what
has been read is the slice of those that begin like it, so a thousand names cost no automaton.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from grammars.automaton import DEAD
from grammars.json_schema.escapes import NO_CLASS, Row
from grammars.json_schema.length_automaton import LengthValues
from grammars.regex import Language


class Slice(NamedTuple):
    """The names `low` to `high` (not included) in order: those that begin with the `depth` bytes read."""

    low: int
    high: int
    depth: int


NOTHING = Slice(0, 0, 0)


class NameSet:
    """Names in the order of their bytes, and where each came from. Immutable, but for what it remembers."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        encoded = []
        for index, name in enumerate(names):
            try:
                encoded.append((name.encode(), index))
            except UnicodeEncodeError:  # a lone surrogate: no text of a key stands for it
                continue
        encoded.sort()
        self.sorted = [name for name, _ in encoded]
        self.classes = np.array([index for _, index in encoded], np.int64)
        self.lengths = np.array([len(name) for name in self.sorted], np.int64)
        self.all = Slice(0, len(encoded), 0) if encoded else NOTHING
        self._children: dict[Slice, dict[int, Slice]] = {}

    def ends(self, part: Slice) -> int | None:
        """The place of the name that has been read in full, if one has."""
        return part.low if part.low < part.high and len(self.sorted[part.low]) == part.depth else None

    def children(self, part: Slice) -> dict[int, Slice]:
        """The slice after each byte with which a name goes on."""
        found = self._children.get(part)
        if found is None:
            low, high, depth = part
            first = low + (self.ends(part) is not None)
            found = {}
            while first < high:
                byte = self.sorted[first][depth]
                end = bisect_right(self.sorted, byte, first, high, key=itemgetter(depth))
                found[byte] = Slice(first, end, depth + 1)
                first = end
            self._children[part] = found
        return found


class NameValues:
    """See the module docstring. A state is a slice of the names and a state of each language (or DEAD)."""

    is_plain = False

    def __init__(self, names: NameSet, others: tuple[Language, ...], allowed: frozenset[int] | None) -> None:
        self._names, self._others = names, others
        first = len(names.names)
        self._first_other = first
        live = names.classes if allowed is None else np.array(sorted(allowed), np.int64)
        self._allowed = np.isin(names.classes, live)
        self._count = np.concatenate([[0], np.cumsum(self._allowed)])
        starts = tuple(
            language.start if (allowed is None or first + i in allowed) and not language.is_empty() else DEAD
            for i, language in enumerate(others)
        )
        self._keys: list[tuple[Slice, tuple[int, ...]]] = [(names.all, starts)]
        self._ids = {self._keys[0]: 0}
        self._rows: dict[int, Row] = {}
        self._few: dict[int, tuple[int, dict[int, int]] | None] = {}
        self._fallen_rows: dict[tuple[int, ...], Row] = {}
        self._bounds: dict[int, int] = {}
        self._differs: dict[tuple[Slice, tuple[int, ...]], bool] = {}
        self.start = 0

    def row(self, state: int) -> Row:
        row = self._rows.get(state)
        if row is None:
            part, others = self._keys[state]
            rows = [self._others[i].row(s) if s != DEAD else _DEAD_ROW for i, s in enumerate(others)]
            row = self._fallen(others, rows).copy()
            for byte, below in self._names.children(part).items():
                key = below, tuple(int(r[byte]) for r in rows)
                row[byte] = self._intern(key) if self._has_allowed(below) or self._has_others(*key) else DEAD
            self._rows[state] = row
        return row

    def few(self, state: int) -> tuple[int, dict[int, int]] | None:
        """By its difference to the state of the same languages where no name is left; None where a name is shut out."""
        if state not in self._few:
            part, others = self._keys[state]
            self._few[state] = None if part == NOTHING else self._find_few(part, others)
        return self._few[state]

    def _find_few(self, part: Slice, others: tuple[int, ...]) -> tuple[int, dict[int, int]] | None:
        rows = [self._others[i].row(s) if s != DEAD else _DEAD_ROW for i, s in enumerate(others)]
        nexts = {}
        for byte, below in self._names.children(part).items():
            key = below, tuple(int(row[byte]) for row in rows)
            if not self._has_allowed(below) and not self._has_others(*key):
                return None
            nexts[byte] = self._intern(key)
        like = DEAD if all(s == DEAD for s in others) else self._intern((NOTHING, others))
        return like, nexts

    def class_of(self, state: int) -> int:
        part, others = self._keys[state]
        place = self._names.ends(part)
        if place is not None:
            return int(self._names.classes[place]) if self._allowed[place] else NO_CLASS
        for i, s in enumerate(others):
            if s != DEAD and self._others[i].is_accepting(s):
                return self._first_other + i
        return NO_CLASS

    def slice_key(self, state: int) -> Hashable | None:
        """Where no listed name is left and any other will do, that of any string."""
        part, others = self._keys[state]
        live = [i for i, s in enumerate(others) if s != DEAD]
        if part == NOTHING and len(live) == 1:
            language = self._others[live[0]]
            if language.length_bounds == (0, None) and others[live[0]] == language.start:
                return LengthValues(0, None).slice_key(LengthValues.start)
        return None

    def bound(self, state: int) -> int:
        found = self._bounds.get(state)
        if found is None:
            part, others = self._keys[state]
            lengths = self._names.lengths[part.low : part.high][self._allowed[part.low : part.high]]
            ways = [self._others[i].min_bytes(s) for i, s in enumerate(others) if s != DEAD]
            if len(lengths):
                ways.append(int(lengths.min()) - part.depth)
            found = self._bounds[state] = min(ways, default=0)
        return found

    def _fallen(self, others: tuple[int, ...], rows: list[Row]) -> Row:
        """The row of what no name goes on with; the same wherever the languages are in the same states."""
        found = self._fallen_rows.get(others)
        if found is None:
            found = self._fallen_rows[others] = self._make_fallen(rows)
        return found

    def _make_fallen(self, rows: list[Row]) -> Row:
        live = [i for i, r in enumerate(rows) if r is not _DEAD_ROW]
        row = np.full(256, DEAD, np.int32)
        if len(live) == 1:
            targets, inverse = np.unique(rows[live[0]], return_inverse=True)
            ids = [self._lone(live[0], int(t), len(rows)) if t != DEAD else DEAD for t in targets]
            row[:] = np.array(ids, np.int32)[inverse]
        elif live:
            for byte in np.flatnonzero(np.max([rows[i] for i in live], axis=0) >= 0):
                row[byte] = self._intern((NOTHING, tuple(int(r[byte]) for r in rows)))
        return row

    def _lone(self, index: int, state: int, count: int) -> int:
        """The state with one language left."""
        return self._intern((NOTHING, (DEAD,) * index + (state,) + (DEAD,) * (count - index - 1)))

    def _has_allowed(self, part: Slice) -> bool:
        return bool(self._count[part.high] > self._count[part.low])

    def _has_others(self, part: Slice, others: tuple[int, ...]) -> bool:
        """Whether some language has a completion that makes no name."""
        if all(s == DEAD for s in others):
            return False
        key = part, others
        found = self._differs.get(key)
        if found is None:
            live = [(self._others[i], s) for i, s in enumerate(others) if s != DEAD]
            found = self._names.ends(part) is None and any(language.is_accepting(s) for language, s in live)
            children = self._names.children(part)
            if not found:
                onward = np.max([language.row(s) for language, s in live], axis=0) >= 0
                found = int(onward.sum()) > int(onward[list(children)].sum()) if children else bool(onward.any())
            if not found:
                steps = ((below, byte) for byte, below in children.items())
                rows = [self._others[i].row(s) if s != DEAD else _DEAD_ROW for i, s in enumerate(others)]
                found = any(self._has_others(below, tuple(int(r[byte]) for r in rows)) for below, byte in steps)
            self._differs[key] = found
        return found

    def _intern(self, key: tuple[Slice, tuple[int, ...]]) -> int:
        state = self._ids.setdefault(key, len(self._keys))
        if state == len(self._keys):
            self._keys.append(key)
        return state


class WordValues(NameValues):
    """One of some words, all of one class."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(NameSet(words), (), None)

    def class_of(self, state: int) -> int:
        return NO_CLASS if super().class_of(state) == NO_CLASS else 0


_DEAD_ROW = np.full(256, DEAD, np.int32)
