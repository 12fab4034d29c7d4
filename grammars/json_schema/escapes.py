r"""The JSON text of a string, after its opening quote, over the automaton of what the string may be.

In: `Values`, an automaton over the UTF-8 bytes of the string's value. Out: `EscapedText`, a lazy byte automaton that
reads the text up to and with the closing quote: raw characters where JSON has them raw, the short escapes, `\uXXXX`
with surrogate pairs, each doing what the bytes of its character do. This module knows no schema and no regex.

States are integers. Even ones are between two bytes of the value: state 2 * q, where q is the state of the values. Odd
ones are interned: first the final states of the classes of values that are known from the start, then those of classes
met later, and what an escape has read so far:

    ("\\", q)  \        ("u", q)  \u         ("lead", m)  \uh...      m: after the lead byte that the digit fixes
                                             ("zero", q)  \u0         ("dee", q)  \uD
    ("tail", targets)   one or two digits to go; the targets of all characters that they can make
    ("high", q, n, k)   the first k digits of a high surrogate, k = 2, 3, make the number n
    ("low", m, g, at)   after a high surrogate; m, g: after two bytes of the character, which quarter of the third

So prefixes that the same digits complete in the same way are one state, whatever the values are.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD

Row: TypeAlias = NDArray[np.int32]

QUOTE, BACKSLASH = ord('"'), ord("\\")
SHORT = {ord(name): ord(value) for name, value in zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True)}
"""The byte after a backslash -> the character it stands for."""
_NOT_RAW_BYTES = frozenset((*range(0x20), QUOTE, BACKSLASH))
_NOT_RAW = np.array(sorted(_NOT_RAW_BYTES))
IS_RAW = np.array([byte not in _NOT_RAW_BYTES for byte in range(256)])
"""The bytes of values that JSON has as they are."""
NO_CLASS = -1
IMPOSSIBLE = 1 << 60
"""More bytes than any text takes"""


class Spread(NamedTuple):
    """The rows of several states.

    few:    (state, like, {byte: state}), as `Values.few` has it
    chains: (state, text, like) where each row on the way is that of `like`, or dead, but for one byte of the text; the
            states along it follow each other
    """

    few: list[tuple[int, int, dict[int, int]]]
    chains: list[tuple[int, bytes, int]]


class Together(NamedTuple):
    """Rows that cost little more than one of them.

    states: [n]; rows: [n, 256], the state after each byte, or DEAD; ends: [n], whether a value, of class 0, ends there
    """

    states: NDArray[np.int32]
    rows: NDArray[np.int32]
    ends: NDArray[np.bool_]


class Chain(NamedTuple):
    """The rows along one text, then the quote.

    first:   the states before each byte are first, first + 2, ..., the last one before the quote
    like:    the state whose rows they are but for that byte and the quote; DEAD: all other bytes are dead
    escapes: for each byte the state after a backslash, DEAD inside a character
    end:     the state after the quote
    """

    first: int
    text: bytes
    like: int
    escapes: list[int]
    end: int


class Values(Protocol):
    """What a string may be: an automaton over UTF-8 bytes whose accepting states tell a class."""

    start: int
    is_plain: bool
    """Whether the bound is met in every state, by bytes that JSON has as they are."""

    def row(self, state: int) -> Row:
        """[256]: the state after each byte, DEAD where no value goes on like this."""
        ...

    def few(self, state: int) -> tuple[int, dict[int, int]] | None:
        """(like, {byte: state}): the row is that of `like`, or dead if that is DEAD, but for these bytes, which are all
        alive. None where that would not be short."""
        ...

    def spread(self, state: int) -> Spread:
        """What `few` says of `state` and of states that a text is in soon after, in one answer each. Empty where `few`
        says None."""
        ...

    def together(self, state: int) -> Together | None:
        """Some states that `state` is among, where their rows cost little more than one."""
        ...

    def class_of(self, state: int) -> int:
        """The class of the value that ends here, or NO_CLASS."""
        ...

    def bound(self, state: int) -> int:
        """Bytes that any value still takes, or fewer."""
        ...

    def slice_key(self, state: int) -> Hashable | None:
        """As `ByteAutomaton.slice_key`."""
        ...


def _byte_costs() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bytes of text that each byte of a value takes at least, and the bytes ordered by that, letters first."""
    cost = np.ones(256, np.int64)
    cost[:32] = 6
    cost[list(SHORT.values())] = 2
    cost[ord("/")] = 1
    letters = np.array([not chr(b).isalnum() if b < 128 else True for b in range(256)])
    return cost, np.lexsort((np.arange(256), np.array([b != 97 for b in range(256)]), letters, cost))


