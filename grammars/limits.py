"""How much a constraint may cost before it is refused with `ConstraintLimitError`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one compile and on what it leaves behind.

    compile_seconds: wall clock of one `compile`.
    memory_bytes:    tables, memos and masks of one compiled grammar, all its matchers together.
    states:          automaton states that one compiled grammar may intern.
    """

    compile_seconds: float = 10.0
    memory_bytes: int = 512 << 20
    states: int = 1_000_000


DEFAULT_LIMITS = Limits()
