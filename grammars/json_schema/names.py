"""The names of properties that a schema does not list, cut up by the name patterns that they match.

Comes in: listed names and patterns. Goes out: cells, their languages, their shortest names. Knows no values.
"""

from __future__ import annotations

from collections.abc import Mapping

from grammars.json_schema.algebra import Algebra
from grammars.json_schema.plans import Cell, ObjectPlan
from grammars.json_schema.texts import Texts
from grammars.regex import Language


class NameCells:
    """Cells by (listed names, patterns), made when first asked for."""

    def __init__(self, algebra: Algebra, texts: Texts) -> None:
        self._algebra = algebra
        self._texts = texts
        self._cells: dict[tuple[frozenset[str], frozenset[int]], dict[Cell, Language]] = {}
        self._shortest: dict[tuple[frozenset[str], frozenset[int], Cell], list[str]] = {}

    def of(self, names: frozenset[str], patterns: frozenset[int]) -> Mapping[Cell, Language]:
        """The cells that names outside of `names` fall into, each with a language that holds them, and no other cell's.

        A language may still hold some of `names`. Cells without a name are left out.
        """
        key = (names, patterns)
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = self._cut(names, patterns)
        return found

    def _cut(self, names: frozenset[str], patterns: frozenset[int]) -> dict[Cell, Language]:
        cells: dict[Cell, Language] = {frozenset(): Language.any_text()}
        for pattern in sorted(patterns):
            language, cut = self._algebra.language(pattern), dict[Cell, Language]()
            for cell, left in cells.items():
                for part, inside in ((left & language, True), (left - language, False)):
                    if not _without(part, names).is_empty():
                        cut[cell | {pattern} if inside else cell] = part
            cells = cut
        return cells

    def shortest(self, plan: ObjectPlan, cell: Cell, rank: int, besides: tuple[str, ...] = ()) -> str | None:
        """The `rank`-th shortest name of a cell that the plan does not list, nor `besides`; None if there are not so many."""
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
