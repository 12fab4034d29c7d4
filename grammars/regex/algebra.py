"""Union and intersection of terms, kept in a normal form.

Beyond the laws of sets, a union merges counters: `r{2,5}t | r{4,9}t` is `r{2,9}t`, and a chain whose counters all lie
within those of another of the same shape is dropped. Without this, nested counters would make states of unbounded size.
"""

from __future__ import annotations

from collections.abc import Iterable

from grammars.regex.charset import CharSet
from grammars.regex.nodes import (
    ALL,
    ANY,
    EMPTY,
    EPSILON,
    Count,
    Kind,
    Node,
    cat,
    chars,
    digest,
    factors,
    negate,
    operator,
    repeat,
    words,
)


def alt(parts: Iterable[Node]) -> Node:
    """Every text of any of the parts."""
    members = _flatten(parts, Kind.ALT)
    members.pop(EMPTY.key, None)
    if ALL.key in members:
        return ALL
    if len(members) > 1:
        _merge_texts(members)
        _merge_counters(members)
        _absorb(members)
    if EPSILON.key in members and any(node.nullable for node in members.values() if node is not EPSILON):
        del members[EPSILON.key]
    if len(members) < 2:
        return next(iter(members.values()), EMPTY)
    ordered = tuple(members[key] for key in sorted(members))
    node = operator(Kind.ALT, ordered, digest(Kind.ALT, *(part.key for part in ordered)))
    node.plain = all(part.plain for part in ordered)
    node.low = min(part.low for part in ordered)
    node.nullable = _any(part.nullable for part in ordered)
    node.shortest = min(part.shortest for part in ordered)
    node.longest = None
    finite = [part.longest for part in ordered if part.longest is not None]
    if len(finite) == len(ordered):
        node.longest = max(finite)
    node.dense = all(part.dense for part in ordered) and _lengths_touch(ordered)
    return node


def _lengths_touch(members: tuple[Node, ...]) -> bool:
    """Whether the lengths of the members, each a range, make one range."""
    return len(_joined([(node.shortest, node.longest) for node in members])) == 1


def both(parts: Iterable[Node]) -> Node:
    """Every text of all of the parts."""
    members = _flatten(parts, Kind.BOTH)
    members.pop(ALL.key, None)
    if EMPTY.key in members:
        return EMPTY
    if len(members) > 1:
        kinds = {node.kind for node in members.values()}
        if Kind.CHARS in kinds or Kind.WORDS in kinds:
            _intersect_texts(members)
        if Kind.REPEAT in kinds:
            _intersect_lengths(members)
        for node in [node for node in members.values() if node.kind is Kind.ALT or node.kind is Kind.NOT]:
            if node.kind is Kind.NOT and node.parts[0].key in members:
                return EMPTY
            if node.kind is Kind.ALT and any(part.key in members for part in node.parts):
                del members[node.key]
    if EMPTY.key in members:
        return EMPTY
    if len(members) < 2:
        return next(iter(members.values()), ALL)
    if EPSILON.key in members and all(node.nullable is not None for node in members.values()):
        return EPSILON if all(node.nullable for node in members.values()) else EMPTY
    ordered = tuple(members[key] for key in sorted(members))
    node = operator(Kind.BOTH, ordered, digest(Kind.BOTH, *(part.key for part in ordered)))
    node.plain = False
    node.low = max(part.low for part in ordered)
    node.shortest = max(part.shortest for part in ordered)
    node.longest = min((part.longest for part in ordered if part.longest is not None), default=None)
    refused = _any(None if part.nullable is None else not part.nullable for part in ordered)
    node.nullable = None if refused is None else not refused
    return node


def complement(node: Node) -> Node:
    """Every text that is not in `node`, by De Morgan's laws where that takes a negation away.

    Terms without negation have good bounds of their length, and are searched in parts.
    """
    if node.kind in (Kind.ALT, Kind.BOTH) and any(part.kind is Kind.NOT for part in node.parts):
        parts = map(complement, node.parts)
        return both(parts) if node.kind is Kind.ALT else alt(parts)
    return negate(node)


