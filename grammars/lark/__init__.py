"""Context-free grammars: Lark's notation and EBNF, to byte automata."""

from grammars.lark.load_ebnf import read_ebnf
from grammars.lark.load_lark import read_lark
from grammars.lark.machine import CfgAutomaton
from grammars.limits import DEFAULT_LIMITS, Limits
from grammars.spec import Ebnf, Lark

__all__ = ["compile_ebnf", "compile_lark", "read_ebnf", "read_lark"]


def compile_lark(spec: Lark, limits: Limits = DEFAULT_LIMITS) -> CfgAutomaton:
    """Errors: `ConstraintSyntaxError`, `UnsupportedConstraintError` (a terminal), `UnsatisfiableConstraintError`."""
    return CfgAutomaton(read_lark(spec.grammar, spec.start), limits)


def compile_ebnf(spec: Ebnf, limits: Limits = DEFAULT_LIMITS) -> CfgAutomaton:
    """Errors: as `compile_lark`."""
    return CfgAutomaton(read_ebnf(spec.grammar, spec.root), limits)
