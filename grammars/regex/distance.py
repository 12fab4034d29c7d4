"""How far a term is from a text of its own, and whether it has any.

In: terms. Out: the exact length in bytes of a shortest text, None if there is none. Plain terms know it; for the others
(intersections, complements, look-arounds) the derivatives are searched, best first, with the lower bounds that terms
carry (A*). What a search proves about the terms on its way is kept.
"""

from __future__ import annotations

import heapq
import time

from grammars.errors import ConstraintLimitError
from grammars.limits import Limits
from grammars.regex.derivative import Deriver, ends_here
from grammars.regex.nodes import Kind, Node

Milestones = list[tuple[Node, int, int]]


class Distances:
    """Shortest texts of the terms of one alphabet, remembered."""

    def __init__(self, deriver: Deriver, limits: Limits) -> None:
        self._deriver = deriver
        self._limits = limits
        self._known: dict[bytes, int | None] = {}

    def of(self, node: Node) -> int | None:
        """UTF-8 length of a shortest text of `node`; None if it has no text.

        Raises `ConstraintLimitError` if finding out would take more states or time than the limits allow.
        """
        if node.kind is Kind.EMPTY:
            return None
        if node.plain:
            return node.low
        found = self._known.get(node.key, -1)
        return self._settle(node) if found == -1 else found

    def is_alive(self, node: Node) -> bool:
        """Whether `node` has any text."""
        return node.nullable is True or self.of(node) is not None

    def is_finite(self, node: Node) -> bool:
        """Whether `node` has finitely many texts: whether no live term comes after itself."""
        open_terms: dict[bytes, bool] = {}
        path: list[tuple[Node, list[Node]]] = []
        following = [node]
        while True:
            while following:
                term = following.pop()
                if term.plain and term.longest is None:
                    return False
                if open_terms.get(term.key):
                    return False
                if term.key in open_terms or term.plain or not self.is_alive(term):
                    continue
                if len(open_terms) > self._limits.states:
                    raise ConstraintLimitError(
                        f"whether the language is finite is not known after {len(open_terms)} states"
                    )
                open_terms[term.key] = True
                path.append((term, following))
                following = [rest for _, rest in self._deriver.derive(term)]
            if not path:
                return True
            done, following = path.pop()
            open_terms[done.key] = False

    def _settle(self, node: Node) -> int | None:
        if node.kind is Kind.ALT:
            lengths = [length for part in node.parts if (length := self.of(part)) is not None]
            result = min(lengths, default=None)
        elif node.kind is Kind.CAT and not node.open:
            head, tail = self.of(node.parts[0]), self.of(node.parts[1])
            result = None if head is None or tail is None else head + tail
        elif node.kind is Kind.REPEAT and not node.open:
            one = self.of(node.parts[0])
            result = (None if node.least else 0) if one is None else one * node.least
        else:
            return self._search(node)
        self._known[node.key] = result
        return result

    def _search(self, start: Node) -> int | None:
        """A*, over derivatives; a union is searched as its members."""
        derive, bytes_of = self._deriver.derive, self._deriver.alphabet.bytes_of
        best: dict[bytes, int] = {start.key: 0}
        came_from: dict[bytes, bytes] = {}
        queue: list[tuple[int, int, int, Node]] = [(start.low, 0, 0, start)]
        counter = 0
        deadline = time.monotonic() + self._limits.compile_seconds
        while queue:
            total, negative, _, node = heapq.heappop(queue)
            done = -negative
            if done > best[node.key]:
                continue
            rest = self._rest(node)
            if rest is not None:
                if done + rest == total:
                    return self._record(start, node, total, best, came_from)
                counter += 1
                heapq.heappush(queue, (done + rest, -done, counter, node))
                continue
            if node.key in self._known:
                continue
            for mask, target in derive(node):
                reached = done + bytes_of(mask)
                for part in target.parts if target.kind is Kind.ALT else (target,):
                    if reached < best.get(part.key, reached + 1):
                        best[part.key] = reached
                        came_from[part.key] = node.key
                        counter += 1
                        heapq.heappush(queue, (reached + part.low, -reached, counter, part))
            if len(best) > self._limits.states or (counter & 255 == 0 and time.monotonic() > deadline):
                raise ConstraintLimitError(
                    f"whether the language has a text left is not known after {len(best)} states; simplify the pattern"
                )
        for key in best:
            self._known[key] = None
        return None

    def _rest(self, node: Node) -> int | None:
        """The exact distance of `node` where it is known without a search and not infinite."""
        if node.plain:
            return node.low
        if node.nullable is True or (node.nullable is None and ends_here(node)):
            return 0
        return self._known.get(node.key)

    def _record(
        self, start: Node, goal: Node, total: int, best: dict[bytes, int], came_from: dict[bytes, bytes]
    ) -> int:
        key = goal.key
        self._known[key] = total - best[key]
        while key != start.key:
            key = came_from[key]
            self._known[key] = total - best[key]
        return total
