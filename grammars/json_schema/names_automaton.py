"""Which name of an object a key is, or which of some languages it falls to: an automaton over the key's UTF-8 bytes.

In: languages, and set by set the names that are told apart. Out: `NameValues`, as `escapes` reads it. A state is which
names may still be meant, so all sets share what is alike: an object has another set of names after each member, but
two of them differ near the root only, and on the way to the names that one has and the other has not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from grammars.arrays import distinct_columns
from grammars.automaton import DEAD
from grammars.json_schema.escapes import NO_CLASS, Row, Spread
from grammars.json_schema.language_values import language_slice
from grammars.regex import Language

_AHEAD_BYTES, _AHEAD_STATES = 16, 400
"""How far, and how many, `spread` goes on from one state"""


class Meant(NamedTuple):
    """What may still be meant.

    depth:  bytes read; 0 where no name is left
    marks:  2 * the place of each name that begins so, + 1 if it is refused: no class, and not one of the languages
    others: the state of each language, or DEAD
    """

    depth: int
    marks: tuple[int, ...]
    others: tuple[int, ...]


class NameValues:
    """Class i < len(others) are the texts of `others[i]` that are no name, class len(others) + p the p-th name."""

    is_plain = False

    def __init__(self, others: Sequence[Language]) -> None:
        self._others = tuple(others)
        self._names: list[str] = []
        self._stays: dict[tuple[int, ...], frozenset[int]] = {}
        self._none = (DEAD,) * len(self._others)
        self._texts: list[bytes] = []
        self._places: dict[str, int] = {}
        self._states: list[Meant] = []
        self._ids: dict[Meant, int] = {}
        self._few: dict[int, tuple[int, dict[int, int]] | None] = {}
        self._spread: set[int] = set()
        """those that have come up in `spread`"""
        self._rows: dict[int, Row] = {}
        self._bounds: dict[int, int] = {}
        self._differs: dict[Meant, bool] = {}
        self.start = self.before((), (), ())

    def before(self, names: Iterable[str], refused: Collection[str], shut: Collection[int]) -> int:
        """The state before any byte where these names are told apart.

        refused: those of them that must not come. shut: the languages that none of the other texts may be of.
        """
        marks = sorted(2 * place + (name in refused) for name in names if (place := self._place(name)) is not None)
        starts = (
            DEAD if i in shut or language.is_empty() else language.start for i, language in enumerate(self._others)
        )
        return self._intern(_meant(0, marks, tuple(starts)))

    def name(self, key_class: int) -> str:
        """The name of a class that is one's."""
        return self._names[key_class - len(self._others)]

    def few(self, state: int) -> tuple[int, dict[int, int]] | None:
        """By the difference to the state where no name is left; None where there is none, or one is shut out."""
        if state not in self._few:
            self._few[state] = self._find_few(self._states[state])
        return self._few[state]

    def spread(self, state: int) -> Spread:
        """The names that are left, a few bytes of each: a token takes several."""
        found, queue, furthest = Spread([], []), deque((state,)), self._states[state].depth + _AHEAD_BYTES
        left = _AHEAD_STATES
        while queue and left > 0:
            here = queue.popleft()
            self._spread.add(here)
            text = self._only_text(self._states[here])
            if text is not None:
                found.chains.append((here, text, self._without_names(self._states[here])))
                self._spread.update(range(here, here + len(text) + 1))
                left -= len(text)
                continue
            few = self.few(here)
            if few is not None:
                found.few.append((here, *few))
                queue.extend([q for q in few[1].values() if q not in self._spread and self._states[q].depth < furthest])
                left -= 1
        return found

    def _only_text(self, meant: Meant) -> bytes | None:
        """The rest of the name, where one is left and the languages stay where they are along it; its states follow
        each other."""
        if len(meant.marks) != 1 or meant.marks[0] & 1:
            return None
        text = self._texts[meant.marks[0] >> 1][meant.depth :]
        return text if meant.others == self._none or self._staying(meant.others).issuperset(text) else None

    def _staying(self, others: tuple[int, ...]) -> frozenset[int]:
        """The bytes that lead each language to where it is."""
        stays = self._stays.get(others)
        if stays is None:
            rows = np.stack([self._others[i].row(s) if s != DEAD else _DEAD_ROW for i, s in enumerate(others)])
            stay = np.flatnonzero(np.all(rows == np.array(others)[:, None], axis=0))
            stays = self._stays[others] = frozenset(stay.tolist())
        return stays

    def _without_names(self, meant: Meant) -> int:
        """The state where no name is left, DEAD if that has no text."""
        return DEAD if meant.others == self._none else self._intern(Meant(0, (), meant.others))

    def together(self, state: int) -> None:
        """None: each row is work of its own."""

    def row(self, state: int) -> Row:
        row = self._rows.get(state)
        if row is None:
            meant = self._states[state]
            fallen = _meant(0, (), meant.others)
            row = self.row(self._intern(fallen)).copy() if meant.marks else self._fallen(meant.others)
            for byte, below in self._below(meant).items():
                row[byte] = self._intern(below) if self._is_alive(below) else DEAD
            self._rows[state] = row
        return row

    def class_of(self, state: int) -> int:
        depth, marks, others = self._states[state]
        for mark in marks:
            if len(self._texts[mark >> 1]) == depth:
                return NO_CLASS if mark & 1 else len(others) + (mark >> 1)
        for i, s in enumerate(others):
            if s != DEAD and self._others[i].is_accepting(s):
                return i
        return NO_CLASS

    def slice_key(self, state: int) -> Hashable | None:
        """Where no name is left, that of the one language that is."""
        _, marks, others = self._states[state]
        live = [i for i, s in enumerate(others) if s != DEAD]
        return language_slice(self._others[live[0]], others[live[0]]) if not marks and len(live) == 1 else None

    def bound(self, state: int) -> int:
        found = self._bounds.get(state)
        if found is None:
            depth, marks, others = self._states[state]
            ways = [self._others[i].min_bytes(s) for i, s in enumerate(others) if s != DEAD]
            ways += [len(self._texts[mark >> 1]) - depth for mark in marks if not mark & 1]
            found = self._bounds[state] = min(ways, default=0)
        return found

    def _place(self, name: str) -> int | None:
        """The number of a name; None for one with a lone surrogate: no text of a key stands for it."""
        place = self._places.get(name)
        if place is None:
            try:
                text = name.encode()
            except UnicodeEncodeError:
                return None
            place = self._places[name] = len(self._names)
            self._names.append(name)
            self._texts.append(text)
        return place

    def _below(self, meant: Meant) -> dict[int, Meant]:
        """What may be meant after each byte with which a name goes on."""
        depth = meant.depth
        groups: dict[int, list[int]] = {}
        texts = self._texts
        for mark in meant.marks:
            text = texts[mark >> 1]
            if len(text) > depth:
                byte = text[depth]
                if byte in groups:
                    groups[byte].append(mark)
                else:
                    groups[byte] = [mark]
        if not groups:
            return {}
        others = meant.others
        if others == self._none or self._staying(others).issuperset(groups):
            return {byte: Meant(depth + 1, tuple(marks), others) for byte, marks in groups.items()}
        rows = [self._others[i].row(s) if s != DEAD else _DEAD_ROW for i, s in enumerate(meant.others)]
        return {
            byte: _meant(depth + 1, marks, tuple([int(row[byte]) for row in rows])) for byte, marks in groups.items()
        }

    def _find_few(self, meant: Meant) -> tuple[int, dict[int, int]] | None:
        if not meant.marks:
            return None
        nexts = {}
        for byte, below in self._below(meant).items():
            if not self._is_alive(below):
                return None
            nexts[byte] = self._intern(below)
        return self._without_names(meant), nexts

    def _fallen(self, others: tuple[int, ...]) -> Row:
        """The row where no name is left."""
        if others == self._none:
            return _DEAD_ROW
        rows = np.stack([self._others[i].row(s) if s != DEAD else _DEAD_ROW for i, s in enumerate(others)])
        if len(rows) == 1:
            alone, where = np.unique(rows[0], return_inverse=True)
            made = [self._intern(Meant(0, (), (after,))) if after >= 0 else DEAD for after in alone.tolist()]
            return np.array(made, np.int32)[where]
        several, places = distinct_columns(rows)
        made = [self._intern(Meant(0, (), after)) if max(after) >= 0 else DEAD for after in several]
        return np.array(made, np.int32)[places]

    def _is_alive(self, meant: Meant) -> bool:
        marks = meant.marks
        return bool(marks and not marks[0] & 1) or any(not mark & 1 for mark in marks) or self._has_others(meant)

    def _has_others(self, meant: Meant) -> bool:
        """Whether some language has a completion that makes no name."""
        if _is_dead(meant.others):
            return False
        if not meant.marks:
            return True
        found = self._differs.get(meant)
        if found is None:
            live = [(self._others[i], s) for i, s in enumerate(meant.others) if s != DEAD]
            ends = any(len(self._texts[mark >> 1]) == meant.depth for mark in meant.marks)
            found = not ends and any(language.is_accepting(s) for language, s in live)
            below = self._below(meant)
            if not found:
                onward = np.max([language.row(s) for language, s in live], axis=0) >= 0
                found = int(onward.sum()) > int(onward[list(below)].sum()) if below else bool(onward.any())
            if not found:
                found = any(self._has_others(after) for after in below.values())
            self._differs[meant] = found
        return found

    def _intern(self, meant: Meant) -> int:
        state = self._ids.get(meant)
        if state is not None:
            return state
        state = len(self._states)
        text = self._only_text(meant)
        if text is None:
            self._ids[meant] = state
            self._states.append(meant)
            return state
        depth, marks, others = meant
        line = [Meant(at, marks, others) for at in range(depth, depth + len(text) + 1)]
        self._ids.update(zip(line, range(state, state + len(line)), strict=True))
        self._states += line
        return state


def _is_dead(others: tuple[int, ...]) -> bool:
    return all(s == DEAD for s in others)


def _meant(depth: int, marks: Sequence[int], others: tuple[int, ...]) -> Meant:
    """In its one form: refused names do not count where no language is left that could have them."""
    kept = tuple([mark for mark in marks if not mark & 1]) if _is_dead(others) else tuple(marks)
    return Meant(depth if kept else 0, kept, others)


_DEAD_ROW = np.full(256, DEAD, np.int32)
