"""A context-free grammar as a `ByteAutomaton`.

While a text is read, several *threads* may be under way: a thread is inside one terminal, begun at one Earley set. A
byte moves each thread on inside its terminal and, where the terminal may end before it, into the terminals that can
follow. A terminal that must be as long as it can be leaves a *shadow* behind when it ends: its automaton runs on, and
should it accept later after all, the thread that ended it early was wrong and dies.

States are the sets of threads, interned. Where all threads began at one Earley set and cast no shadow, which is nearly
always, that set is the context and the rest the local, so what a terminal does inside is shared by all contexts.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from heapq import heappop, heappush
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import CROSS, DEAD, LOCAL_BITS, LOCAL_MASK, UNFILLED, pack
from grammars.errors import ConstraintLimitError, UnsatisfiableConstraintError
from grammars.lark.cfg import INFINITE, Cfg
from grammars.lark.earley import Earley
from grammars.limits import Limits

BOUNDARY = -1
"""In place of a terminal: nothing is begun yet. Only the start of the text has it."""

ASK = 0
"""The local whose every byte depends on the context."""

Shadows: TypeAlias = frozenset[tuple[int, int]]
Thread: TypeAlias = tuple[int, int, int, Shadows]
"""(set, terminal, state of the terminal's language, shadows)"""
Threads: TypeAlias = frozenset[Thread]

_NONE: Shadows = frozenset()
_SEARCH_LIMIT = 20_000
"""States that the search for a completion may look at. What is not found by then counts as dead, which is safe."""


class CfgAutomaton:
    """See `grammars.automaton.ByteAutomaton`. `start` is alive, or `UnsatisfiableConstraintError`."""

    def __init__(self, cfg: Cfg, limits: Limits) -> None:
        cfg.require_text()
        self.cfg, self.limits = cfg, limits
        self.earley = Earley(cfg, limits)
        self.table = np.full((16, 256), UNFILLED, np.int32)
        self.exits = np.zeros(16, np.int32)
        self._ignored = frozenset(cfg.ignored)
        self._locals: dict[frozenset[tuple[int, int]], int] = {}
        self._local_parts: list[frozenset[tuple[int, int]]] = []
        self._contexts: dict[int | Threads, int] = {}
        self._context_parts: list[int | Threads] = []
        self._best: dict[int, tuple[int, int]] = {}
        """state -> (bytes of a shortest completion, its first byte); INFINITE if there is none"""
        self._start_classes: dict[int, NDArray[np.int64]] = {}
        self._local(frozenset())
        self.table[ASK] = CROSS
        self.start = self._state(frozenset({(self.earley.start, BOUNDARY, 0, _NONE)}))
        if self.min_bytes(self.start) >= INFINITE:
            raise UnsatisfiableConstraintError("the grammar derives no text that a lexer would read as its terminals")

    # The contract ---------------------------------------------------------------------------------------------------

    def fill(self, local: int) -> None:
        parts = self._local_parts[local]
        if any(self._accepts(*part) for part in parts):
            self.table[local] = CROSS
            return
        rows = [(terminal, self._row(terminal, q)) for terminal, q in parts]
        filled = np.full(256, DEAD, np.int32)
        for chosen in _byte_classes([row for _, row in rows]):
            byte = chosen[0]
            moved = frozenset((terminal, int(row[byte])) for terminal, row in rows if row[byte] != DEAD)
            if moved:
                filled[chosen] = self._local(moved)
        self.table[local] = filled

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        threads = self._threads(pack(context, local))
        row = np.full(256, DEAD, np.int64)
        for chosen in _byte_classes(self._deciding_rows(threads)):
            moved = self._step(threads, chosen[0])
            if moved:
                state = self._state(moved)
                if self.min_bytes(state) < INFINITE:
                    row[chosen] = state
        return row

    def step(self, state: int, byte: int) -> int:
        context, local = state >> LOCAL_BITS, state & LOCAL_MASK
        if self.table[local, 0] == UNFILLED:
            self.fill(local)
        found = int(self.table[local, byte])
        if found >= 0:
            return pack(context, found)
        return int(self.cross(context, local)[byte]) if found == CROSS else DEAD

    def is_accepting(self, state: int) -> bool:
        return any(self._ends(thread) for thread in self._threads(state))

    def min_bytes(self, state: int) -> int:
        if state not in self._best:
            self._find_completion(state)
        return self._best[state][0]

    def witness(self, state: int) -> bytes:
        text = bytearray()
        while self.min_bytes(state):
            text.append(self._best[state][1])
            state = self._state(self._step(self._threads(state), text[-1]))
        return bytes(text)

    def slice_key(self, local: int) -> Hashable | None:
        return None

    def canonical_byte(self, local: int) -> int:
        return DEAD

    remembers = False

    def remember(self, before: int, text: bytes, after: int) -> int:
        return after

    # Threads --------------------------------------------------------------------------------------------------------

    def _step(self, threads: Iterable[Thread], byte: int) -> Threads:
        """The threads after a byte, whether or not they can be completed."""
        moved: set[Thread] = set()
        for set_id, terminal, q, shadows in threads:
            cast = self._step_shadows(shadows, byte)
            if cast is None:
                continue
            if terminal == BOUNDARY:
                self._begin(set_id, byte, cast, moved)
                continue
            after = int(self._row(terminal, q)[byte])
            extent = self.cfg.terminals[terminal].extent
            ends = self._accepts(terminal, q)
            if after != DEAD and not (ends and extent == "first"):
                moved.add((set_id, terminal, after, cast))
            if not ends:
                continue
            if extent == "longest" and after != DEAD:
                if self._accepts(terminal, after):
                    continue
                cast = cast | {(terminal, after)}
            self._begin(self._set_after(set_id, terminal), byte, cast, moved)
        return frozenset(moved)

    def _begin(self, set_id: int, byte: int, shadows: Shadows, moved: set[Thread]) -> None:
        for terminal in self._expected(set_id):
            q = int(self._row(terminal, self.cfg.terminals[terminal].language.start)[byte])
            if q != DEAD:
                moved.add((set_id, terminal, q, shadows))

    def _step_shadows(self, shadows: Shadows, byte: int) -> Shadows | None:
        """None: one of them accepts, so the thread that cast it ended a terminal too early."""
        kept = set()
        for terminal, q in shadows:
            after = int(self._row(terminal, q)[byte])
            if after == DEAD:
                continue
            if self._accepts(terminal, after):
                return None
            kept.add((terminal, after))
        return frozenset(kept)

    def _ends(self, thread: Thread) -> bool:
        set_id, terminal, q, _ = thread
        if terminal != BOUNDARY and not self._accepts(terminal, q):
            return False
        return self.earley.sets[self._set_after(set_id, terminal)].complete

    def _set_after(self, set_id: int, terminal: int) -> int:
        if terminal == BOUNDARY or (terminal in self._ignored and terminal not in self.earley.sets[set_id].awaiting):
            return set_id
        return self.earley.after(set_id, terminal)

    def _expected(self, set_id: int) -> list[int]:
        return list(dict.fromkeys([*self.earley.sets[set_id].awaiting, *self.cfg.ignored]))

    def _row(self, terminal: int, q: int) -> NDArray[np.int32]:
        return self.cfg.terminals[terminal].language.row(q)

    def _accepts(self, terminal: int, q: int) -> bool:
        return self.cfg.terminals[terminal].language.is_accepting(q)

    def _deciding_rows(self, threads: Threads) -> list[NDArray[np.generic]]:
        """Rows that together tell apart all bytes that move these threads differently."""
        rows: list[NDArray[np.generic]] = []
        for set_id, terminal, q, shadows in threads:
            rows += [self._row(*shadow) for shadow in shadows]
            if terminal != BOUNDARY:
                rows.append(self._row(terminal, q))
            if terminal == BOUNDARY or self._accepts(terminal, q):
                rows.append(self._starts(self._set_after(set_id, terminal)))
        return rows

    def _starts(self, set_id: int) -> NDArray[np.int64]:
        """[256]: bytes of one class begin the same terminals at this set, in the same states."""
        found = self._start_classes.get(set_id)
        if found is None:
            languages = [self.cfg.terminals[t].language for t in self._expected(set_id)]
            found = np.zeros(256, np.int64)
            for number, chosen in enumerate(_byte_classes([lang.row(lang.start) for lang in languages])):
                found[chosen] = number
            self._start_classes[set_id] = found
        return found

    # States ---------------------------------------------------------------------------------------------------------

    def _state(self, threads: Threads) -> int:
        sets = {thread[0] for thread in threads}
        if len(sets) == 1 and not any(thread[3] or thread[1] == BOUNDARY for thread in threads):
            return pack(self._context(sets.pop()), self._local(frozenset((t, q) for _, t, q, _ in threads)))
        return pack(self._context(threads), ASK)

    def _threads(self, state: int) -> Threads:
        part, local = self._context_parts[state >> LOCAL_BITS], state & LOCAL_MASK
        if isinstance(part, int):
            return frozenset((part, terminal, q, _NONE) for terminal, q in self._local_parts[local])
        return part

    def _context(self, part: int | Threads) -> int:
        found = self._contexts.get(part)
        if found is None:
            if len(self._context_parts) >= self.limits.states:
                raise ConstraintLimitError(f"the grammar needs more than {self.limits.states} states")
            found = self._contexts[part] = len(self._context_parts)
            self._context_parts.append(part)
        return found

    def _local(self, parts: frozenset[tuple[int, int]]) -> int:
        found = self._locals.get(parts)
        if found is None:
            found = self._locals[parts] = len(self._local_parts)
            self._local_parts.append(parts)
            if found == len(self.table):
                if found * 2048 > self.limits.memory_bytes:
                    raise ConstraintLimitError(
                        f"the grammar's terminals need more than {self.limits.memory_bytes} bytes of tables"
                    )
                self.table = np.concatenate([self.table, np.full_like(self.table, UNFILLED)])
                self.exits = np.concatenate([self.exits, np.zeros_like(self.exits)])
            self.exits[found] = found
        return found

    # Completions ----------------------------------------------------------------------------------------------------

    def _bound(self, thread: Thread) -> int:
        """A lower bound of the bytes that complete a thread: exact but for terminals that their neighbours lengthen."""
        set_id, terminal, q, _ = thread
        here = self.earley.sets[set_id]
        if terminal == BOUNDARY:
            return here.rest_here
        inside = self.cfg.terminals[terminal].language.min_bytes(q)
        rest = here.rest.get(terminal, INFINITE)
        return inside + (min(rest, here.rest_here) if terminal in self._ignored else rest)

    def _find_completion(self, state: int) -> None:
        """Go straight along the bound; where a shadow puts it wrong, search."""
        path: list[tuple[int, int]] = []
        at = state
        while at not in self._best:
            threads = self._threads(at)
            bound = min(map(self._bound, threads))
            if bound == 0:
                self._best[at] = (0, 0)
                break
            byte = self._straight(min(threads, key=lambda t: (self._bound(t), t[:3])))
            moved = self._step(threads, byte)
            if not moved or min(map(self._bound, moved)) != bound - 1:
                self._search(state)
                return
            path.append((at, byte))
            at = self._state(moved)
        left = self._best[at][0]
        if path and left != min(map(self._bound, self._threads(at))):
            self._search(state)
            return
        for before, byte in reversed(path):
            left += 1
            self._best[before] = (left, byte)

    def _straight(self, thread: Thread) -> int:
        """The first byte of a shortest way on for one thread that does not end here."""
        set_id, terminal, q, _ = thread
        if terminal != BOUNDARY and not self._accepts(terminal, q):
            return self.cfg.terminals[terminal].language.witness(q)[0]
        here = self.earley.sets[self._set_after(set_id, terminal)]
        begun = min(here.rest, key=lambda t: here.rest[t] + self.cfg.terminals[t].min_bytes)
        language = self.cfg.terminals[begun].language
        return language.witness(language.start)[0]

    def _search(self, state: int) -> None:
        """A* over bytes with the threads' bound. Leaves the result for every state on the way found."""
        queue: list[tuple[int, int, int]] = [(min(map(self._bound, self._threads(state))), 0, state)]
        came: dict[int, tuple[int, int, int]] = {state: (0, state, 0)}
        settled: set[int] = set()
        while queue and len(settled) < _SEARCH_LIMIT:
            _, negative, at = heappop(queue)
            gone = -negative
            if at in settled or gone > came[at][0]:
                continue
            settled.add(at)
            threads = self._threads(at)
            if at in self._best or any(map(self._ends, threads)):
                left = self._best.setdefault(at, (0, 0))[0]
                while left < INFINITE and at != state:
                    _, before, byte = came[at]
                    left += 1
                    self._best[before] = (left, byte)
                    at = before
                if left < INFINITE:
                    return
                continue
            for chosen in _byte_classes(self._deciding_rows(threads)):
                moved = self._step(threads, chosen[0])
                if not moved:
                    continue
                after = self._state(moved)
                if after not in came or gone + 1 < came[after][0]:
                    came[after] = (gone + 1, at, chosen[0])
                    known = self._best.get(after)
                    bound = known[0] if known else min(map(self._bound, moved))
                    if bound < INFINITE:
                        heappush(queue, (gone + 1 + bound, -gone - 1, after))
        self._best[state] = (INFINITE, 0)


def _byte_classes(rows: list[NDArray[np.generic]]) -> list[list[int]]:
    """The 256 bytes, grouped by what all rows say of them."""
    if not rows:
        return []
    groups: dict[bytes, list[int]] = {}
    columns = np.stack(rows, axis=1).astype(np.int64)
    width = columns.shape[1] * 8
    flat = columns.tobytes()
    for byte in range(256):
        groups.setdefault(flat[byte * width : (byte + 1) * width], []).append(byte)
    return list(groups.values())
