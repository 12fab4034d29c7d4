"""All texts of so many characters, as an automaton over UTF-8 bytes whose states are computed, not made.

In: the least and the greatest count of characters. Out: `LengthValues`, as `escapes` reads it. A state is
8 * characters + phase; the phase tells which bytes the character begun still takes, the count includes it. A row is
one of eight templates, moved.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from grammars.automaton import DEAD, SLICE_BYTES
from grammars.json_schema.escapes import NO_CLASS, Row, Spread, Together

PHASES = 8
CONTINUATIONS = (
    # phase: lowest and highest next byte, next phase, bytes to come
    (0, 0, 0, 0),
    (0x80, 0xBF, 0, 1),
    (0x80, 0xBF, 1, 2),
    (0xA0, 0xBF, 1, 2),  # after E0: no overlong forms
    (0x80, 0x9F, 1, 2),  # after ED: no surrogates
    (0x90, 0xBF, 2, 3),  # after F0: no overlong forms
    (0x80, 0xBF, 2, 3),
    (0x80, 0x8F, 2, 3),  # after F4: nothing over U+10FFFF
)
LEADS = (
    (0x00, 0x7F, 0), (0xC2, 0xDF, 1), (0xE0, 0xE0, 3), (0xE1, 0xEC, 2), (0xED, 0xED, 4), (0xEE, 0xEF, 2),
    (0xF0, 0xF0, 5), (0xF1, 0xF3, 6), (0xF4, 0xF4, 7),
)  # fmt: skip


def _templates() -> Row:
    """[8, 256]: the phase after each byte in each phase, or DEAD."""
    rows = np.full((PHASES, 256), DEAD, np.int32)
    for low, high, phase in LEADS:
        rows[0, low : high + 1] = phase
    for phase, (low, high, after, _) in enumerate(CONTINUATIONS[1:], 1):
        rows[phase, low : high + 1] = after
    return rows


_TOGETHER = 16
"""Counts of characters whose rows are made together: a string takes a few with each token."""
_OFTEN = 4
"""Phases from here on are met seldom."""
_TEMPLATES = _templates()
_DEAD_ROW = np.full(256, DEAD, np.int32)
_FAR = 1 << 27
"""Characters that are counted at most, so that states fit into 32 bits: no answer is so long."""


class LengthValues:
    """See the module docstring. `most` None: no bound; then characters are counted up to `least`."""

    is_plain = True
    start = 0

    def __init__(self, least: int, most: int | None) -> None:
        self._least, self._most = least, most
        self._last = min(least if most is None else most, _FAR)

    def row(self, state: int) -> Row:
        count, phase = divmod(state, PHASES)
        if phase == 0:
            if count == self._most:
                return _DEAD_ROW
            count = min(count + 1, self._last)
        template = _TEMPLATES[phase]
        return np.where(template == DEAD, np.int32(DEAD), template + np.int32(PHASES * count))

    def few(self, state: int) -> None:
        """None: these rows are wide."""

    def spread(self, state: int) -> Spread:
        """Nothing: these rows are wide."""
        return Spread([], [])

    def together(self, state: int) -> Together | None:
        """Those of the counts around, in the phases that are met often."""
        count, phase = divmod(state, PHASES)
        if phase >= _OFTEN:
            return None
        first = count // _TOGETHER * _TOGETHER
        counts = np.arange(first, min(first + _TOGETHER, self._last + 1), dtype=np.int32)[:, None]
        phases = np.arange(_OFTEN, dtype=np.int32)
        after = np.where(phases == 0, np.minimum(counts + 1, self._last), counts)
        templates = _TEMPLATES[:_OFTEN]
        rows = np.where(templates == DEAD, np.int32(DEAD), templates + PHASES * after[:, :, None])
        if counts[-1, 0] == self._most:
            rows[-1, 0] = DEAD
        ends = (phases == 0) & (counts >= self._least)
        return Together((PHASES * counts + phases).reshape(-1), rows.reshape(-1, 256), ends.reshape(-1))

    def class_of(self, state: int) -> int:
        count, phase = divmod(state, PHASES)
        return 0 if phase == 0 and count >= self._least else NO_CLASS

    def slice_key(self, state: int) -> Hashable | None:
        """Bounds that are further away than a slice sees do not count."""
        count, phase = divmod(state, PHASES)
        most = None if self._most is None else min(self._most - count, SLICE_BYTES + 1)
        return "characters", phase, min(max(0, self._least - count), SLICE_BYTES + 1), most

    def bound(self, state: int) -> int:
        count, phase = divmod(state, PHASES)
        return max(0, self._least - count) + CONTINUATIONS[phase][3]
