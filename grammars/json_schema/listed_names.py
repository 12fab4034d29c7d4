"""Sets of listed names as one automaton: a state is which names may still be meant, so all subsets share what is alike.

An object that allows only listed names has a different set of them after each member. Their automata differ near the
root only: as soon as all names that begin alike are allowed, or none, it is one state for all sets.

Comes in: names. Goes out: `ListedNames`, as `escapes.EscapedText` reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from grammars.automaton import DEAD
from grammars.json_schema.escapes import NO_CLASS, EscapedText, Row


class ListedNames:
    """`Values` whose classes are places in `names`. A state is (bytes read, places of the names that begin so)."""

    is_plain = False

    def __init__(self, names: Sequence[str]) -> None:
        self._texts = [_encoded(name) for name in names]
        self._keys: list[tuple[int, tuple[int, ...]]] = [(0, tuple(self._possible(range(len(names)))))]
        self._numbers = {self._keys[0]: 0}
        self._few: dict[int, tuple[int, dict[int, int]]] = {}
        self._rows: dict[int, Row] = {}
        self.start = 0

    def subset(self, places: Iterable[int]) -> int:
        """The state before any byte where only these names are meant."""
        return self._number((0, tuple(self._possible(places))))

    def few(self, state: int) -> tuple[int, dict[int, int]]:
        found = self._few.get(state)
        if found is None:
            depth, places = self._keys[state]
            groups: dict[int, list[int]] = {}
            for place in places:
                text = self._texts[place]
                if len(text) > depth:
                    groups.setdefault(text[depth], []).append(place)
            nexts = {byte: self._number((depth + 1, tuple(group))) for byte, group in groups.items()}
            found = self._few[state] = (DEAD, nexts)
        return found

    def row(self, state: int) -> Row:
        row = self._rows.get(state)
        if row is None:
            _, nexts = self.few(state)
            row = self._rows[state] = np.full(256, DEAD, np.int32)
            row[list(nexts)] = list(nexts.values())
        return row

    def class_of(self, state: int) -> int:
        depth, places = self._keys[state]
        return next((place for place in places if len(self._texts[place]) == depth), NO_CLASS)

    def bound(self, state: int) -> int:
        depth, places = self._keys[state]
        return min((len(self._texts[place]) - depth for place in places), default=0)

    def slice_key(self, state: int) -> None:
        """None: nothing here is wide."""

    def _possible(self, places: Iterable[int]) -> list[int]:
        """The places of names that are Unicode text, sorted."""
        return [place for place in sorted(places) if self._texts[place] != _NO_TEXT]

    def _number(self, key: tuple[int, tuple[int, ...]]) -> int:
        number = self._numbers.setdefault(key, len(self._keys))
        if number == len(self._keys):
            self._keys.append(key)
        return number


class ListedKeys(EscapedText):
    """The JSON texts of listed names after the opening quote, for all subsets of them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._listed = ListedNames(names)
        super().__init__(self._listed, len(names), ("listed", tuple(names)))

    def before(self, places: Iterable[int]) -> int:
        """The state before any byte where only the names at these places may come."""
        return 2 * self._listed.subset(places)

    def key_class(self, state: int) -> int:
        """The place of the name that has been closed, NO_CLASS before."""
        return self.class_of(state)


_NO_TEXT = b"\xff"


def _encoded(name: str) -> bytes:
    """UTF-8; names with lone surrogates have no text."""
    try:
        return name.encode()
    except UnicodeEncodeError:
        return _NO_TEXT
