"""Derivatives: what is left of a term after a character.

In: terms. Out: for each class of characters the term that the rest of the text must match. Unions are kept as sets of
chains (Antimirov 1996), intersections and complements are derived member by member (Owens, Reppy, Turon, "Regular-
expression derivatives re-examined", 2009). Look-arounds need nothing but two more operations: `condition` says what the
rest of the text must be for a term to match nothing here, and `_advance` tells the BEHINDs further right what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from grammars.regex.algebra import alt, both, closed
from grammars.regex.alphabet import Alphabet
from grammars.regex.clock import Clock
from grammars.regex.nodes import ALL, EMPTY, EPSILON, Kind, Node, behind, cat, factors, look, negate, repeat, subwords

Branches = list[tuple[int, Node]]
"""Disjoint masks of character classes, each with what remains after a character of them. No remainder is EMPTY."""


def condition(node: Node) -> Node:
    """What the rest of the text must be for `node` to match nothing here. ALL: anything."""
    if node.nullable is not None:
        return ALL if node.nullable else EMPTY
    kind, parts = node.kind, node.parts
    if kind is Kind.LOOK:
        return parts[0]
    if kind is Kind.BEHIND:
        return condition(parts[0])
    if kind is Kind.CAT:
        return both(map(condition, factors(node)))
    if kind is Kind.ALT:
        return alt(map(condition, parts))
    if kind is Kind.BOTH:
        return both(map(condition, parts))
    if kind is Kind.NOT:
        return negate(condition(parts[0]))
    if kind is Kind.CLOSED:
        return ALL if ends_here(parts[0]) else EMPTY
    return condition(parts[0])


def ends_here(node: Node) -> bool:
    """Whether `node` matches nothing at the end of the text."""
    while node.nullable is None:
        node = condition(node)
    return node.nullable


class Deriver:
    """Derivatives of the terms of one alphabet, remembered. Grows; never forgets."""

    def __init__(self, alphabet: Alphabet, clock: Clock) -> None:
        self.alphabet = alphabet
        self._clock = clock
        self._derived: dict[bytes, Branches] = {}
        self._advanced: dict[bytes, Branches] = {}
        self._rules: dict[Kind, Callable[[Node], Branches]] = {
            Kind.EMPTY: lambda node: [],
            Kind.EPSILON: lambda node: [],
            Kind.LOOK: lambda node: [],
            Kind.BEHIND: lambda node: [],
            Kind.CHARS: lambda node: [(alphabet.mask(node), EPSILON)],
            Kind.WORDS: self._words,
            Kind.CAT: self._cat,
            Kind.ALT: lambda node: join((self.derive(part) for part in node.parts), alt),
            Kind.BOTH: lambda node: self._both(node.parts),
            Kind.NOT: lambda node: [(mask, negate(rest)) for mask, rest in self._total(self.derive(node.parts[0]))],
            Kind.REPEAT: self._repeat,
            Kind.CLOSED: lambda node: [(mask, closed(rest)) for mask, rest in self.derive(node.parts[0])],
        }

    def derive(self, node: Node) -> Branches:
        """What remains of `node` after one character, by its class."""
        found = self._derived.get(node.key)
        if found is None:
            self._clock.check()
            found = self._derived[node.key] = _tidy(self._rules[node.kind](node))
        return found

    def _words(self, node: Node) -> Branches:
        branches: Branches = []
        first, depth, texts = node.low_word, node.depth, node.words
        if node.nullable:
            first += 1
        while first < node.high_word:
            letter = texts[first][depth]
            last = _end_of_run(texts, first, node.high_word, depth)
            mask = 1 << self.alphabet.class_of(ord(letter))
            branches.append((mask, subwords(node, first, last, depth + 1)))
            first = last
        return branches

    def _cat(self, node: Node) -> Branches:
        pending: list[Node] = []
        while node.kind is Kind.CAT and node.parts[0].nullable is not False and node.key not in self._derived:
            pending.append(node)
            node = node.parts[1]
        if not pending:
            return self._from_head(node)
        branches = (
            self.derive(node) if node.kind is not Kind.CAT or node.key in self._derived else self._from_head(node)
        )
        for link in reversed(pending):
            self._clock.check()
            skipped = self._under(condition(link.parts[0]), branches)
            branches = _tidy(join((self._from_head(link), skipped), alt))
            self._derived[link.key] = branches
        return branches

    def _from_head(self, node: Node) -> Branches:
        """The derivative of a CAT whose character is read by its head."""
        head, tail = node.parts
        return self._append(self.derive(head), tail)

    def _append(self, branches: Branches, tail: Node) -> Branches:
        if not tail.behind:
            return [(mask, _follow(rest, tail)) for mask, rest in branches]
        return _pairs(branches, self._advance(tail), _follow)

    def _under(self, rest: Node, branches: Branches) -> Branches:
        """`branches`, where the text from here on is in `rest`."""
        if rest is ALL:
            return branches
        return _pairs(self.derive(rest), branches, _guard)

    def _repeat(self, node: Node) -> Branches:
        most = None if node.most is None else node.most - 1
        remaining = repeat(node.parts[0], max(node.least - 1, 0), most)
        return self._append(self.derive(node.parts[0]), remaining)

    def _both(self, parts: tuple[Node, ...]) -> Branches:
        common: list[tuple[int, tuple[Node, ...]]] = [(self.alphabet.full, ())]
        for part in parts:
            branches = self.derive(part)
            common = [
                (shared, (*rests, rest))
                for mask, rests in common
                for other, rest in branches
                if (shared := mask & other)
            ]
        return [(mask, both(rests)) for mask, rests in common]

    def _total(self, branches: Branches) -> Branches:
        """`branches` with EMPTY for the classes that have none."""
        missing = self.alphabet.full
        for mask, _ in branches:
            missing &= ~mask
        return [*branches, (missing, EMPTY)] if missing else branches

    def _advance(self, node: Node) -> Branches:
        """`node` further right in a chain, after a character was read before it; covers every class."""
        if not node.behind:
            return [(self.alphabet.full, node)]
        found = self._advanced.get(node.key)
        if found is None:
            found = self._advanced[node.key] = self._make_advance(node)
        return found

    def _make_advance(self, node: Node) -> Branches:
        kind, parts = node.kind, node.parts
        if kind is Kind.BEHIND:
            return [(mask, behind(rest)) for mask, rest in self._total(self.derive(parts[0]))]
        if kind is Kind.CAT:
            branches = [(self.alphabet.full, EPSILON)]
            for factor in reversed(factors(node)):
                branches = _pairs(self._advance(factor), branches, cat)
            return branches
        if kind is Kind.REPEAT:
            return [(mask, repeat(rest, node.least, node.most)) for mask, rest in self._advance(parts[0])]
        if kind in (Kind.ALT, Kind.BOTH):
            return join((self._advance(part) for part in parts), alt if kind is Kind.ALT else both)
        wrap = {Kind.NOT: negate, Kind.LOOK: look}[kind]
        return [(mask, wrap(rest)) for mask, rest in self._advance(parts[0])]


def _follow(rest: Node, tail: Node) -> Node:
    """`rest`, then `tail`, as a set of chains."""
    if rest.kind is Kind.ALT:
        return alt(_follow(part, tail) for part in rest.parts)
    return _guard(rest.parts[0], tail) if rest.kind is Kind.LOOK else cat(rest, tail)


def _guard(rest: Node, tail: Node) -> Node:
    """`LOOK(rest)`, then `tail`, with one LOOK at the head of a chain at most."""
    if tail.kind is Kind.ALT:
        return alt(_guard(rest, part) for part in tail.parts)
    if tail.kind is Kind.LOOK:
        return look(both((rest, tail.parts[0])))
    if tail.kind is Kind.CAT and tail.parts[0].kind is Kind.LOOK:
        return cat(look(both((rest, tail.parts[0].parts[0]))), tail.parts[1])
    return cat(look(rest), tail)


def _pairs(left: Branches, right: Branches, combine: Callable[[Node, Node], Node]) -> Branches:
    return [
        (shared, combine(first, second)) for mask, first in left for other, second in right if (shared := mask & other)
    ]


def join(parts: Iterable[Branches], combine: Callable[[Iterable[Node]], Node]) -> Branches:
    """For each class, `combine` of what it has in any of the parts."""
    cells: list[tuple[int, list[Node]]] = []
    for branches in parts:
        for mask, node in branches:
            fresh: list[tuple[int, list[Node]]] = []
            for place, (other, nodes) in enumerate(cells):
                shared = other & mask
                if not shared:
                    continue
                if shared == other:
                    nodes.append(node)
                else:
                    cells[place] = (other ^ shared, nodes)
                    fresh.append((shared, [*nodes, node]))
                mask ^= shared
                if not mask:
                    break
            if mask:
                fresh.append((mask, [node]))
            cells += fresh
    return [(mask, nodes[0] if len(nodes) == 1 else combine(nodes)) for mask, nodes in cells]


def _tidy(branches: Branches) -> Branches:
    """One branch for each remainder, none for EMPTY."""
    masks: dict[bytes, int] = {}
    rests: dict[bytes, Node] = {}
    for mask, rest in branches:
        if rest.kind is not Kind.EMPTY:
            masks[rest.key] = masks.get(rest.key, 0) | mask
            rests[rest.key] = rest
    return [(masks[key], rest) for key, rest in rests.items()]


def _end_of_run(texts: tuple[str, ...], first: int, last: int, depth: int) -> int:
    """Where the texts that share character `depth` with `texts[first]` end."""
    letter = texts[first][depth]
    low, high = first + 1, last
    while low < high:
        middle = (low + high) // 2
        if texts[middle][depth] == letter:
            low = middle + 1
        else:
            high = middle
    return low
