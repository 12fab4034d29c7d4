"""What the runtime raises.

```
RuntimeFault (Exception)
 +- ModelLoadError (ValueError)        no model there, or its files cannot be read
 +- UnsupportedModelError (ValueError) the guard refuses the architecture; says why
 +- RequestError (ValueError)          the request can never run; names the argument, the value and the way out
 |   +- PromptTooLongError             prompt and output do not fit the model's context, or the page pool
 |   +- ImageError                     what was given as an image is none, or cannot be read, or is out of bounds
 +- RequestAborted                     aborted by its caller, a deadline, or `shutdown`
 +- EngineStopped                      submitted after `shutdown`, or the engine's loop died (its cause is attached)
```

Constraint errors are `grammars.errors.GrammarError`.
"""

from __future__ import annotations


class RuntimeFault(Exception):
    """Base of every error of the runtime."""


class ModelLoadError(RuntimeFault, ValueError):
    """There is no model at this path or id, or it cannot be read."""


class UnsupportedModelError(RuntimeFault, ValueError):
    """The model loads, but would not be right under this runtime."""


class RequestError(RuntimeFault, ValueError):
    """The request can never run as it is."""


class PromptTooLongError(RequestError):
    """The prompt, with room for one token of output, does not fit."""


class ImageError(RequestError):
    """What was given as an image is none, cannot be read, or is too large, too small or too narrow."""


class RequestAborted(RuntimeFault):
    """The request ended before it was complete. `output` is the `RequestOutput` of what there was."""

    def __init__(self, message: str, output: object = None) -> None:
        super().__init__(message)
        self.output = output


class EngineStopped(RuntimeFault):
    """The engine no longer runs."""
