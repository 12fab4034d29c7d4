"""The texts of JSON strings and keys as byte automata, from what their values may be.

In: regular languages of values, names. Out: `StringLexeme` for strings, `KeyLexeme` for the keys of an object, which
tells at the closing quote which class of names the key belongs to. See `escapes` for how a text is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from grammars.json_schema.counted_values import CountedValues
from grammars.json_schema.escapes import EscapedText, Values
from grammars.json_schema.language_values import LanguageValues
from grammars.json_schema.length_automaton import LengthValues
from grammars.json_schema.names_automaton import NameValues
from grammars.json_schema.word_values import WordValues
from grammars.limits import DEFAULT_LIMITS
from grammars.regex import Language

_KEPT, _LARGE_BYTES = 128, 1 << 20
"""How many lexemes are kept for other schemas, and how large they may have become"""

ANY_STRING_STATES = 2_000
"""More than all states of the strings without a constraint."""


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


class StringLexemes:
    """Those of the languages used last: formats and patterns come up in many schemas. Safe for threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, StringLexeme] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, language: Language) -> StringLexeme:
        """The lexeme of a language, with states of its own."""
        with self._lock:
            found = self._kept.pop(language.key, None)
            if found is None or found.nbytes > _LARGE_BYTES:
                found = StringLexeme(language.within(DEFAULT_LIMITS))
            self._kept[language.key] = found
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return found


@lru_cache(maxsize=1)
def shared_lexemes() -> StringLexemes:
    """One store for everybody."""
    return StringLexemes()


class KeyLexeme(EscapedText):
    """The JSON texts, after the opening quote, of an object's keys, told apart by class.

    Class i < len(others) are the texts of `others[i]` that are no name; the names have classes after that, given as
    they are met. `others` are disjoint. Names that are not Unicode text (lone surrogates) have no key.
    """

    def __init__(self, others: Sequence[Language] = ()) -> None:
        self._names = NameValues(others)
        super().__init__(self._names, len(others), ("key", tuple(language.key for language in others)))

    def before(self, names: Iterable[str], refused: Collection[str] = (), shut: Collection[int] = ()) -> int:
        """The state before any byte where these names are told apart.

        refused: those of them that must not come. shut: the languages that none of the other keys may be of.
        """
        return 2 * self._names.before(names, refused, shut)

    def name(self, key_class: int) -> str:
        """The name of a class that is one's."""
        return self._names.name(key_class)


def _values_of(language: Language) -> Values:
    bounds, words = language.length_bounds, language.words
    if bounds is not None:
        return LengthValues(*bounds)
    if (counted := language.counted) is not None:
        return CountedValues(*counted)
    return LanguageValues(language) if words is None else WordValues(words)
