"""Earley's recogniser with its sets interned: the same stack of rules is the same integer.

An item `(rule, dot, origin)` says that `rule` was begun at the set `origin` and has matched its body up to `dot`. A set
is what may follow one text; here its items point to the *sets* they began at, not to positions in a text, so sets are
shared by all texts that leave the same rules open, and left recursion (every `*` of Lark) comes back to the same set.
(Earley 1970; nullable rules as in Aycock and Horspool, "Practical Earley Parsing", 2002.)

Nothing here knows bytes: terminals are integers, matched by the caller.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TypeAlias

from grammars.errors import ConstraintLimitError
from grammars.lark.cfg import INFINITE, Cfg
from grammars.limits import Limits

HERE = -1
"""The origin of an item that begins at the very set that holds it."""

_ITEM_BYTES = 400
"""Memory that one item takes, in all, roughly"""

Item: TypeAlias = tuple[int, int, int]
"""(rule, dot, origin)"""


@dataclass(frozen=True, slots=True)
class ItemSet:
    """One set, closed.

    awaiting:   terminal -> items that continue with it.
    parents:    nonterminal -> items that continue with it, for those that begin here and end later.
    complete:   whether the text so far is a text of the grammar.
    rest:       terminal -> bytes of the shortest text that follows it here, up to the end of the whole text.
    rest_here:  the same for the set itself: 0 if complete.
    returns:    nonterminal -> bytes that follow once a nonterminal begun here ends.
    """

    awaiting: dict[int, list[Item]]
    parents: dict[int, list[Item]]
    complete: bool
    rest: dict[int, int]
    rest_here: int
    returns: dict[int, int]


class Earley:
    """All sets of one grammar met so far. `start` is the set of the empty text."""

    def __init__(self, cfg: Cfg, limits: Limits) -> None:
        self.cfg, self.limits = cfg, limits
        self.sets: list[ItemSet] = []
        self._ids: dict[frozenset[Item], int] = {}
        self._next: dict[tuple[int, int], int] = {}
        self._most_items = limits.memory_bytes // _ITEM_BYTES
        self.start = self._intern(set(), initial=True)

    def after(self, set_id: int, terminal: int) -> int:
        """The set after `terminal`, which the set awaits."""
        key = set_id, terminal
        found = self._next.get(key)
        if found is None:
            here = self.sets[set_id]
            moved = {
                (rule, dot + 1, set_id if origin == HERE else origin) for rule, dot, origin in here.awaiting[terminal]
            }
            found = self._next[key] = self._intern(self._completed(moved), initial=False)
        return found

    def _completed(self, items: set[Item]) -> set[Item]:
        """Close over rules that are matched whole: their parents move on."""
        work = list(items)
        while work:
            rule, dot, origin = work.pop()
            moved = [(rule, dot + 1, origin)] if self._skips(rule, dot) else []
            if dot == len(self.cfg.rules[rule].body):
                parents = self.sets[origin].parents.get(self.cfg.rules[rule].head, ())
                moved += [(r, d + 1, origin if o == HERE else o) for r, d, o in parents]
            for item in moved:
                if item not in items:
                    items.add(item)
                    work.append(item)
        return items

    def _skips(self, rule: int, dot: int) -> bool:
        """Whether the symbol after the dot may be empty."""
        body = self.cfg.rules[rule].body
        return dot < len(body) and body[dot] < 0 and ~body[dot] in self.cfg.nullable

    def _intern(self, kernel: set[Item], initial: bool) -> int:
        rules, start = self.cfg.rules, self.cfg.start
        complete = (initial and start in self.cfg.nullable) or any(
            origin == 0 and rules[rule].head == start and dot == len(rules[rule].body) for rule, dot, origin in kernel
        )
        # Complete items have done their work, but whether the start was among them must tell sets apart, and so must
        # being the first set, where the start begins.
        live = {item for item in kernel if item[1] < len(rules[item[0]].body)}
        key = frozenset(live | {(HERE, complete, initial)})
        found = self._ids.get(key)
        if found is None:
            if len(self.sets) >= self.limits.states:
                raise ConstraintLimitError(
                    f"the grammar leaves more than {self.limits.states} different sets of rules open"
                )
            self._most_items -= len(key)
            if self._most_items < 0:
                raise ConstraintLimitError("the grammar is so ambiguous that its readings of one text fill the memory")
            found = self._ids[key] = len(self.sets)
            self.sets.append(self._close(live, complete, initial))
        return found

    def _close(self, kernel: set[Item], complete: bool, initial: bool) -> ItemSet:
        """Predict: every nonterminal that an item awaits begins here."""
        cfg, items = self.cfg, set(kernel)
        awaiting: dict[int, list[Item]] = defaultdict(list)
        parents: dict[int, list[Item]] = defaultdict(list)
        begun: set[int] = set()
        work = list(kernel)

        def begin(nonterminal: int) -> None:
            if nonterminal not in begun:
                begun.add(nonterminal)
                new = [(rule, 0, HERE) for rule in cfg.rules_of[nonterminal]]
                items.update(new)
                work.extend(new)

        if initial:
            begin(cfg.start)
        while work:
            item = work.pop()
            rule, dot, origin = item
            if dot == len(cfg.rules[rule].body):
                continue
            symbol = cfg.rules[rule].body[dot]
            if symbol >= 0:
                awaiting[symbol].append(item)
                continue
            parents[~symbol].append(item)
            begin(~symbol)
            skipped = (rule, dot + 1, origin)
            if ~symbol in cfg.nullable and skipped not in items:
                items.add(skipped)
                work.append(skipped)
        return self._costed(dict(awaiting), dict(parents), complete, initial)

    def _costed(
        self, awaiting: dict[int, list[Item]], parents: dict[int, list[Item]], complete: bool, initial: bool
    ) -> ItemSet:
        """Shortest ends. The returns of nonterminals begun here depend on one another: iterate to the fixed point."""
        suffix, rules = self.cfg.suffix_lengths, self.cfg.rules
        returns = dict.fromkeys(parents, INFINITE)
        if initial:
            returns[self.cfg.start] = 0

        def cost(item: Item, dot: int) -> int:
            rule, _, origin = item
            head = rules[rule].head
            after = returns.get(head, INFINITE) if origin == HERE else self.sets[origin].returns[head]
            return min(INFINITE, suffix[rule][dot] + after)

        changed = True
        while changed:
            changed = False
            for nonterminal, waiting in parents.items():
                best = min(cost(item, item[1] + 1) for item in waiting)
                if best < returns[nonterminal]:
                    returns[nonterminal] = best
                    changed = True
        rest = {t: min(cost(item, item[1] + 1) for item in waiting) for t, waiting in awaiting.items()}
        rest = {t: bytes_left for t, bytes_left in rest.items() if bytes_left < INFINITE}
        here = 0 if complete else min((rest[t] + self.cfg.terminals[t].min_bytes for t in rest), default=INFINITE)
        return ItemSet({t: awaiting[t] for t in rest}, parents, complete, rest, here, returns)
