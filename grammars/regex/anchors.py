"""Assertions at the edges of a pattern, turned into plain terms.

In: a parsed pattern, whose anchors and look-arounds are LOOK and BEHIND. Out: an equal term for the whole text, in
which those at the beginning and the end are gone: there, `BEHIND(c)` asks for a known text so far, and `LOOK(c)` holds
the rest to `c`, which is an intersection. What is left in the middle is left to the derivatives.
"""

from __future__ import annotations

from grammars.regex.algebra import alt, both
from grammars.regex.nodes import ALL, EMPTY, EPSILON, Kind, Node, cat, factors

_MAX_DEPTH = 8
"""Intersections inside each other, made of look-aheads; those further left stay as they are."""


def whole_text(pattern: Node) -> Node:
    """The texts that `pattern` matches from start to end."""
    return finish(begin(pattern, EPSILON)) if pattern.open else pattern


def somewhere(pattern: Node) -> Node:
    """The texts that hold a match of `pattern`."""
    inner = cat(pattern, ALL)
    return finish(begin(inner, ALL)) if pattern.open else cat(ALL, inner)


def begin(node: Node, before: Node) -> Node:
    """`before`, which is EPSILON or ALL, then `node`, from the start of the text on."""
    if not node.behind:
        return cat(before, node)
    if node.kind is Kind.ALT:
        return alt(begin(part, before) for part in node.parts)
    if node.kind is Kind.BEHIND:
        return _begin_behind(node, EPSILON, before)
    if node.kind is Kind.CAT:
        head, tail = node.parts
        if head.kind is Kind.BEHIND:
            return _begin_behind(head, tail, before)
        if head.kind is Kind.ALT and any(_begins_behind(part) for part in head.parts):
            return alt(begin(cat(part, tail), before) for part in head.parts)
        if head.kind is Kind.LOOK and before is EPSILON and not head.behind:
            return cat(head, begin(tail, before))
    return cat(before, node)


def _begins_behind(node: Node) -> bool:
    return node.kind is Kind.BEHIND or (node.kind is Kind.CAT and node.parts[0].kind is Kind.BEHIND)


def _begin_behind(assertion: Node, tail: Node, before: Node) -> Node:
    condition = assertion.parts[0]
    if condition.open:
        return cat(before, cat(assertion, tail))
    if before is EPSILON:
        return begin(tail, EPSILON) if condition.nullable else EMPTY
    if condition is EPSILON:
        return begin(tail, EPSILON)
    return cat(condition, tail)


def finish(node: Node) -> Node:
    """`node`, which ends where the text ends."""
    if not node.open:
        return node
    if node.kind is Kind.ALT:
        return alt(map(finish, node.parts))
    result, depth = EPSILON, 0
    for factor in reversed(factors(node)):
        if depth < _MAX_DEPTH and _ends_in_look(factor):
            branches = factor.parts if factor.kind is Kind.ALT else (factor,)
            result = alt(_finish_branch(branch, result) for branch in branches)
            depth += 1
        else:
            result = cat(factor, result)
    return result


def _finish_branch(branch: Node, rest: Node) -> Node:
    """`branch`, then `rest`, which is finished already."""
    if branch.kind is Kind.LOOK:
        return both([finish(branch.parts[0]), rest])
    return finish(cat(branch, rest))


def _ends_in_look(factor: Node) -> bool:
    branches = factor.parts if factor.kind is Kind.ALT else (factor,)
    return any(factors(branch)[-1].kind is Kind.LOOK for branch in branches)