def closed(node: Node) -> Node:
    """`node`, blind to what is around it."""
    if not node.open:
        return node
    if node.kind is Kind.ALT:
        return alt(closed(part) for part in node.parts)
    result = Node(Kind.CLOSED, digest(Kind.CLOSED, node.key))
    result.parts = (node,)
    result.plain = False
    result.low = node.low
    result.nullable = node.nullable
    result.shortest, result.longest = node.shortest, node.longest
    return result


def _any(facts: Iterable[bool | None]) -> bool | None:
    """Three-valued *or*."""
    seen = set(facts)
    return True if True in seen else None if None in seen else False


def _flatten(parts: Iterable[Node], kind: Kind) -> dict[bytes, Node]:
    members: dict[bytes, Node] = {}
    for part in parts:
        for node in part.parts if part.kind is kind else (part,):
            members[node.key] = node
    return members


def _merge_texts(members: dict[bytes, Node]) -> None:
    """One CHARS and one WORDS at most."""
    lists = [node for node in members.values() if node.kind is Kind.WORDS]
    if len(lists) > 1:
        for node in lists:
            del members[node.key]
        merged = words(text for node in lists for text in node.texts())
        members[merged.key] = merged
    sets = [node for node in members.values() if node.kind is Kind.CHARS]
    if len(sets) > 1:
        for node in sets:
            del members[node.key]
        merged = chars(CharSet.of(span for node in sets for span in node.chars.ranges))
        members[merged.key] = merged


def _absorb(members: dict[bytes, Node]) -> None:
    """`x | x & y` is `x`, and so is `x | LOOK(y)x`."""
    demands = {key: _demands(node) for key, node in members.items() if not node.plain}
    if all(len(demand) == 1 for demand in demands.values()):
        return
    for key in members:
        demands.setdefault(key, frozenset((key,)))
    for key, demand in demands.items():
        if len(demand) > 1 and any(other < demand for other in demands.values()):
            del members[key]


def _demands(node: Node) -> frozenset[bytes]:
    """Keys of the terms that a text of `node` must all satisfy."""
    if node.kind is Kind.BOTH:
        return frozenset(part.key for part in node.parts)
    head, tail = node.parts if node.kind is Kind.CAT else (node, EPSILON)
    if head.kind is Kind.LOOK:
        condition = head.parts[0]
        looks = condition.parts if condition.kind is Kind.BOTH else (condition,)
        return frozenset((tail.key, *(digest(Kind.LOOK, part.key) for part in looks)))
    return frozenset((node.key,))


def _intersect_texts(members: dict[bytes, Node]) -> None:
    """Words and character sets meet at once; words lose the words that a NOT takes away."""
    sets = [node for node in members.values() if node.kind is Kind.CHARS]
    lists = [node for node in members.values() if node.kind is Kind.WORDS]
    if len(sets) + len(lists) > 1:
        for node in sets + lists:
            del members[node.key]
        merged = _meet(sets, lists)
        members[merged.key] = merged
        lists = [merged] if merged.kind is Kind.WORDS else []
    removed = [node for node in members.values() if node.kind is Kind.NOT and node.parts[0].kind is Kind.WORDS]
    if lists and removed:
        for node in lists + removed:
            del members[node.key]
        taken = {text for node in removed for text in node.parts[0].texts()}
        merged = words(text for text in lists[0].texts() if text not in taken)
        members[merged.key] = merged


def _meet(sets: list[Node], lists: list[Node]) -> Node:
    common = sets[0].chars if sets else None
    for node in sets[1:]:
        common = common & node.chars  # type: ignore[operator]
    if not lists:
        return chars(common)  # type: ignore[arg-type]
    shared = set(lists[0].texts()).intersection(*(node.texts() for node in lists[1:]))
    if common is not None:
        shared = {text for text in shared if len(text) == 1 and ord(text) in common}
    return words(shared)


