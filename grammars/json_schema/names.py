"""The names of properties that a schema does not list, cut up by the name patterns that they match.

Comes in: listed names and patterns. Goes out: cells, their languages, their shortest names. Knows no values.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from grammars.automaton import DEAD
from grammars.json_schema.algebra import Algebra
from grammars.json_schema.plans import Cell, ObjectPlan
from grammars.json_schema.texts import Texts
from grammars.regex import Language


@lru_cache(maxsize=1)
def any_name() -> Language:
    """All names: one language for everybody, its states all made, so that it can be read from any thread."""
    language = Language.any_text()
    todo, seen = [language.start], {language.start}
    while todo:
        state = todo.pop()
        fresh = set(language.row(state).tolist()) - {DEAD} - seen
        language.min_bytes(state)
        seen |= fresh
        todo.extend(fresh)
    return language


class NameCells:
    """Cells by patterns, made when first asked for."""

    def __init__(self, algebra: Algebra, texts: Texts) -> None:
        self._algebra = algebra
        self._texts = texts
        self._cells: dict[frozenset[int], dict[Cell, Language]] = {}
        self._kept: dict[tuple[frozenset[str], frozenset[int]], dict[Cell, Language]] = {}
        self._prefixes: dict[int, bytes] = {}
        self._shortest: dict[tuple[frozenset[str], frozenset[int], Cell], list[str]] = {}

    def of(self, names: frozenset[str], patterns: frozenset[int]) -> Mapping[Cell, Language]:
        """The cells that names outside of `names` fall into, each with a language that holds them, and no other cell's.

        A language may still hold some of `names`. Cells without a name are left out.
        """
        key = (names, patterns)
        found = self._kept.get(key)
        if found is None:
            if patterns not in self._cells:
                self._cells[patterns] = self._cut(patterns)
            cells = self._cells[patterns]
            if names and patterns:
                cells = {cell: part for cell, part in cells.items() if not self._is_within(cell, part, names)}
            found = self._kept[key] = cells
        return found

    def _cut(self, patterns: frozenset[int]) -> dict[Cell, Language]:
        """All names, cut up by the patterns that match them."""
        cells: dict[Cell, Language] = {}
        for pattern in sorted(patterns):
            rest, cut = self._algebra.language(pattern), dict[Cell, Language]()
            for cell, part in cells.items():
                shared = None if self._are_apart(cell, pattern) else part & rest
                if shared is None or shared.is_empty():
                    cut[cell] = part
                    continue
                cut[cell | {pattern}] = shared
                left = part - rest
                if not left.is_empty():
                    cut[cell] = left
                rest = rest - part
            if not rest.is_empty():
                cut[frozenset((pattern,))] = rest
            cells = cut
        languages = [self._algebra.language(pattern) for pattern in sorted(patterns)]
        others = Language.any_text() - Language.union(languages) if languages else any_name()
        if not others.is_empty():
            cells[frozenset()] = others
        return cells

    def _are_apart(self, cell: Cell, pattern: int) -> bool:
        """Whether a cell and a pattern have no name in common, as their first bytes show."""
        own = self._prefix(pattern)
        for other in cell:
            begin = self._prefix(other)
            shared = min(len(own), len(begin))
            if own[:shared] != begin[:shared]:
                return True
        return False

    def _is_within(self, cell: Cell, language: Language, names: frozenset[str]) -> bool:
        """Whether a cell has no name but these."""
        begin = max((self._prefix(pattern) for pattern in cell), key=len, default=b"")
        held = [name for name in names if name.encode("utf-8", "replace").startswith(begin) and language.accepts(name)]
        return bool(held) and language.is_finite() and _without(language, frozenset(held)).is_empty()

    def _prefix(self, pattern: int) -> bytes:
        """What all names of a pattern begin with."""
        found = self._prefixes.get(pattern)
        if found is None:
            language, text = self._algebra.language(pattern), bytearray()
            state = language.start
            while not language.is_accepting(state):
                alive = np.flatnonzero(language.row(state) >= 0)
                if len(alive) != 1:
                    break
                text.append(int(alive[0]))
                state = language.step(state, int(alive[0]))
            found = self._prefixes[pattern] = bytes(text)
        return found

    def shortest(self, plan: ObjectPlan, cell: Cell, rank: int, besides: tuple[str, ...] = ()) -> str | None:
        """The `rank`-th shortest name of a cell that neither the plan nor `besides` lists; None where there is none."""
        names, patterns = frozenset((*plan.names, *besides)), plan.form.patterns
        key = (names, patterns, cell)
        found = self._shortest.setdefault(key, [])
        while len(found) <= rank:
            language = self.of(names, patterns).get(cell)
            if language is None:
                return None
            language = _without(language, names.union(found))
            if language.is_empty():
                return None
            found.append(self._texts.shortest_member(language))
        return found[rank]


def _without(language: Language, names: frozenset[str]) -> Language:
    return language - Language.union(sorted(names)) if names else language
