"""A regular language behind the contract of `grammars.automaton`.

In: a language or a regex spec. Out: a `ByteAutomaton` of one context, 0, that never crosses.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD, SLICE_BYTES, ByteAutomaton
from grammars.errors import UnsatisfiableConstraintError
from grammars.limits import Limits
from grammars.regex.language import Language
from grammars.spec import Regex


class RegexAutomaton:
    """See `ByteAutomaton`. A state is its row number."""

    def __init__(self, language: Language) -> None:
        self._dfa = language.dfa
        self.start = self._dfa.start
        self._sync()

    def _sync(self) -> None:
        self.table: NDArray[np.int32] = self._dfa.table
        self.exits: NDArray[np.int32] = np.zeros(len(self.table), np.int32)

    def fill(self, local: int) -> None:
        """Fill `table[local]`, whole."""
        self._dfa.row(local)
        if len(self.table) < len(self._dfa.table):
            self._sync()

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        """All DEAD: nothing crosses."""
        return np.full(256, DEAD, np.int64)

    remembers = False

    def remember(self, before: int, text: bytes, after: int) -> int:
        """`after`: the tables tell all."""
        return after

    def is_accepting(self, state: int) -> bool:
        return self._dfa.is_accepting(state)

    def min_bytes(self, state: int) -> int:
        return self._dfa.min_bytes(state)

    def witness(self, state: int) -> bytes:
        return self._dfa.witness(state)

    def slice_key(self, local: int) -> Hashable | None:
        """The term of the row, with counts of characters that no text of SLICE_BYTES can use up made alike."""
        return self._dfa.behaviour(local, SLICE_BYTES)

    def canonical_byte(self, local: int) -> int:
        return DEAD


def automaton(language: Language) -> ByteAutomaton:
    """The language as a byte automaton; it shares the states that `language` has reached.

    Raises `UnsatisfiableConstraintError` if the language has no text.
    """
    if language.is_empty():
        raise UnsatisfiableConstraintError("the regular expression matches no text at all")
    return RegexAutomaton(language)


def compile_regex(spec: Regex, limits: Limits) -> ByteAutomaton:
    """The automaton of a full match of `spec.pattern`."""
    language = Language.parse(spec.pattern, spec.flags, spec.dialect).within(limits)
    if language.is_empty():
        raise UnsatisfiableConstraintError(f"the pattern {spec.pattern!r} matches no text at all")
    return automaton(language)
