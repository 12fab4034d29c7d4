"""The texts of JSON strings and keys as byte automata, from what their values may be.

In: regular languages of values, names. Out: `StringLexeme` for strings, `KeyLexeme` for the keys of an object, which
tells at the closing quote which class of names the key belongs to. See `escapes` for how a text is read.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache

from grammars.json_schema.escapes import NO_CLASS, EscapedText, Row, Values
from grammars.json_schema.length_automaton import LengthValues
from grammars.json_schema.names_automaton import NameSet, NameValues, WordValues
from grammars.regex import Language

ANY_STRING_STATES = 2_000
"""More than all states of the strings without a constraint."""
VIEWS = 256
"""Restrictions of one `KeyLexeme` that it remembers."""


class StringLexeme(EscapedText):
    """The JSON texts, after the opening quote, of the strings in a language."""

    def __init__(self, value: Language) -> None:
        super().__init__(_values_of(value), 1, ("string", value.key))
        self.value = value
        self.final = 1


@lru_cache(maxsize=1)
def any_string() -> StringLexeme:
    """The texts of all strings: one automaton for everybody, complete, so that it can be read from any thread."""
    lexeme = StringLexeme(Language.any_text())
    lexeme.complete(ANY_STRING_STATES)
    return lexeme


class KeyLexeme(EscapedText):
    """The JSON texts, after the opening quote, of an object's keys, told apart by class.

    Class i < len(names) is the name `names[i]`; class len(names) + i are the texts of `others[i]` that are no name.
    `others` are disjoint. allowed: the classes that a key may have (None: all); the names of other classes are still no
    texts of `others`. Names that are not Unicode text (lone surrogates) have no key.
    """

    def __init__(
        self, names: Sequence[str], others: Sequence[Language] = (), allowed: frozenset[int] | None = None
    ) -> None:
        self._setup(NameSet(names), tuple(others), allowed)

    @property
    def others(self) -> tuple[Language, ...]:
        return self._others

    def restrict(self, allowed: frozenset[int]) -> KeyLexeme:
        """The same keys, of these classes only. Cheap: the names are shared."""
        found = self._views.get(allowed)
        if found is None:
            if len(self._views) >= VIEWS:
                self._views.clear()
            found = self._views[allowed] = KeyLexeme.__new__(KeyLexeme)
            found._setup(self._names, self._others, allowed)
        return found

    def key_class(self, state: int) -> int:
        """The class of the key that has been closed, NO_CLASS (-1) before."""
        return self.class_of(state)

    def final(self, key_class: int) -> int:
        """The state after the closing quote of a key of this class."""
        return 2 * key_class + 1

    def _setup(self, names: NameSet, others: tuple[Language, ...], allowed: frozenset[int] | None) -> None:
        self._names, self._others = names, others
        self._views: dict[frozenset[int], KeyLexeme] = {}
        values = NameValues(names, others, allowed)
        key = ("key", names.names, tuple(language.key for language in others), allowed)
        super().__init__(values, len(names.names) + len(others), key)


def _values_of(language: Language) -> Values:
    bounds, words = language.length_bounds, language.words
    if bounds is not None:
        return LengthValues(*bounds)
    return _LanguageValues(language) if words is None else WordValues(words)


class _LanguageValues:
    """A language as `Values` of one class."""

    is_plain = False

    def __init__(self, language: Language) -> None:
        self._language = language
        self.start = language.start

    def row(self, state: int) -> Row:
        return self._language.row(state)

    def few(self, state: int) -> None:
        """None: these rows are wide."""

    def class_of(self, state: int) -> int:
        return 0 if self._language.is_accepting(state) else NO_CLASS

    def bound(self, state: int) -> int:
        return self._language.min_bytes(state)

    def slice_key(self, state: int) -> Hashable | None:
        return None
