"""Regular languages: patterns to lazy byte automata, with set algebra."""

from grammars.regex.language import Language
from grammars.regex.regex_automaton import automaton, compile_regex

__all__ = ["Language", "automaton", "compile_regex"]
