"""What a program can do wrong, and what a backend cannot do.

```
LanguageError (Exception)
 +- ArgumentError (ValueError, TypeError)  an argument of gen, select, run, ... is wrong; raised where it is written
 +- AppendError (TypeError)                `s += x` with something that is neither text nor a node
 +- UnknownVariableError (KeyError)        a read of a variable that the program never makes
 +- RoleError                              roles nested, left open, or refused by the chat template
 +- SpanError                              a constrain block used in a way that cannot be one text
 +- ForkError                              a fork or join that cannot be done
 +- TraceError (TypeError)                 a program asked, while it is only traced, for a value that does not exist yet
 +- CheckError                             the answer did not pass the gen's `check` after all retries
 +- BlockingReadError (RuntimeError)       an `async` program read a variable that is not there yet without `await`
 +- ProgramCancelled                       `state.cancel()` was called
 +- ProgramTimeout (TimeoutError)          the program's `timeout` is over
 +- BackendError                           the backend failed; its cause is attached
     +- UnsupportedByBackendError          the backend cannot do this; says which ones can
```

Constraint errors are `grammars.errors.GrammarError`, those of the engine `runtime.errors.RuntimeFault`; they are
passed on as they are. An error that belongs to a line of a program says so in a note:
`in profile.py:12, in profile: gen('name')`.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LanguageError(Exception):
    """Base of every error of the language."""


class ArgumentError(LanguageError, ValueError, TypeError):
    """An argument has a value that cannot work; the message names it and the way out."""


class AppendError(LanguageError, TypeError):
    """Something was added to a state that is neither text nor a node."""


class UnknownVariableError(LanguageError, KeyError):
    """The program never makes this variable."""

    def __init__(self, name: object, known: Iterable[str]) -> None:
        names = list(known)
        close = get_close_matches(str(name), names, n=1)
        has = ", ".join(map(repr, names)) if names else "none yet"
        hint = f"; did you mean {close[0]!r}?" if close else ""
        self.message = f"no variable {name!r} in this state; it has: {has}{hint}"
        super().__init__(self.message)
        self.name = name

    def __str__(self) -> str:  # KeyError would show the message quoted
        return self.message


class RoleError(LanguageError):
    """Roles are nested, closed out of turn, or the chat template refuses the conversation."""


class SpanError(LanguageError):
    """What is inside a constrain block cannot be one text of the constraint."""


class ForkError(LanguageError):
    """A fork or a join that cannot be done."""


class TraceError(LanguageError, TypeError):
    """A traced program asked for a value that does not exist while tracing."""


class CheckError(LanguageError):
    """No answer passed the `check` of a gen. `answers` are those that were tried."""

    def __init__(self, message: str, answers: tuple[str, ...]) -> None:
        super().__init__(message)
        self.answers = answers


class BlockingReadError(LanguageError, RuntimeError):
    """An `async` program read without `await`; that would stop all programs of its event loop."""


class ProgramCancelled(LanguageError):
    """The program was cancelled by its caller."""


class ProgramTimeout(LanguageError, TimeoutError):
    """The program did not end within its `timeout`."""


class BackendError(LanguageError):
    """The backend failed."""


class UnsupportedByBackendError(BackendError):
    """The backend cannot do what the program asks for."""
