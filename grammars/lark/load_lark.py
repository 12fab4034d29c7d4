"""Lark's notation into a `Cfg`. The `lark` package reads the text: `%import`, templates, `~n..m` and `?` are its own.

A text belongs to the grammar if Lark's default parser (Earley with its dynamic lexer) accepts it: terminals are tried
where the grammar expects them, each takes the match that `re` would take, and `%ignore`d ones may stand between.
"""

from __future__ import annotations

import re

import lark
from lark.grammar import NonTerminal
from lark.lexer import TerminalDef

from grammars.errors import ConstraintSyntaxError
from grammars.lark.cfg import Cfg, Extent, Rule, Terminal
from grammars.regex import Language

_LAZY = re.compile(r"(?<!\\)(?:\\\\)*[*+?}]\?")
"""A lazy quantifier. (An escaped one, `\\*?`, is none.)"""


def read_lark(text: str, start: str) -> Cfg:
    """Errors: `ConstraintSyntaxError` with Lark's own message, which names line and column."""
    try:
        parsed = lark.Lark(text, parser="earley", lexer="dynamic", start=start, maybe_placeholders=False)
    except Exception as error:  # Lark lets what it calls fail as it may: re, regex, KeyError, AssertionError
        raise ConstraintSyntaxError(f"the Lark grammar does not parse: {error}") from error
    terminal_ids = {terminal.name: i for i, terminal in enumerate(parsed.terminals)}
    heads = list(dict.fromkeys(rule.origin.name for rule in parsed.rules))
    head_ids = {name: i for i, name in enumerate(heads)}

    def symbol(item: object) -> int:
        name = item.name  # type: ignore[attr-defined]
        return ~head_ids[name] if isinstance(item, NonTerminal) else terminal_ids[name]

    rules = dict.fromkeys(
        Rule(head_ids[rule.origin.name], tuple(symbol(item) for item in rule.expansion)) for rule in parsed.rules
    )
    return Cfg(
        terminals=tuple(map(_terminal, parsed.terminals)),
        nonterminals=tuple(heads),
        rules=tuple(rules),
        start=head_ids[start],
        ignored=tuple(terminal_ids[name] for name in parsed.ignore_tokens),
    )


def _terminal(definition: TerminalDef) -> Terminal:
    pattern = definition.pattern.to_regexp()
    extent: Extent = (
        "first" if definition.pattern.type == "re" and _LAZY.search(definition.pattern.value) else "longest"
    )
    language = Language.parse(pattern)
    if language.accepts(b""):
        raise ConstraintSyntaxError(f"the terminal {definition.name} matches the empty text: {pattern!r}")
    return Terminal(definition.name, language, extent)
