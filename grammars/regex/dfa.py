"""The byte automaton of a term, made state by state.

In: a term. Out: rows of 256 next states, each filled whole when it is first asked for. A state is a term between two
characters, or what is left of a character that is half read. States that cannot be completed are never made: their
bytes are DEAD.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD, UNFILLED
from grammars.errors import ConstraintLimitError
from grammars.limits import Limits
from grammars.regex.algebra import both
from grammars.regex.alphabet import Alphabet, Prefix
from grammars.regex.clock import Clock
from grammars.regex.derivative import Deriver, ends_here
from grammars.regex.distance import Distances
from grammars.regex.nodes import ANY, Kind, Node, repeat

_FIRST_CAPACITY = 16
_BYTES_PER_STATE = 3072  # a row, once more while the table grows, and the term
_PREFERRED = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_.,:;/!?'\"()[]{}<>@#$%&*+=^`|~\\\n\t"


class _Pending(NamedTuple):
    """`depth` more continuation bytes, the first of them in `low..high`, then `target`, whatever they are."""

    depth: int
    low: int
    high: int
    target: int


class _Split(NamedTuple):
    """An unfinished character that decides where to go on."""

    prefix: Prefix
    exits: _Exits


class _Exits:
    """The states after each class of characters: as disjoint (mask, state), and as int32[classes + 1] or DEAD."""

    __slots__ = ("by_class", "by_mask", "live")

    def __init__(self, by_mask: tuple[tuple[int, int], ...], alphabet: Alphabet) -> None:
        self.by_mask = by_mask
        self.live = 0
        self.by_class: NDArray[np.int32] = np.full(alphabet.size + 1, DEAD, np.int32)
        for mask, state in by_mask:
            self.live |= mask
            self.by_class[alphabet.members(mask)] = state


class Dfa:
    """The states reached so far and their rows. Not safe for threads."""

    def __init__(self, root: Node, limits: Limits) -> None:
        self.alphabet = Alphabet(root)
        self._clock = Clock(limits)
        self.deriver = Deriver(self.alphabet, self._clock)
        self.distances = Distances(self.deriver, limits, self._clock)
        self._most_states = min(limits.states, limits.memory_bytes // _BYTES_PER_STATE)
        self._states: list[Node | _Pending | _Split] = []
        self._numbers: dict[object, int] = {}
        self._exits: dict[tuple[tuple[int, int], ...], _Exits] = {}
        self.table: NDArray[np.int32] = np.empty((_FIRST_CAPACITY, 256), np.int32)
        self.start = self._intern(root.key, root)
        self.has_text = self.distances.is_alive(root)

    def __len__(self) -> int:
        return len(self._states)

    def row(self, state: int) -> NDArray[np.int32]:
        """int32[256], the next state for each byte or DEAD. A view of the table; do not write to it."""
        if self.table[state, 0] == UNFILLED:
            with self._clock.running():
                self._fill(state)
        return self.table[state]

    def is_accepting(self, state: int) -> bool:
        node = self._states[state]
        return isinstance(node, Node) and ends_here(node)

    def pending(self, state: int) -> int:
        """Bytes to come of the character that has begun; 0 between two characters."""
        content = self._states[state]
        if isinstance(content, Node):
            return 0
        return content.depth if isinstance(content, _Pending) else content.prefix.depth

    def shortest(self, state: int) -> int | None:
        """Characters of a completion that has the fewest, that which has begun not counted; None if not known."""
        ends = [self.shortest(end) for end in self._ends(state)]
        node = self._states[state]
        if isinstance(node, Node):
            return node.shortest if node.plain else None
        return None if None in ends else min(end for end in ends if end is not None)

    def _ends(self, state: int) -> list[int]:
        """The states after the character that has begun; none between two."""
        content = self._states[state]
        if isinstance(content, _Pending):
            return [content.target]
        if isinstance(content, _Split):
            return [end for mask, end in content.exits.by_mask if mask & content.prefix.mask]
        return []

    def goes_on(self, state: int, least: int, most: int | None) -> bool:
        """Whether a completion has `least` to `most` characters, that which has begun not counted."""
        node = self._states[state]
        if not isinstance(node, Node):
            return any(self.goes_on(end, least, most) for end in self._ends(state))
        if node.plain:
            shortest, longest = node.shortest, node.longest
            if (most is not None and shortest > most) or (longest is not None and longest < least):
                return False
            # Its shortest text will do, or its longest, or one of any length between.
            if shortest >= least or most is None or (longest is not None and longest <= most) or node.dense:
                return True
        return self.distances.is_alive(both((node, repeat(ANY, least, most))))

    def behaviour(self, state: int, size: int) -> Hashable | None:
        """A name, equal in all automata for states that texts of up to `size` bytes cannot tell apart.

        Such texts lead to one state from the one exactly if they do from the other. None inside a character.
        """
        node = self._states[state]
        if not isinstance(node, Node):
            return None
        if node.kind is Kind.REPEAT and node.parts[0].kind is Kind.CHARS:
            most = None if node.most is None else min(node.most, size + 1)
            return node.parts[0].key, min(node.least, size + 1), most
        return node.key

    def min_bytes(self, state: int) -> int:
        """Length of a shortest completion, in bytes."""
        content = self._states[state]
        if isinstance(content, Node):
            length = self.distances.of(content)
            assert length is not None or not self.has_text
            return length or 0
        if isinstance(content, _Pending):
            return content.depth + self.min_bytes(content.target)
        inside = content.prefix.mask
        return content.prefix.depth + min(self.min_bytes(end) for mask, end in content.exits.by_mask if mask & inside)

    def witness(self, state: int) -> bytes:
        """A shortest completion; among these, one of plain letters and digits where possible."""
        out = bytearray()
        left = self.min_bytes(state)
        while left:
            left -= 1
            state, byte = self._nearer(state, left)
            out.append(byte)
        return bytes(out)

    def _nearer(self, state: int, distance: int) -> tuple[int, int]:
        row = self.row(state)
        candidates = np.flatnonzero(row >= 0).tolist()
        candidates.sort(key=lambda byte: _PREFERRED.find(byte) % 1024)
        for byte in candidates:
            if self.min_bytes(int(row[byte])) == distance:
                return int(row[byte]), byte
        raise AssertionError(f"state {state} has no completion of {distance + 1} bytes")

    def _intern(self, key: object, content: Node | _Pending | _Split) -> int:
        found = self._numbers.get(key)
        if found is not None:
            return found
        number = len(self._states)
        if number >= self._most_states:
            raise ConstraintLimitError(f"a regular expression went over {self._most_states} states; simplify it")
        if number == len(self.table):
            grown = np.empty((2 * number, 256), np.int32)  # memory is not touched before there are states
            grown[:number] = self.table
            self.table = grown
        self.table[number] = UNFILLED
        self._numbers[key] = number
        self._states.append(content)
        return number

    def _fill(self, state: int) -> None:
        content = self._states[state]
        if isinstance(content, Node):
            row = self._fill_between(content)
        elif isinstance(content, _Pending):
            row = np.full(256, DEAD, np.int32)
            depth, low, high, target = content
            after = target if depth == 1 else self._pending(depth - 1, 0x80, 0xBF, target)
            row[low : high + 1] = after
        else:
            row = self._fill_split(content.prefix, content.exits)
        self.table[state] = row

    def _fill_between(self, node: Node) -> NDArray[np.int32]:
        by_mask = tuple(
            (mask, self._intern(rest.key, rest))
            for mask, rest in self.deriver.derive(node)
            if rest.plain or self.distances.is_alive(rest)
        )
        exits = self._exits.get(by_mask)
        if exits is None:
            exits = self._exits[by_mask] = _Exits(by_mask, self.alphabet)
        return self._fill_split(self.alphabet.root, exits)

    def _fill_split(self, prefix: Prefix, exits: _Exits) -> NDArray[np.int32]:
        children = self.alphabet.children(prefix)
        row = exits.by_class[prefix.classes]  # NO_CLASS is the last entry, which is DEAD
        for members, child in children:
            if child.mask & exits.live:
                row[members] = self._inside(child, exits)
        return row

    def _inside(self, prefix: Prefix, exits: _Exits) -> int:
        """The state in the middle of a character."""
        for mask, state in exits.by_mask:
            if prefix.mask & mask == prefix.mask:
                return self._pending(prefix.depth, *prefix.first_bytes(), state)
        return self._intern((prefix, exits), _Split(prefix, exits))

    def _pending(self, depth: int, low: int, high: int, target: int) -> int:
        content = _Pending(depth, low, high, target)
        return self._intern(content, content)
