"""How far a term is from a text of its own, and whether it has any.

In: terms. Out: the exact length in bytes of a shortest text, None if there is none. Plain terms know it; for the others
(intersections, complements, look-arounds) the derivatives are searched, best first, with the lower bounds that terms
carry (A*). Unions are searched member by member, and intersections are distributed over them, so that a search of
positive terms is one over pairs of partial derivatives, not over sets of them. What a search proves is kept.
"""

from __future__ import annotations

import heapq
import itertools
import math

from grammars.errors import ConstraintLimitError
from grammars.limits import Limits
from grammars.regex.algebra import both
from grammars.regex.clock import Clock
from grammars.regex.derivative import Deriver, ends_here
from grammars.regex.nodes import ANY, Kind, Node, factors

_MAX_PRODUCT = 256
"""Members that an intersection may be distributed into."""

_BYTES_PER_TERM = 4096
"""About what a term that was searched takes, with its derivatives."""

_NEVER = math.inf
"""The distance of a term without a text."""


class Distances:
    """Shortest texts of the terms of one alphabet, remembered."""

    def __init__(self, deriver: Deriver, limits: Limits, clock: Clock) -> None:
        self._deriver = deriver
        self._most_terms = min(limits.states, limits.memory_bytes // _BYTES_PER_TERM)
        self._clock = clock
        self._known: dict[bytes, float] = {}

    def of(self, node: Node) -> int | None:
        """UTF-8 length of a shortest text of `node`; None if it has no text.

        Raises `ConstraintLimitError` if finding out would take more states or time than the limits allow.
        """
        found = self._shortcut(node)
        if found is None:
            with self._clock.running():
                found = self._search(node)
        return None if found == _NEVER else int(found)

    def is_alive(self, node: Node) -> bool:
        """Whether `node` has any text."""
        if node.plain or node.nullable is True:
            return node.kind is not Kind.EMPTY
        if node.key in self._known:
            return self._known[node.key] != _NEVER
        if _has_fitting_length(node) or any(_has_fitting_length(member) for member in _members(node)):
            return True
        return self.of(node) is not None

    def is_finite(self, node: Node) -> bool:
        """Whether `node` has finitely many texts: whether no live term comes after itself."""
        with self._clock.running():
            return self._is_finite(node)

    def _is_finite(self, node: Node) -> bool:
        on_path: dict[bytes, bool] = {}
        path: list[tuple[Node, list[Node]]] = []
        following = [node]
        while True:
            while following:
                term = following.pop()
                if (term.plain and term.longest is None) or on_path.get(term.key):
                    return False
                if term.key in on_path or term.plain or not self.is_alive(term):
                    continue
                if len(on_path) > self._most_terms:
                    raise ConstraintLimitError(f"whether a language is finite is not known after {len(on_path)} states")
                on_path[term.key] = True
                path.append((term, following))
                following = [rest for _, rest in self._deriver.derive(term)]
            if not path:
                return True
            done, following = path.pop()
            on_path[done.key] = False

    def _shortcut(self, node: Node) -> float | None:
        """The distance of `node` if it is known, or follows from that of its parts; else None."""
        if node.plain:
            return _NEVER if node.kind is Kind.EMPTY else node.low
        if node.nullable is True or (node.nullable is None and ends_here(node)):
            return 0
        found = self._known.get(node.key)
        if found is None:
            found = self._from_parts(node)
            if found is not None:
                self._known[node.key] = found
        return found

    def _from_parts(self, node: Node) -> float | None:
        if node.kind is Kind.CAT and not node.open:
            return sum(map(self._number, factors(node)))
        if node.kind is Kind.REPEAT and not node.open:
            return self._number(node.parts[0]) * node.least
        if node.kind is Kind.BOTH:
            bound = next((part for part in node.parts if part.kind is Kind.REPEAT and part.parts[0] is ANY), None)
            if bound is not None and bound.least == 0 and bound.most is not None:
                found = self._number(both(part for part in node.parts if part is not bound))
                # A shortest text has no more characters than bytes: if these are few enough, the bound does not matter.
                return found if found <= bound.most or found == _NEVER else None
        return None

    def _number(self, node: Node) -> float:
        found = self.of(node)
        return _NEVER if found is None else found

    def _search(self, start: Node) -> float:
        """A* over the members of derivatives."""
        derive, bytes_of = self._deriver.derive, self._deriver.alphabet.bytes_of
        best: dict[bytes, int] = {}
        came_from: dict[bytes, bytes] = {}
        queue: list[tuple[float, float, int, int, Node]] = []
        order = itertools.count()

        def reach(node: Node, done: int, origin: bytes) -> None:
            for member in _members(node):
                if done < best.get(member.key, done + 1):
                    best[member.key] = done
                    came_from[member.key] = origin
                    heapq.heappush(queue, (done + member.low, _work_left(member), -done, next(order), member))

        reach(start, 0, b"")
        while queue:
            total, _, negative, _, node = heapq.heappop(queue)
            done = -negative
            if done > best[node.key]:
                continue
            rest = self._shortcut(node)
            if rest == _NEVER:
                continue
            if rest is not None and done + rest == total:
                return self._record(start, node, int(total), best, came_from)
            if rest is not None:
                heapq.heappush(queue, (done + rest, 0, -done, next(order), node))
                continue
            for mask, target in derive(node):
                reach(target, done + bytes_of(mask), node.key)
            if len(best) > self._most_terms:
                raise ConstraintLimitError(
                    f"whether a language has any text is not known after {len(best)} states; simplify the pattern"
                )
        for key in (start.key, *best):
            self._known[key] = _NEVER
        return _NEVER

    def _record(
        self, start: Node, goal: Node, total: int, best: dict[bytes, int], came_from: dict[bytes, bytes]
    ) -> int:
        key = goal.key
        while key:
            self._known[key] = total - best[key]
            key = came_from[key]
        self._known[start.key] = total
        return total


def _work_left(node: Node) -> float:
    """Which of two terms with equal bounds to try first: the one whose parts are nearer to their ends."""
    return sum(part.low for part in node.parts) if node.kind is Kind.BOTH else node.low


def _members(node: Node) -> list[Node]:
    """Terms whose union is `node`."""
    if node.kind is Kind.ALT:
        return [member for part in node.parts for member in _members(part)]
    if node.kind is Kind.BOTH:
        choices = [part.parts if part.kind is Kind.ALT else (part,) for part in node.parts]
        if 1 < math.prod(map(len, choices)) <= _MAX_PRODUCT:
            members = {member.key: member for combined in itertools.product(*choices) for member in [both(combined)]}
            return [member for member in members.values() if member.kind is not Kind.EMPTY]
    return [node]


def _has_fitting_length(node: Node) -> bool:
    """Whether `node` is certainly not empty: one plain term, whose lengths have no gap, and a bound on the length."""
    if node.kind is not Kind.BOTH:
        return node.plain
    if len(node.parts) != 2:
        return False
    bound, other = node.parts
    if bound.kind is not Kind.REPEAT or bound.parts[0] is not ANY:
        bound, other = other, bound
    if bound.kind is not Kind.REPEAT or bound.parts[0] is not ANY or not (other.plain and other.dense):
        return False
    return (bound.most is None or other.shortest <= bound.most) and (
        other.longest is None or bound.least <= other.longest
    )
