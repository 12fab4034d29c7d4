"""Shortest JSON texts of scalars and names.

Comes in: languages, number sets, names. Goes out: JSON texts. Knows no schema.
"""

from __future__ import annotations

import json

from grammars.errors import UnsupportedConstraintError
from grammars.json_schema.numerals import Numerals
from grammars.json_schema.strings import StringLexeme, any_string, shared_lexemes
from grammars.regex import Language


class Texts:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self._strings: dict[bytes | None, bytes] = {}
        self._lexemes: dict[bytes, StringLexeme] = {}
        self._names: dict[str, bytes] = {}

    def lexeme(self, language: Language | None) -> StringLexeme:
        """The automaton of the strings of a language (None: all), after the opening quote."""
        if language is None:
            return any_string()
        found = self._lexemes.get(language.key)
        if found is None:
            found = self._lexemes[language.key] = shared_lexemes().of(language)
        return found

    def shortest_number(self, numbers: Numerals) -> bytes:
        language = numbers.language()
        return language.witness(language.start)

    def shortest_string(self, language: Language | None) -> bytes:
        """With its quotes."""
        key = None if language is None else language.key
        if key not in self._strings:
            lexeme = self.lexeme(language)
            self._strings[key] = b'"' + lexeme.witness(lexeme.start)
        return self._strings[key]

    def shortest_member(self, language: Language) -> str:
        """The value of a string with a shortest JSON text."""
        value: str = json.loads(self.shortest_string(language))
        return value

    def key(self, name: str) -> bytes:
        """The shortest text of a property name, with the colon."""
        text = self._names.get(name)
        if text is None:
            text = self._names[name] = self._key(name)
        return text

    def _key(self, name: str) -> bytes:
        try:
            return json.dumps(name, ensure_ascii=False).encode() + b":"
        except UnicodeEncodeError as error:
            raise UnsupportedConstraintError(
                f"the name {name!a} holds half of a surrogate pair; no text does"
            ) from error
