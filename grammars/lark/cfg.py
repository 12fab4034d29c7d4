"""A context-free grammar over terminals that are regular languages: what both notations (Lark, EBNF) are read into.

Symbols are integers: terminals count from 0, nonterminals are their complement (`~0`, `~1`, ...), so that one tuple
holds a rule. The text of a grammar prints itself (`str(cfg)`), for tests to compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from grammars.errors import UnsatisfiableConstraintError
from grammars.regex import Language

INFINITE = 1 << 60
"""The length of a text that does not exist."""

Extent: TypeAlias = Literal["longest", "first", "any"]
"""Where a terminal ends if it could end at several places: at the last one, as a lexer's match does; at the first one,
as a pattern with lazy quantifiers does; or at any of them, where there is no lexer."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """A named regular language. It never matches the empty text."""

    name: str
    language: Language
    extent: Extent

    @property
    def min_bytes(self) -> int:
        return self.language.min_bytes(self.language.start)


@dataclass(frozen=True, slots=True)
class Rule:
    """`nonterminals[head] -> body`."""

    head: int
    body: tuple[int, ...]


@dataclass(frozen=True)
class Cfg:
    """start: index of a nonterminal. ignored: terminals that may stand between any two others."""

    terminals: tuple[Terminal, ...]
    nonterminals: tuple[str, ...]
    rules: tuple[Rule, ...]
    start: int
    ignored: tuple[int, ...] = ()

    def __str__(self) -> str:
        def name(symbol: int) -> str:
            return self.terminals[symbol].name if symbol >= 0 else self.nonterminals[~symbol]

        lines = [f"{self.nonterminals[r.head]} -> {' '.join(map(name, r.body)) or '(empty)'}" for r in self.rules]
        return "\n".join([*lines, *(f"ignore {self.terminals[t].name}" for t in self.ignored)])

    @cached_property
    def min_lengths(self) -> tuple[int, ...]:
        """For each nonterminal the bytes of its shortest text; INFINITE where it derives none."""
        lengths = [INFINITE] * len(self.nonterminals)
        changed = True
        while changed:
            changed = False
            for rule in self.rules:
                length = sum(self._length(symbol, lengths) for symbol in rule.body)
                if length < lengths[rule.head]:
                    lengths[rule.head] = length
                    changed = True
        return tuple(lengths)

    @cached_property
    def suffix_lengths(self) -> tuple[tuple[int, ...], ...]:
        """[rule][dot]: the bytes of the shortest text of the body from `dot` on."""
        rows = []
        for rule in self.rules:
            row = [0]
            for symbol in reversed(rule.body):
                row.append(min(INFINITE, row[-1] + self._length(symbol, self.min_lengths)))
            rows.append(tuple(reversed(row)))
        return tuple(rows)

    @cached_property
    def nullable(self) -> frozenset[int]:
        """Nonterminals that derive the empty text."""
        return frozenset(i for i, length in enumerate(self.min_lengths) if length == 0)

    @cached_property
    def rules_of(self) -> tuple[tuple[int, ...], ...]:
        """For each nonterminal its rules that derive some text."""
        table: list[list[int]] = [[] for _ in self.nonterminals]
        for index, rule in enumerate(self.rules):
            if self.suffix_lengths[index][0] < INFINITE:
                table[rule.head].append(index)
        return tuple(map(tuple, table))

    def require_text(self) -> None:
        """Raise `UnsatisfiableConstraintError` if the start derives no text, as a grammar that only derives itself."""
        if self.min_lengths[self.start] >= INFINITE:
            raise UnsatisfiableConstraintError(
                f"the rule {self.nonterminals[self.start]!r} derives no text: each of its alternatives needs itself"
            )

    def _length(self, symbol: int, lengths: list[int] | tuple[int, ...]) -> int:
        if symbol < 0:
            return lengths[~symbol]
        terminal = self.terminals[symbol]
        return INFINITE if terminal.language.is_empty() else terminal.min_bytes
