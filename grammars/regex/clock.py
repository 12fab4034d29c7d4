"""A bound on the time that one piece of work may take.

In: limits. Out: an error when the time of the piece at hand is over. Pieces nest: the outermost one counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from grammars.errors import ConstraintLimitError
from grammars.limits import Limits


class Clock:
    """Starts with `running`; `check` is cheap and may be called anywhere inside."""

    def __init__(self, limits: Limits) -> None:
        self._seconds = limits.compile_seconds
        self._deadline: float | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """The piece of work. What nests too deeply for Python's stack is over the limit as well."""
        if self._deadline is not None:
            yield
            return
        self._deadline = time.monotonic() + self._seconds
        try:
            yield
        except RecursionError as error:
            raise ConstraintLimitError("a regular expression is nested too deeply; simplify it") from error
        finally:
            self._deadline = None

    def check(self) -> None:
        """Raise `ConstraintLimitError` if the time is over."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise ConstraintLimitError(
                f"a step of a regular expression took more than {self._seconds:g} s; simplify the pattern"
            )
