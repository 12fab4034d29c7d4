"""Formats by name: what `Format("json")` stands for, and how a user adds one."""

from __future__ import annotations

import threading

from grammars.errors import ConstraintSyntaxError, UnsupportedConstraintError
from grammars.library import LIBRARY, FormatFactory


class FormatRegistry:
    """Names and what they stand for. Names are never given anew: compiled grammars are kept by name."""

    def __init__(self) -> None:
        self._factories: dict[str, FormatFactory] = {}
        self._lock = threading.Lock()

    def register(self, name: str, factory: FormatFactory) -> None:
        """Let `Format(name)` mean what `factory(limits)` gives. Raises ConstraintSyntaxError if the name is taken."""
        with self._lock:
            if self._factories.setdefault(name, factory) is not factory:
                raise ConstraintSyntaxError(f"format {name!r} is registered already; choose another name")

    def names(self) -> list[str]:
        """The formats that there are."""
        return sorted(self._factories)

    def find(self, name: str) -> FormatFactory:
        """What makes the spec or the automaton of a format."""
        factory = self._factories.get(name)
        if factory is None:
            raise UnsupportedConstraintError(f"format {name!r} is unknown; there are {', '.join(self.names())}")
        return factory


FORMATS = FormatRegistry()
for _name, _factory in LIBRARY.items():
    FORMATS.register(_name, _factory)

register_format = FORMATS.register
"""`register_format(name, factory)`: `Format(name)` is then the spec or automaton that `factory(limits)` gives."""