def _intersect_lengths(members: dict[bytes, Node]) -> None:
    """Bounds on the length meet at once, and go where another member keeps them anyway."""
    least, most, shortest, longest, bounds = 0, None, 0, None, []
    for node in members.values():
        if node.kind is Kind.REPEAT and node.parts[0] is ANY:
            bounds.append(node)
            least, most = max(least, node.least), _least(most, node.most)
        else:
            shortest, longest = max(shortest, node.shortest), _least(longest, node.longest)
    if not bounds:
        return
    for node in bounds:
        del members[node.key]
    if (most is not None and max(least, shortest) > most) or (longest is not None and longest < least):
        members[EMPTY.key] = EMPTY
        return
    for node in [node for node in members.values() if node.kind is Kind.WORDS]:
        del members[node.key]
        fitting = words(text for text in node.texts() if least <= len(text) and (most is None or len(text) <= most))
        members[fitting.key] = fitting
        least, most = 0, None
    if shortest >= least:
        least = 0
    if longest is not None and (most is None or longest <= most):
        most = None
    if (least, most) != (0, None) or not members:
        first = bounds[0]
        kept = first if (least, most) == (first.least, first.most) else repeat(ANY, least, most)
        members[kept.key] = kept


def _least(left: int | None, right: int | None) -> int | None:
    """The tighter of two upper bounds."""
    if left is None or right is None:
        return right if left is None else left
    return min(left, right)


def _merge_counters(members: dict[bytes, Node]) -> None:
    groups: dict[bytes, list[Node]] = {}
    for node in members.values():
        if node.shape is not None:
            groups.setdefault(node.shape, []).append(node)
    for group in groups.values():
        if len(group) > 1:
            for node in group:
                del members[node.key]
            for node in _frontier(group):
                members[node.key] = node


def _frontier(group: list[Node]) -> list[Node]:
    """Terms of one shape, as few as the counters allow."""
    table = {node.counts: node for node in group}
    places = len(group[0].counts)
    for place in range(places):
        table = _merge_place(table, place)
    if places == 1:
        return list(table.values())
    kept: dict[tuple[Count, ...], Node] = {}
    for counts in sorted(table, key=_width, reverse=True):
        if not any(_within(counts, other) for other in kept):
            kept[counts] = table[counts]
    return list(kept.values())


def _merge_place(table: dict[tuple[Count, ...], Node], place: int) -> dict[tuple[Count, ...], Node]:
    """Join terms that differ in one counter only, where the joint counts have no gap."""
    rows: dict[tuple[Count, ...], list[Count]] = {}
    for counts in table:
        rows.setdefault(counts[:place] + counts[place + 1 :], []).append(counts[place])
    merged: dict[tuple[Count, ...], Node] = {}
    for others, spans in rows.items():
        template = table[(*others[:place], spans[0], *others[place:])]
        for span in _joined(spans) if len(spans) > 1 else spans:
            counts = (*others[:place], span, *others[place:])
            merged[counts] = table[counts] if counts in table else with_counters(template, counts)
    return merged


def _joined(spans: list[Count]) -> list[Count]:
    """The union of ranges of counts, as few ranges as possible."""
    joined: list[Count] = []
    for least, most in sorted(spans, key=lambda span: span[0]):
        last = joined[-1][1] if joined else -2
        if last is None:
            break
        if joined and least <= last + 1:
            joined[-1] = (joined[-1][0], None if most is None else max(last, most))
        else:
            joined.append((least, most))
    return joined


def with_counters(node: Node, counts: tuple[Count, ...]) -> Node:
    """The chain with other bounds on its REPEAT factors."""
    left = len(counts)
    result = EPSILON
    for factor in reversed(factors(node)):
        if factor.kind is Kind.REPEAT:
            left -= 1
            factor = repeat(factor.parts[0], *counts[left])
        result = cat(factor, result)
    return result


def _size(bound: int | None) -> float:
    return float("inf") if bound is None else bound


def _width(counts: tuple[Count, ...]) -> float:
    return sum(_size(most) - least for least, most in counts)


def _within(inner: tuple[Count, ...], outer: tuple[Count, ...]) -> bool:
    return all(
        low >= least and (most is None or (high is not None and high <= most))
        for (low, high), (least, most) in zip(inner, outer, strict=True)
    )
