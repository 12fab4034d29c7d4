"""Regular expressions as immutable terms: what the parsers build and what derivatives are made of.

In: character sets, words, and other terms. Out: terms in a normal form (associative, commutative and idempotent unions
and intersections, merged counters, absorbed constants), so that the derivatives of a term are few. Equal `key`s mean
structurally equal terms; different keys may still mean the same language.

A term stands for a set of texts, with two kinds of assertion inside, which make it *open*: its meaning depends on what
is around it.

    LOOK(c)     matches nothing, where the rest of the text, to its end, is in `c`
    BEHIND(c)   matches nothing, where the text so far, from its start, is in `c`

`a(?=b)` is a·LOOK(b·any), `a(?!b)` is a·LOOK(not(b·any)), `$` is LOOK(empty text), `^` is BEHIND(empty text), and
CLOSED(x) hides the surroundings of `x` from it: its start and its end are those of the text, as far as `x` can see.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from hashlib import blake2b

from grammars.errors import UnsupportedConstraintError
from grammars.regex.charset import ANY_CHAR, NO_CHAR, CharSet, encoded_length


class Kind(IntEnum):
    """What a term is. The number is part of its key."""

    EMPTY = 0
    EPSILON = 1
    CHARS = 2
    WORDS = 3
    CAT = 4
    ALT = 5
    BOTH = 6
    NOT = 7
    REPEAT = 8
    LOOK = 9
    BEHIND = 10
    CLOSED = 11


Count = tuple[int, int | None]
"""How often: at least, at most (None: no bound)."""


class Node:
    """A term. Build with the functions below, never directly.

    key:      16 bytes, equal iff structurally equal
    parts:    CAT (head, tail), ALT and BOTH (the members, sorted by key), the others their one operand
    chars:    of CHARS (no characters for the others)
    words:    of WORDS: sorted texts, of which `low <= i < high` count, each without its first `depth` characters
    least, most: of REPEAT; None is unbounded
    nullable: whether the empty text is in it; None where that depends on the surroundings
    low:      a lower bound on the bytes of its shortest text, exact if `plain`
    shortest, longest: bounds on its texts' lengths in characters (None: no bound), exact if `plain`
    dense:    between these every length occurs (said of `plain` terms only)
    plain:    built without BOTH, NOT, LOOK, BEHIND, CLOSED, hence not empty (but for EMPTY itself)
    open:     holds an assertion that sees the surroundings
    behind:   holds a BEHIND that sees the surroundings, so it changes with every character read before it
    counts:   the bounds of the REPEATs among the factors of a chain, in order
    shape:    the key with these bounds left out (None if there are none)
    """

    __slots__ = (
        "behind", "chars", "counts", "dense", "depth", "high_word", "key", "kind", "least", "longest", "low",
        "low_word",
        "most", "nullable", "open", "parts", "plain", "shape", "shortest", "words",
    )  # fmt: skip

    def __init__(self, kind: Kind, key: bytes) -> None:
        self.kind = kind
        self.key = key
        self.parts: tuple[Node, ...] = ()
        self.chars = NO_CHAR
        self.words: tuple[str, ...] = ()
        self.low_word = self.high_word = self.depth = 0
        self.least = 0
        self.most: int | None = 0
        self.nullable: bool | None = False
        self.low = 0
        self.shortest = 0
        self.longest: int | None = 0
        self.plain = self.dense = True
        self.open = self.behind = False
        self.counts: tuple[Count, ...] = ()
        self.shape: bytes | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def texts(self) -> Iterable[str]:
        """The texts of WORDS."""
        return (word[self.depth :] for word in self.words[self.low_word : self.high_word])


def digest(kind: Kind, *content: bytes) -> bytes:
    """The key of a term of this kind with this content, whose pieces must be of fixed size or the only one."""
    return blake2b(bytes((kind,)) + b"".join(content), digest_size=16).digest()


def _constant(kind: Kind) -> Node:
    node = Node(kind, digest(kind))
    node.nullable = kind is Kind.EPSILON
    return node


EMPTY = _constant(Kind.EMPTY)
EPSILON = _constant(Kind.EPSILON)


def operator(kind: Kind, parts: tuple[Node, ...], key: bytes) -> Node:
    node = Node(kind, key)
    node.parts = parts
    node.open = any(part.open for part in parts)
    node.behind = any(part.behind for part in parts)
    return node


def chars(charset: CharSet) -> Node:
    """One character of the set."""
    if not charset:
        return EMPTY
    single = charset.single()
    if single is not None:
        return words([chr(single)])
    content = b"".join(low.to_bytes(3, "big") + high.to_bytes(3, "big") for low, high in charset.ranges)
    node = Node(Kind.CHARS, digest(Kind.CHARS, content))
    node.chars = charset
    node.low = charset.least_bytes()
    node.shortest = node.longest = 1
    return node


_SURROGATE = re.compile("[\ud800-\udfff]")


def words(texts: Iterable[str]) -> Node:
    """One of the texts. Fast for many: their trie is walked as intervals of the sorted texts, never built."""
    unique = tuple(sorted(text for text in set(texts) if text.isascii() or not _SURROGATE.search(text)))
    if not unique:
        return EMPTY
    if unique == ("",):
        return EPSILON
    if len(unique) > 1 and all(len(text) == 1 for text in unique):
        return chars(CharSet.of_text(unique))
    content = "".join(f"{len(text)}:{text}" for text in unique)
    return _words(unique, 0, len(unique), 0, digest(Kind.WORDS, content.encode("utf-8", "surrogatepass")))


_SHORT_WORD = 64


def subwords(node: Node, low: int, high: int, depth: int) -> Node:
    """The part of the WORDS `node` whose texts are `low..high` of `node.words`, from character `depth` on."""
    if high - low == 1:
        word = node.words[low]
        if depth == len(word):
            return EPSILON
        if len(word) - depth <= _SHORT_WORD:
            return words([word[depth:]])
    content = b"".join(number.to_bytes(8, "big") for number in (low, high, depth))
    return _words(node.words, low, high, depth, digest(Kind.WORDS, b"part", node.key, content))


def _words(texts: tuple[str, ...], low: int, high: int, depth: int, key: bytes) -> Node:
    node = Node(Kind.WORDS, key)
    node.words, node.low_word, node.high_word, node.depth = texts, low, high, depth
    node.nullable = len(texts[low]) == depth
    sizes = [len(text) - depth for text in texts[low:high]]
    node.shortest, node.longest = min(sizes), max(sizes)
    node.dense = len(set(sizes)) == node.longest - node.shortest + 1
    if not node.nullable:
        node.low = min(text_bytes(text, depth) for text in texts[low:high])
    return node


def text_bytes(text: str, start: int = 0) -> int:
    """UTF-8 length of `text[start:]`."""
    return len(text) - start if text.isascii() else sum(encoded_length(ord(char)) for char in text[start:])


def cat(head: Node, tail: Node) -> Node:
    """`head`, then `tail`."""
    if head.kind is Kind.EMPTY or tail.kind is Kind.EMPTY:
        return EMPTY
    if head.kind is Kind.EPSILON:
        return tail
    if tail.kind is Kind.EPSILON:
        return head
    if head.kind is Kind.CAT:
        for factor in reversed(factors(head)):
            tail = cat(factor, tail)
        return tail
    if head.kind is Kind.WORDS and head.high_word - head.low_word == 1:
        joined = _join_words(head, tail)
        if joined is not None:
            return joined
    return _cat(head, tail)


def factors(node: Node) -> list[Node]:
    """What a chain is made of, in order; no factor is a CAT."""
    found = []
    while node.kind is Kind.CAT:
        found.append(node.parts[0])
        node = node.parts[1]
    return [*found, node]


def _cat(head: Node, tail: Node) -> Node:
    node = operator(Kind.CAT, (head, tail), digest(Kind.CAT, head.key, tail.key))
    node.plain = head.plain and tail.plain
    node.dense = head.dense and tail.dense
    node.low = head.low + tail.low
    node.shortest = head.shortest + tail.shortest
    node.longest = None if head.longest is None or tail.longest is None else head.longest + tail.longest
    if head.nullable is False or tail.nullable is False:
        node.nullable = False
    elif head.nullable is None or tail.nullable is None:
        node.nullable = None
    else:
        node.nullable = True
    if head.shape is not None or tail.shape is not None:
        node.counts = head.counts + tail.counts
        node.shape = digest(Kind.CAT, head.shape or head.key, tail.shape or tail.key)
    return node


def _join_words(head: Node, tail: Node) -> Node | None:
    """A word before a word (or before a chain that begins with one) is one word; None if `tail` is no such thing."""
    follower = tail.parts[0] if tail.kind is Kind.CAT else tail
    if follower.kind is not Kind.WORDS or follower.high_word - follower.low_word != 1:
        return None
    joined = words(["".join(head.texts()) + "".join(follower.texts())])
    return _cat(joined, tail.parts[1]) if tail.kind is Kind.CAT else joined


def chain(parts: Iterable[Node]) -> Node:
    """All the parts, one after the other."""
    result = EPSILON
    for part in reversed(list(parts)):
        result = cat(part, result)
    return result


def repeat(node: Node, least: int, most: int | None) -> Node:
    """`node`, `least` to `most` times."""
    if most == 0 or node.kind is Kind.EPSILON:
        return EPSILON
    if node.kind is Kind.EMPTY:
        return EMPTY if least else EPSILON
    if least == 1 and most == 1:
        return node
    if node.nullable:
        least = 0
    if node.longest == 0:  # nothing but assertions: once is as good as often
        return node if least else EPSILON
    if node.kind is Kind.REPEAT and not node.open:
        product = _multiply(node, least, most)
        if product is not None:
            return repeat(node.parts[0], *product)
    if node.nullable is None and least > 0:
        return cat(_copies(node, least), repeat(node, 0, None if most is None else most - least))
    bounds = f"{least},{'' if most is None else most}".encode()
    result = operator(Kind.REPEAT, (node,), digest(Kind.REPEAT, node.key, bounds))
    result.least, result.most = least, most
    result.plain = node.plain
    result.low = least * node.low
    result.shortest = least * node.shortest
    result.longest = 0 if node.longest == 0 else None
    if most is not None and node.longest is not None:
        result.longest = most * node.longest
    result.nullable = True if least == 0 else node.nullable
    result.dense = node.dense and _rounds_touch(node.shortest, node.longest, least, most)
    result.counts = ((least, most),)
    result.shape = digest(Kind.REPEAT, node.key)
    return result


def _rounds_touch(shortest: int, longest: int | None, least: int, most: int | None) -> bool:
    """Whether `least` to `most` rounds of `shortest` to `longest` each add up to every number between the extremes.

    k rounds give `k * shortest` to `k * longest`. If those of `least` and `least + 1` rounds touch, all later ones do.
    """
    if longest is None and least > 0:
        return True
    return most == least or (least + 1) * shortest <= least * (longest or 0) + 1


def _multiply(inner: Node, least: int, most: int | None) -> tuple[int, int | None] | None:
    """The bounds of a repeated REPEAT as one REPEAT, None if its counts would have gaps."""
    if not _rounds_touch(inner.least, inner.most, least, most):
        return None
    return inner.least * least, None if most is None or inner.most is None else inner.most * most


MAX_COPIES = 100


def _copies(node: Node, count: int) -> Node:
    """`count` copies in a row: needed where whether a round may be empty depends on the surroundings."""
    if count * len(factors(node)) > MAX_COPIES:
        raise UnsupportedConstraintError(
            f"a repetition of at least {count} (over {MAX_COPIES} terms) of what may match nothing under a look-around"
        )
    return chain([node] * count)


def furthest(node: Node) -> int:
    """A bound on the characters from any beginning of a text of a `plain` term to the end of a shortest such text."""
    if node.kind in (Kind.CHARS, Kind.WORDS):
        return node.longest or 0
    if node.kind is Kind.CAT:
        return sum(map(furthest, factors(node)))
    if node.kind is Kind.REPEAT:
        return max(node.least, 1) * furthest(node.parts[0])
    return max(map(furthest, node.parts), default=0)


ANY = chars(ANY_CHAR)
ALL = repeat(ANY, 0, None)


def look(condition: Node) -> Node:
    """Matches nothing, where the rest of the text is in `condition`."""
    return _assertion(Kind.LOOK, condition)


def behind(condition: Node) -> Node:
    """Matches nothing, where the text so far is in `condition`."""
    return _assertion(Kind.BEHIND, condition)


def _assertion(kind: Kind, condition: Node) -> Node:
    if condition.kind is Kind.EMPTY:
        return EMPTY
    if condition.key == ALL.key:
        return EPSILON
    node = operator(kind, (condition,), digest(kind, condition.key))
    node.plain = False
    node.open = True
    node.behind = condition.behind or kind is Kind.BEHIND
    node.nullable = None
    return node


def negate(node: Node) -> Node:
    """Every text that is not in `node`."""
    if node.kind is Kind.NOT:
        return node.parts[0]
    if node.kind is Kind.EMPTY:
        return ALL
    if node.key == ALL.key:
        return EMPTY
    result = operator(Kind.NOT, (node,), digest(Kind.NOT, node.key))
    result.plain = False
    result.nullable = None if node.nullable is None else not node.nullable
    result.low = result.shortest = 1 if result.nullable is False else 0
    result.longest = None
    return result
