"""Constraints on text, and the token masks that enforce them. Knows text, bytes and token ids; no model, no torch.

    grammar = compile(JsonSchema(schema), Vocabulary.from_tokenizer(tokenizer))
    matcher = grammar.matcher(budget=200)
    matcher.fill_mask(row); matcher.advance(token)

Names that need compiled code are loaded when they are first used, so that describing a constraint costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from grammars.errors import (
    BudgetError,
    CompileCancelledError,
    ConformError,
    ConstraintLimitError,
    ConstraintSyntaxError,
    GrammarError,
    UnsatisfiableConstraintError,
    UnsupportedConstraintError,
)
from grammars.limits import DEFAULT_LIMITS, Limits
from grammars.spec import (
    Choice,
    Ebnf,
    Format,
    JsonSchema,
    Lark,
    Literal,
    Regex,
    Repeat,
    Sequence,
    Spec,
    Tag,
    Tagged,
    UpTo,
)

if TYPE_CHECKING:
    from grammars.compiled_grammar import CompiledGrammar
    from grammars.compiler import compile
    from grammars.formats import register_format
    from grammars.masks.apply import apply_masks, likeliest_allowed
    from grammars.matcher import Matcher
    from grammars.vocabulary import Vocabulary, VocabularyError

_LOADED_ON_USE = {
    "apply_masks": "grammars.masks.apply",
    "CompiledGrammar": "grammars.compiled_grammar",
    "compile": "grammars.compiler",
    "likeliest_allowed": "grammars.masks.apply",
    "Matcher": "grammars.matcher",
    "register_format": "grammars.formats",
    "Vocabulary": "grammars.vocabulary",
    "VocabularyError": "grammars.vocabulary",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_ON_USE:
        raise AttributeError(f"module 'grammars' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LOADED_ON_USE[name]), name)
    return value


__all__ = [
    "DEFAULT_LIMITS",
    "BudgetError",
    "Choice",
    "CompileCancelledError",
    "CompiledGrammar",
    "ConformError",
    "ConstraintLimitError",
    "ConstraintSyntaxError",
    "Ebnf",
    "Format",
    "GrammarError",
    "JsonSchema",
    "Lark",
    "Limits",
    "Literal",
    "Matcher",
    "Regex",
    "Repeat",
    "Sequence",
    "Spec",
    "Tag",
    "Tagged",
    "UnsatisfiableConstraintError",
    "UnsupportedConstraintError",
    "UpTo",
    "Vocabulary",
    "VocabularyError",
    "apply_masks",
    "compile",
    "likeliest_allowed",
    "register_format",
]
