"""A regular language as the values of a string.

In: a language. Out: `LanguageValues`, as `escapes` reads it, of one class.
"""

from __future__ import annotations

from collections.abc import Hashable

from grammars.automaton import SLICE_BYTES
from grammars.json_schema.escapes import NO_CLASS, Row, Spread
from grammars.json_schema.length_automaton import LengthValues
from grammars.regex import Language


class LanguageValues:
    """The states are those of the language."""

    is_plain = False

    def __init__(self, language: Language) -> None:
        self._language = language
        self.start = language.start

    def row(self, state: int) -> Row:
        return self._language.row(state)

    def few(self, state: int) -> None:
        """None: these rows are wide."""

    def spread(self, state: int) -> Spread:
        """Nothing: these rows are wide."""
        return Spread([], [])

    def together(self, state: int) -> None:
        """None: each row is work of its own."""

    def class_of(self, state: int) -> int:
        return 0 if self._language.is_accepting(state) else NO_CLASS

    def bound(self, state: int) -> int:
        return self._language.min_bytes(state)

    def slice_key(self, state: int) -> Hashable | None:
        return language_slice(self._language, state)


def language_slice(language: Language, state: int) -> Hashable | None:
    """The slice key of a string whose value has led to a state of a language; that of any string if any may follow."""
    if language.takes_any(state):
        return LengthValues(0, None).slice_key(LengthValues.start)
    behaviour = language.behaviour(state, SLICE_BYTES)
    return None if behaviour is None else ("language", behaviour)