_COST, _BY_COST = _byte_costs()


class EscapedText:
    """See the module docstring. Every state that `row` gives is completable. Safe for threads, if the values are its
    own."""

    def __init__(self, values: Values, classes: int, key: Hashable) -> None:
        self.key = key
        self.classes = classes
        self._values = values
        self._keys: list[tuple[Any, ...]] = [("final", c) for c in range(classes)]
        self._ids = {k: i for i, k in enumerate(self._keys)}
        self._rows: dict[int, Row] = {}
        self._costs: dict[int, int] = {}  # of states of the values: bytes to and with the closing quote
        self._best: dict[int, tuple[int, int]] = {}  # of those: the value's next byte on a shortest way, and its target
        self._lengths: dict[int, int] = {}
        self._lock = threading.RLock()
        """held while anything is made"""
        self.start = 2 * values.start

    def row(self, state: int) -> Row:
        """int32[256]: the state after each byte of text, or DEAD. Read only."""
        row = self._rows.get(state)
        if row is None:
            with self._lock:
                row = self._escape_row(self._keys[state >> 1]) if state & 1 else self._plain_row(state >> 1)
                row.setflags(write=False)
                self._rows[state] = row
        return row

    @property
    def nbytes(self) -> int:
        """Memory that its rows take, and as much again for those of the values."""
        return 2 * 1024 * len(self._rows)

    def spread(self, state: int) -> tuple[list[tuple[int, int, dict[int, int]]], list[Chain]]:
        """The rows of a state and of states after it, as `Values.spread` has them: by the difference to another row,
        and chains. Nothing where the values do not say."""
        with self._lock:
            if state & 1:
                return self._spread_escape(*self._keys[state >> 1][:2]), []
            found = self._values.spread(state >> 1)
            few = [
                (2 * q, 2 * like if like != DEAD else DEAD, self._few_raw(q, like, changed))
                for q, like, changed in found.few
            ]
            return few, [self._chain(*chain) for chain in found.chains]

    def _chain(self, q: int, text: bytes, like: int) -> Chain:
        escapes = [self._intern(("\\", at)) if not 0x80 <= byte < 0xC0 else DEAD for at, byte in enumerate(text, q)]
        return Chain(
            2 * q, text, 2 * like if like != DEAD else DEAD, escapes, self._final(self._values.class_of(q + len(text)))
        )

    def _few_raw(self, q: int, like: int, changed: dict[int, int]) -> dict[int, int]:
        nexts = {byte: 2 * target for byte, target in changed.items() if byte not in _NOT_RAW_BYTES}
        ends = self._values.class_of(q)
        nexts[QUOTE] = DEAD if ends == NO_CLASS else self._final(ends)
        if self._beside(like) != DEAD or any(byte < 0x80 or 0xC2 <= byte < 0xF5 for byte in changed):
            nexts[BACKSLASH] = self._intern(("\\", q))
        return nexts

    def _beside(self, like: int) -> int:
        """The backslash's target in the row of `like`: alive if that is between two characters."""
        return DEAD if like == DEAD else int(self.row(2 * like)[BACKSLASH])

    def _spread_escape(self, kind: str, q: Any) -> list[tuple[int, int, dict[int, int]]]:
        """After a backslash, what it may be followed by, and the first digit after a `u`."""
        found = self._values.few(q) if kind in ("\\", "u") else None
        if found is None:
            return []
        like, changed = found
        beside = self._beside(like)
        if like != DEAD and beside == DEAD:
            return []
        after_u = self._intern(("u", q))
        digits = (after_u, self._intern(("u", like)) if like != DEAD else DEAD, self._few_digits(q, changed))
        if kind == "u":
            return [digits]
        nexts = {name: 2 * changed[value] for name, value in SHORT.items() if value in changed}
        return [(self._intern((kind, q)), beside, nexts | {ord("u"): after_u}), digits]

    def together(self, state: int) -> Together | None:
        """The rows made together with that of `state`, where the values make theirs so."""
        if state & 1:
            return None
        with self._lock:
            found = self._values.together(state >> 1)
            return None if found is None else self._raw_rows(*found)

    def _raw_rows(self, states: NDArray[np.int32], rows: NDArray[np.int32], ends: NDArray[np.bool_]) -> Together:
        between = np.maximum(rows[:, :0x80].max(1), rows[:, 0xC2:0xF5].max(1)) >= 0
        rows = np.maximum(rows << 1, DEAD)
        rows[:, _NOT_RAW] = DEAD
        rows[ends, QUOTE] = self._final(0)
        rows[between, BACKSLASH] = [self._intern(("\\", q)) for q in states[between].tolist()]
        return Together(states << 1, rows, ends)

    def _few_digits(self, q: int, changed: dict[int, int]) -> dict[int, int]:
        """The digits after `\\u` that begin the characters of these first bytes."""
        nexts = {}
        for byte, target in changed.items():
            if byte <= 0xE0:
                nexts[ord("0")] = self._intern(("zero", q))
            elif byte == 0xED or byte >= 0xF0:
                nexts[ord("d")] = nexts[ord("D")] = self._intern(("dee", q))
            else:
                digit = f"{byte - 0xE0:x}"
                nexts[ord(digit)] = nexts[ord(digit.upper())] = self._intern(("lead", target))
        return nexts

    def slice_key(self, state: int) -> Hashable | None:
        """See `ByteAutomaton.slice_key`. Escapes have none: nobody is in one for long."""
        return None if state & 1 else self._values.slice_key(state >> 1)

    def canonical_byte(self, state: int) -> int:
        """See `ByteAutomaton.canonical_byte`: the one byte that the value goes on with, if a text may have it raw."""
        if state & 1 or self._values.class_of(state >> 1) != NO_CLASS:
            return DEAD
        with self._lock:
            live = np.flatnonzero(self._values.row(state >> 1) != DEAD)
        return int(live[0]) if len(live) == 1 and live[0] not in _NOT_RAW else DEAD

    def step(self, state: int, byte: int) -> int:
        return int(self.row(state)[byte])

    def needs_escape(self, state: int) -> bool:
        """Whether a shortest completion may begin with a backslash: only an escape leads where it leads."""
        if state & 1:
            return True
        with self._lock:
            targets = self._values.row(state >> 1)
        raw = np.delete(targets, _NOT_RAW)
        return not set(targets[_NOT_RAW].tolist()) - {DEAD} <= set(raw.tolist())

    def class_of(self, state: int) -> int:
        """The class of the string that has been closed; NO_CLASS in every state before that, and in DEAD."""
        if not state & 1 or state < 0:
            return NO_CLASS
        key = self._keys[state >> 1]
        return int(key[1]) if key[0] == "final" else NO_CLASS

    def _final(self, of_class: int) -> int:
        """The state after the closing quote of a string of that class."""
        return 2 * of_class + 1 if of_class < self.classes else self._intern(("final", of_class))

    def is_accepting(self, state: int) -> bool:
        return self.class_of(state) != NO_CLASS

    def is_empty(self) -> bool:
        return self.class_of(self.start) == NO_CLASS and not (self.row(self.start) != DEAD).any()

    def min_bytes(self, state: int) -> int:
        """Bytes of a shortest completion, the closing quote counted. Raises ValueError if there is none (empty)."""
        with self._lock:
            return self._cost(state >> 1) if not state & 1 else self._escape_cost(state)

    def _escape_cost(self, state: int) -> int:
        if self.is_accepting(state):
            return 0
        found = self._lengths.get(state)
        if found is None:
            found = IMPOSSIBLE
            for target in sorted(set(self.row(state).tolist()) - {DEAD}, key=self._least):
                if self._least(target) >= found - 1:  # surrogates, mostly: whatever they lead to is too long
                    break
                found = min(found, 1 + self.min_bytes(target))
            self._lengths[state] = found
        return found

    def _least(self, state: int) -> int:
        """No completion has fewer bytes than this."""
        if not state & 1:
            return self._values.bound(state >> 1) + 1
        kind, *rest = self._keys[state >> 1]
        if kind == "tail":
            return 1 + (1 if len(rest[0]) == 16 * 4 else 2)
        if kind == "high":
            return 1 + 4 - int(rest[2]) + 6
        return {"final": 0, "\\": 2, "u": 5, "lead": 4, "zero": 4, "dee": 4, "low": 4}[kind]

    def witness(self, state: int) -> bytes:
        """A shortest completion."""
        with self._lock:
            return self._find_witness(state)

    def _find_witness(self, state: int) -> bytes:
        text = bytearray()
        while not self.is_accepting(state):
            if state & 1:
                left, row = self.min_bytes(state) - 1, self.row(state)
                byte = next(
                    byte
                    for byte, target in enumerate(row.tolist())
                    if target != DEAD and self._least(target) <= left and self.min_bytes(target) == left
                )
                text.append(byte)
                state = int(row[byte])
                continue
            self._cost(state >> 1)
            best = self._best.get(state >> 1)
            if best is None and self._values.is_plain:
                best = self._unescaped(state >> 1, self._values.bound(state >> 1) - 1)
            if best is None:
                text.append(QUOTE)
                break
            text += _written(best[0])
            state = 2 * best[1]
        return bytes(text)

    def complete(self, most: int) -> None:
        """Make all rows, so that nothing changes from now on. At most `most` states: ValueError beyond."""
        todo, seen = [self.start], {self.start}
        while todo:
            state = todo.pop()
            for target in set(self.row(state).tolist()) - {DEAD} - seen:
                seen.add(target)
                todo.append(target)
            self.min_bytes(state)
            if len(seen) > most:
                raise ValueError(f"more than {most} states")

    def _intern(self, key: tuple[Any, ...]) -> int:
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = len(self._keys)
            self._keys.append(key)
        return 2 * found + 1

    def _plain_row(self, q: int) -> Row:
        values = self._values.row(q)
        row = np.maximum(values << 1, DEAD)
        row[_NOT_RAW] = DEAD
        ends = self._values.class_of(q)
        if ends != NO_CLASS:
            row[QUOTE] = self._final(ends)
        if values[:0x80].max() >= 0 or values[0xC2:0xF5].max() >= 0:  # between two characters
            row[BACKSLASH] = self._intern(("\\", q))
        return row

    def _escape_row(self, key: tuple[Any, ...]) -> Row:
        row = np.full(256, DEAD, np.int32)
        kind = key[0]
        if kind == "\\":
            values = self._values.row(key[1])
            for name, value in SHORT.items():
                if values[value] >= 0:
                    row[name] = 2 * values[value]
            row[ord("u")] = self._intern(("u", key[1]))
        elif kind == "low" and key[3] != "d":
            at, byte = {"": ("\\", "\\"), "\\": ("u", "u"), "u": ("d", "dD")}[key[3]]
            for character in byte:
                row[ord(character)] = self._intern((*key[:3], at))
        elif kind != "final":
            for digit in range(16):
                target = self._after_digit(key, digit)
                if target != DEAD:
                    row[ord("0123456789abcdef"[digit])] = row[ord("0123456789ABCDEF"[digit])] = target
        return row

    def _after_digit(self, key: tuple[Any, ...], digit: int) -> int:
        """The state after one more hexadecimal digit."""
        kind, q = key[0], key[1]
        if kind == "tail":
            targets = np.frombuffer(q, np.int32)
            width = len(targets) // 16
            if width == 1:
                return 2 * int(targets[digit]) if targets[digit] >= 0 else DEAD
            return self._tail(targets[digit * width : (digit + 1) * width])
        if kind == "u":
            return self._after_u(q, digit)
        if kind == "lead":
            return self._tail(self._quarter(q, 4 * digit))
        if kind == "zero":
            return self._below_1000(q, digit)
        if kind == "low":
            return self._tail(self._quarter(q, 16 * key[2] + 4 * (digit - 12))) if digit >= 12 else DEAD
        if kind == "dee" and digit < 8:
            lead = int(self._values.row(q)[0xED])
            return self._tail(self._quarter(lead, 4 * digit)) if lead >= 0 else DEAD
        if kind == "dee":
            return self._high(q, digit - 8, 2) if digit < 12 else DEAD
        return self._high(q, key[2] * 16 + digit, key[3] + 1)

    def _after_u(self, q: int, digit: int) -> int:
        values = self._values.row(q)
        if digit == 0:
            alive = (values[:0x80] >= 0).any() or (values[0xC2:0xE1] >= 0).any()
            return self._intern(("zero", q)) if alive else DEAD
        if digit == 13:
            alive = values[0xED] >= 0 or (values[0xF0:0xF5] >= 0).any()
            return self._intern(("dee", q)) if alive else DEAD
        lead = int(values[0xE0 + digit])
        return self._intern(("lead", lead)) if lead >= 0 else DEAD

    def _below_1000(self, q: int, digit: int) -> int:
        """After `\\u0` and a digit: the characters of one or two bytes, then those of three under 0xE0."""
        values = self._values.row(q)
        if digit >= 8:
            return self._tail(self._quarter(int(values[0xE0]), 4 * digit)) if values[0xE0] >= 0 else DEAD
        parts = [values[:0x80]] if digit == 0 else []
        parts += [self._ends(int(values[0xC0 + 4 * digit + i])) for i in range(2 if digit == 0 else 0, 4)]
        return self._tail(np.concatenate(parts))

    def _ends(self, state: int) -> Row:
        """[64]: the targets of all last bytes of a character."""
        return self._values.row(state)[0x80:0xC0] if state >= 0 else np.full(64, DEAD, np.int32)

    def _quarter(self, state: int, first: int) -> Row:
        """[256]: the targets of four bytes from 0x80 + `first` on, each with all last bytes."""
        row = self._values.row(state)
        return np.concatenate([self._ends(int(row[0x80 + first + i])) for i in range(4)])

    def _tail(self, targets: Row) -> int:
        return self._intern(("tail", targets.tobytes())) if (targets >= 0).any() else DEAD

    def _high(self, q: int, number: int, digits: int) -> int:
        """After `digits` digits of a high surrogate, which make `number`, counted from 0xD800."""
        if digits < 4:
            alive = any(self._high(q, number * 16 + digit, digits + 1) != DEAD for digit in range(16))
            return self._intern(("high", q, number, digits)) if alive else DEAD
        group = 64 + number  # the character without its last ten bits
        state = q
        for byte in (0xF0 + (group >> 8), 0x80 + (group >> 2 & 63)):
            state = int(self._values.row(state)[byte])
            if state < 0:
                return DEAD
        first = 0x80 + 16 * (group & 3)
        if not (self._values.row(state)[first : first + 16] >= 0).any():
            return DEAD
        return self._intern(("low", state, group & 3, ""))

    def _cost(self, q: int) -> int:
        """Bytes of text from a state of the values to the end, as few as can be."""
        if self._values.is_plain:
            return self._values.bound(q) + 1
        path, at = [], q
        while at not in self._costs:  # as long as each byte is written as itself, the bound is the truth
            bound = self._values.bound(at)
            if bound == 0 and self._values.class_of(at) != NO_CLASS:
                self._costs[at] = 1
                break
            onward = self._unescaped(at, bound - 1)
            if onward is None:
                self._search(at)
                break
            path.append((at, onward))
            at = onward[1]
        for before, onward in reversed(path):
            self._costs[before] = 1 + self._costs[onward[1]]
            self._best[before] = onward
        if path and self._costs[q] > self._values.bound(q) + 1:  # it led to an escape: another way may be shorter
            for before, _ in path:
                del self._costs[before], self._best[before]
            self._search(q)
        return self._costs[q]

    def _unescaped(self, q: int, left: int) -> tuple[int, int] | None:
        """A byte that JSON has raw, and its target, from which values may take only `left` bytes."""
        row = self._values.row(q)
        letter = int(row[97])
        if letter >= 0 and self._values.bound(letter) <= left:
            return 97, letter
        for byte, target in self._onward(q):
            if _COST[byte] == 1 and self._values.bound(target) <= left:
                return byte, target
        return None

    def _onward(self, q: int) -> list[tuple[int, int]]:
        """For each target, the byte that leads there at the least cost."""
        targets, first = np.unique(self._values.row(q)[_BY_COST], return_index=True)
        return [(int(_BY_COST[i]), int(t)) for t, i in zip(targets, first, strict=True) if t >= 0]

    def _search(self, start: int) -> None:
        """A* from one state of the values, for its cost and that of all states on the way found."""
        queue = [(self._values.bound(start) + 1, 0, start)]
        reached: dict[int, int] = {start: 0}
        before: dict[int, tuple[int, int]] = {}
        ends: dict[int, int] = {}
        while queue:
            total, spent, q = heapq.heappop(queue)
            if spent > reached[q]:
                continue
            if ends.get(q) == total:
                return self._keep(start, q, total, before, reached)
            known = self._costs.get(q, 1 if self._values.class_of(q) != NO_CLASS else None)
            if known is not None:
                ends[q] = spent + known
                heapq.heappush(queue, (spent + known, spent, q))
                continue
            for byte, target in self._onward(q):
                cost = spent + int(_COST[byte])
                if cost < reached.get(target, 1 << 60):
                    reached[target], before[target] = cost, (q, byte)
                    heapq.heappush(queue, (cost + self._values.bound(target) + 1, cost, target))
        raise ValueError("no string is in the language")

    def _keep(
        self, start: int, end: int, total: int, before: dict[int, tuple[int, int]], reached: dict[int, int]
    ) -> None:
        self._costs.setdefault(end, total - reached[end])
        while end != start:
            q, byte = before[end]
            self._costs[q], self._best[q] = total - reached[q], (byte, end)
            end = q


def _written(byte: int) -> bytes:
    """One byte of a value as JSON text."""
    if _COST[byte] == 1:
        return bytes([byte])
    for name, value in SHORT.items():
        if value == byte:
            return bytes([BACKSLASH, name])
    return b"\\u%04x" % byte
