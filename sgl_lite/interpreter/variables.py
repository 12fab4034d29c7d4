"""The variables of a state: cells that are declared when the program writes them and filled when the model answers.

Forks share their parent's cells. Knows the interpreter that fills a cell only as something to wait on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from sgl_lite.errors import ArgumentError


class Owner(Protocol):
    """Who fills a cell."""

    def wait_for(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Until `ready()`; False when `timeout` seconds are over. Errors: those of the program."""
        ...

    async def wait_async(self, ready: Callable[[], bool]) -> None:
        """As `wait_for`, without blocking the event loop."""
        ...


class Cell:
    """One variable, written once.

    value:   text, or a list of texts for n > 1; anything for `set_var`.
    partial: the answer as far as it is there.
    parse:   reads a text of the variable's constraint; None without one.
    error:   raised when this variable is read (a child's failure, gathered by `join`).
    """

    __slots__ = ("error", "meta", "name", "owner", "parse", "partial", "ready", "value")

    def __init__(self, name: str | None, owner: Owner, parse: Callable[[str], Any] | None = None) -> None:
        self.name, self.owner, self.parse = name, owner, parse
        self.value: Any = None
        self.meta: dict[str, Any] | None = None
        self.partial = ""
        self.error: BaseException | None = None
        self.ready = False

    def fill(self, value: Any, meta: dict[str, Any] | None = None) -> None:
        """The answer is here. The owner tells those who wait."""
        self.value, self.meta = value, meta
        self.partial = value if isinstance(value, str) else str(value[0]) if isinstance(value, list) and value else ""
        self.ready = True

    def get(self, timeout: float | None = None) -> Any:
        """Wait for the value. Errors: those of the program; `TimeoutError`."""
        if not self.ready and not self.owner.wait_for(lambda: self.ready, timeout):
            raise TimeoutError(f"variable {self.name!r} is not there after {timeout} s")
        if self.error is not None:
            raise self.error
        return self.value

    def parsed(self) -> Any:
        """The value as what its constraint says it is. Errors: `ArgumentError` without a constraint."""
        value = self.get()
        if self.parse is None:
            raise ArgumentError(
                f"variable {self.name!r} has no constraint to read it by; give its gen type=, json_schema= or dtype="
            )
        return [self.parse(text) for text in value] if isinstance(value, list) else self.parse(value)
