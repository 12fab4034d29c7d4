"""What can be wrong with a constraint.

```
GrammarError (ValueError)
 +- ConstraintSyntaxError        the constraint itself does not parse (a regex, a grammar, a schema that is no schema)
 +- UnsupportedConstraintError   it parses, but something in it cannot be enforced exactly; names keyword and path
 +- UnsatisfiableConstraintError no text satisfies it
 +- ConstraintLimitError         compiling it would take more time or memory than `Limits` allows
 +- CompileCancelledError        whoever asked for the compile does not want it any more
 +- BudgetError                  the token budget cannot hold even the shortest answer
 +- ConformError                 a text given as already written does not conform; names the byte and what could follow
```
"""

from __future__ import annotations


class GrammarError(ValueError):
    """Base of every error that a constraint can cause."""


class ConstraintSyntaxError(GrammarError):
    """The constraint does not parse: bad regex, bad grammar, not a schema."""


class UnsupportedConstraintError(GrammarError):
    """A part of the constraint cannot be enforced exactly, so it is refused rather than ignored.

    `path` is a JSON pointer into the schema (`/properties/a/not`), or a position in a regex or grammar.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


class UnsatisfiableConstraintError(GrammarError):
    """No text at all satisfies the constraint."""


class ConstraintLimitError(GrammarError):
    """Compiling, or a mask, would go over a limit of `grammars.limits.Limits`."""


class CompileCancelledError(GrammarError):
    """The event that was given to `compile` has been set before it was done."""


class BudgetError(GrammarError):
    """The token budget is smaller than the shortest text that satisfies the constraint."""

    def __init__(self, budget: int, min_tokens: int) -> None:
        super().__init__(
            f"max_tokens={budget} cannot hold the shortest text that satisfies the constraint, "
            f"which takes {min_tokens} tokens; raise max_tokens to at least {min_tokens}"
        )
        self.budget, self.min_tokens = budget, min_tokens


class ConformError(GrammarError):
    """A text given as already written cannot begin any text that satisfies the constraint."""

    def __init__(self, text: bytes, offset: int, expected: str) -> None:
        shown = text[max(0, offset - 20) : offset + 20].decode("utf-8", "replace")
        super().__init__(f"the text does not conform at byte {offset}: ...{shown!r}; expected {expected}")
        self.text, self.offset = text, offset
