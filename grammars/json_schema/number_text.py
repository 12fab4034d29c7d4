"""The JSON texts of a set of numbers, as a lazy byte automaton.

In: the cells of the set, and those of the subsets that may be written as decimals and with exponents
(`float_safety`). Out: `NumberText`, with the reading side of `grammars.regex.Language`. This module knows no schema.

Three *spellings* read the same text side by side; each keeps a small symbolic state, None once it can no longer hold:

    PlainDigits(point=False)   12        read as an exact integer
    PlainDigits(point=True)    12.50     digits, a point, digits
    Scientific                 1.25e+01  one digit before the point, not 0 unless all digits are 0
    AnyFloat                   all of RFC 8259 with a point or exponent, where a sign's numbers are all in the set

Left out: exponents after several or no leading digits (`12e1`, `0.5e1`) where a bound or a multiple has to be kept,
exponents together with multiples other than of a power of ten, more than 16 digits before such an exponent, and
exponents where all members are integers within 10**16; a point where an integer has very many remainders.

Whether a state is completable, and its `min_bytes`, is found by a search forward; only where that gets wide is the rest
of the automaton made.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD
from grammars.json_schema.cells import Cells, possible
from grammars.json_schema.number_spellings import AnyFloat, PlainDigits, Scientific, Spelling

CHARACTERS = "eE.5123467890+-"
"""In the order in which a completion is looked for: an exponent, a point, a digit in the middle."""
NEAR = 512
"""States that the search for a shortest completion looks at before the whole automaton is made."""

_Key: TypeAlias = tuple[Any, ...]


class NumberText:
    """Texts of numbers; see the module docstring.

    States are integers from 0; every state that `row` or `step` gives is completable. Not safe for threads.
    """

    def __init__(self, plain: Cells, decimals: Cells, scientific: Cells) -> None:
        self.key: Hashable = ("number", plain, decimals, scientific)
        self._spellings = {sign: _spellings(plain, decimals, scientific, sign) for sign in "+-"}
        self._ids: dict[_Key, int] = {("start",): 0}
        self._keys: list[_Key] = [("start",)]
        self._next: dict[int, dict[str, int]] = {}
        self._min: dict[int, int] = {}  # DEAD where no completion exists
        self._live: dict[int, bool] = {}
        self._onward: dict[int, tuple[str, int]] = {}  # the first step of a shortest completion
        self._rows: dict[int, NDArray[np.int32]] = {}
        self.start = 0

    def row(self, state: int) -> NDArray[np.int32]:
        """[256]: the state after each byte, or DEAD. Read only."""
        row = self._rows.get(state)
        if row is None:
            row = np.full(256, DEAD, np.int32)
            for character, target in self._successors(state).items():
                if self._is_live(target):
                    row[ord(character)] = target
            row.setflags(write=False)
            self._rows[state] = row
        return row

    def step(self, state: int, byte: int) -> int:
        return int(self.row(state)[byte])

    def is_accepting(self, state: int) -> bool:
        key = self._keys[state]
        if len(key) == 1:
            return False
        spellings = self._spellings[key[0]]
        return any(s is not None and spelling.accepts(s) for spelling, s in zip(spellings, key[1:], strict=True))

    def min_bytes(self, state: int) -> int:
        """Bytes of a shortest completion. Raises ValueError where there is none (only in the start state)."""
        found = self._minimum(state)
        if found == DEAD:
            raise ValueError("no number is in the set")
        return found

    def witness(self, state: int) -> bytes:
        """A shortest completion."""
        text = ""
        for _ in range(self.min_bytes(state)):
            left = self._minimum(state)
            if state not in self._onward:
                self._onward[state] = next(
                    (character, target)
                    for character, target in self._successors(state).items()
                    if self._minimum(target) == left - 1
                )
            character, state = self._onward[state]
            text += character
        return text.encode()

    def is_empty(self) -> bool:
        return not self._is_live(self.start)

    def accepts(self, text: str | bytes) -> bool:
        state = self.start
        for byte in text.encode() if isinstance(text, str) else text:
            state = self.step(state, byte)
            if state == DEAD:
                return False
        return self.is_accepting(state)

    def _successors(self, state: int) -> dict[str, int]:
        """The state after each character that some spelling can read, completable or not."""
        found = self._next.get(state)
        if found is None:
            found = {}
            for character in CHARACTERS:
                key = self._step(self._keys[state], character)
                if key is not None:
                    found[character] = self._intern(key)
            self._next[state] = found
        return found

    def _intern(self, key: _Key) -> int:
        state = self._ids.setdefault(key, len(self._keys))
        if state == len(self._keys):
            self._keys.append(key)
        return state

    def _step(self, key: _Key, character: str) -> _Key | None:
        if key == ("start",):
            if character == "-":
                return "-", *(spelling.start for spelling in self._spellings["-"])
            key = "+", *(spelling.start for spelling in self._spellings["+"])
        states = tuple(
            None if s is None else spelling.step(s, character)
            for spelling, s in zip(self._spellings[key[0]], key[1:], strict=True)
        )
        return (key[0], *states) if any(s is not None for s in states) else None

    def _is_live(self, state: int) -> bool:
        """Whether a completion exists: depth first, since almost every state has one near."""
        if state in self._min:
            return self._min[state] != DEAD
        if state in self._live:
            return self._live[state]
        seen = {state}
        path = [(state, iter([state, *self._successors(state).values()]))]
        while path:
            target = next(path[-1][1], None)
            if target is None:
                path.pop()
            elif self._live.get(target) or self._min.get(target, DEAD) != DEAD or self.is_accepting(target):
                self._live[target] = True
                self._live.update((s, True) for s, _ in path)
                return True
            elif len(seen) > NEAR:
                self._complete(state)
                return self._min[state] != DEAD
            elif target not in seen and target not in self._live and target not in self._min:
                seen.add(target)
                path.append((target, iter(self._successors(target).values())))
        self._live.update((s, False) for s in seen)
        return False

    def _minimum(self, state: int) -> int:
        """Bytes of a shortest completion, or DEAD."""
        found = self._min.get(state)
        if found is None:
            found = self._search(state)
            if found is None:
                self._complete(state)
                found = self._min[state]
            self._min[state] = found
        return found

    def _search(self, state: int) -> int | None:
        """Breadth first over at most NEAR states; None if that does not decide it."""
        layer, seen, depth, best = [state], {state}, 0, (DEAD, state)
        before: dict[int, tuple[int, str]] = {}
        while layer and (best[0] == DEAD or depth < best[0]):
            known = [(depth + self._min[s], s) for s in layer if s in self._min]
            known += [(depth, s) for s in layer if self.is_accepting(s)]
            best = min(known if best[0] == DEAD else [best, *known], default=best)
            if best[0] == depth:
                break
            if len(seen) > NEAR:
                return None
            depth += 1
            after = [
                (s, c, t) for s in layer if s not in self._min for c, t in self._successors(s).items() if t not in seen
            ]
            before.update((t, (s, c)) for s, c, t in reversed(after))
            layer = [t for t in dict.fromkeys(t for _, _, t in after) if self._min.get(t) != DEAD]
            seen.update(t for _, _, t in after)
        length, end = best
        while length != DEAD and end != state:
            target, (end, character) = end, before[end]
            self._onward[end] = character, target
        return length

    def _complete(self, state: int) -> None:
        """Fill `_min` for all states that are reachable from this one."""
        queue: list[tuple[int, int]] = []
        before: dict[int, list[int]] = {}
        todo, seen = [state], {state}
        while todo:
            s = todo.pop()
            if self.is_accepting(s):
                self._min[s] = 0
            if s in self._min:
                if self._min[s] != DEAD:
                    queue.append((self._min[s], s))
                continue
            for t in self._successors(s).values():
                before.setdefault(t, []).append(s)
                if t not in seen:
                    seen.add(t)
                    todo.append(t)
        heapq.heapify(queue)
        while queue:
            length, s = heapq.heappop(queue)
            for p in before.get(s, ()):
                if p not in self._min:
                    self._min[p] = length + 1
                    heapq.heappush(queue, (length + 1, p))
        for s in seen:
            self._min.setdefault(s, DEAD)


def _spellings(plain: Cells, decimals: Cells, scientific: Cells, sign: str) -> tuple[Spelling, ...]:
    """The spellings that a sign's numbers have, none for what can hold nothing."""
    if sign == "-":
        plain, decimals, scientific = plain.mirrored(), decimals.mirrored(), scientific.mirrored()
    whole, floats = PlainDigits(_from_zero(plain), point=False), _from_zero(scientific)
    if floats.points[0] and len(floats.cuts) == 1 and floats.opens[1] == possible(floats.lattices):
        return whole, AnyFloat()
    digits = PlainDigits(_from_zero(decimals), point=True)
    return (whole, digits, Scientific(floats)) if any((*floats.opens, *floats.points)) else (whole, digits)


def _from_zero(cells: Cells) -> Cells:
    """The same cells with nothing below 0, and 0 as the first cut."""
    at = sum(cut < 0 for cut in cells.cuts)
    if at < len(cells.cuts) and cells.cuts[at] == 0:
        return Cells(cells.cuts[at:], (0, *cells.opens[at + 1 :]), cells.points[at:], cells.lattices)
    zero = bool(cells.opens[at] >> (1 << len(cells.lattices)) - 1 & 1)  # 0 lies in every lattice
    return Cells((Fraction(0), *cells.cuts[at:]), (0, *cells.opens[at:]), (zero, *cells.points[at:]), cells.lattices)
