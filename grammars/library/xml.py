"""Well-formed XML: end tags match start tags of any name, no attribute twice. No context-free grammar can say that.

Covered: the XML declaration, one root element, attributes in double quotes, text with the five named entities,
comments, empty elements. Left out: namespaces (no `:` in names), CDATA, processing instructions, document types,
character references. Names are ASCII.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD, UNFILLED
from grammars.errors import ConstraintLimitError
from grammars.limits import DEFAULT_LIMITS, Limits
from grammars.regex import Language

_TEXT = Language.parse(r"(?:[^<>&\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff]|&(?:lt|gt|amp|quot|apos);)*")
_VALUE = Language.parse(r"(?:[^<>&\"\x00-\x1f\x7f-\x9f\ufffe\uffff]|&(?:lt|gt|amp|quot|apos);)*")
_COMMENT = Language.parse(r"!--(?:-?[^\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff-])*-->")
_DECLARATION = b'?xml version="1.0" encoding="UTF-8"?>\n'

_FIRST = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_")
_LATER = _FIRST | frozenset(b"0123456789.-")

Stack: TypeAlias = tuple[bytes, ...]
"""Names of the elements that are open, outermost first."""


class _Place(NamedTuple):
    """Where a text stands. `at` says between what; the other fields matter to some places only."""

    at: str
    stack: Stack = ()
    name: bytes = b""
    """the name being written, or what is left of a fixed text"""
    seen: frozenset[bytes] = frozenset()
    """attributes that the start tag has"""
    q: int = 0
    """state of the language of a text, value or comment"""


class XmlAutomaton:
    """See `grammars.automaton.ByteAutomaton`: all locals, one context."""

    remembers = False

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._places: list[_Place] = []
        self._ids: dict[_Place, int] = {}
        self.table = np.full((64, 256), UNFILLED, np.int32)
        self.exits = np.zeros(64, np.int32)
        self.start = self._intern(_Place("document"))

    def fill(self, local: int) -> None:
        place = self._places[local]
        row = np.full(256, DEAD, np.int32)
        for byte in range(256):
            after = _after(place, byte)
            if after is not None:
                row[byte] = self._intern(after)
        self.table[local] = row

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        """Never asked: no row crosses."""
        return np.full(256, DEAD, np.int64)

    def remember(self, before: int, text: bytes, after: int) -> int:
        return after

    def step(self, state: int, byte: int) -> int:
        if self.table[state, 0] == UNFILLED:
            self.fill(state)
        return int(self.table[state, byte])

    def is_accepting(self, state: int) -> bool:
        return self._places[state].at in ("end", "line end")

    def min_bytes(self, state: int) -> int:
        return len(self.witness(state))

    def witness(self, state: int) -> bytes:
        return _completion(self._places[state])

    def slice_key(self, local: int) -> Hashable | None:
        return None

    def canonical_byte(self, local: int) -> int:
        return DEAD

    def _intern(self, place: _Place) -> int:
        found = self._ids.get(place)
        if found is None:
            found = self._ids[place] = len(self._places)
            self._places.append(place)
            if found >= self._limits.states or found * 1100 > self._limits.memory_bytes:
                raise ConstraintLimitError(f"the text has led to more than {found} states")
            if found == len(self.table):
                self.table = np.concatenate([self.table, np.full_like(self.table, UNFILLED)])
                self.exits = np.concatenate([self.exits, np.zeros_like(self.exits)])
        return found


def _after(place: _Place, byte: int) -> _Place | None:
    """The place after a byte; None if no document goes on like this."""
    match place.at:
        case "document":
            return _Place("open or declaration") if byte == ord("<") else None
        case "open or declaration" if byte == ord("?"):
            return _Place("declaration", name=_DECLARATION[1:])
        case "declaration":
            left = place.name[1:]
            return None if byte != place.name[0] else place._replace(name=left) if left else _Place("root")
        case "root":
            return _Place("open") if byte == ord("<") else None
        case "open" | "open or declaration":
            return _after_open(place.stack, byte)
        case "close":
            left = place.name[1:]
            return None if byte != place.name[0] else place._replace(name=left) if left else _outside(place.stack[:-1])
        case "name" | "attributes" | "attribute" | "equals" | "value" | "after value" | "empty":
            return _after_in_tag(place, byte)
        case "text":
            q = int(_TEXT.row(place.q)[byte])
            if q != DEAD:
                return place._replace(q=q)
            return _Place("open", place.stack) if byte == ord("<") and _TEXT.is_accepting(place.q) else None
        case "comment":
            q = int(_COMMENT.row(place.q)[byte])
            if q == DEAD:
                return None
            return _outside(place.stack) if _COMMENT.is_accepting(q) else place._replace(q=q)
        case "end":
            return _Place("line end") if byte == ord("\n") else None
    return None


def _after_open(stack: Stack, byte: int) -> _Place | None:
    if byte in _FIRST:
        return _Place("name", stack, bytes([byte]))
    if stack and byte == ord("/"):
        return _Place("close", stack, stack[-1] + b">")
    if stack and byte == ord("!"):
        return _Place("comment", stack, q=int(_COMMENT.row(_COMMENT.start)[byte]))
    return None


def _after_in_tag(place: _Place, byte: int) -> _Place | None:
    """Inside a start tag, whose own name is the last of the stack once it is written."""
    at, stack, name, seen, q = place
    if at == "name":
        if byte in _LATER:
            return place._replace(name=name + bytes([byte]))
        return _after_in_tag(_Place("after value", (*stack, name)), byte)
    if at == "attributes":
        if byte in _FIRST:
            return _Place("attribute", stack, bytes([byte]), seen)
        return _after_in_tag(_Place("after value", stack, seen=seen), byte) if byte != ord(" ") else None
    if at == "attribute":
        if byte in _LATER:
            return place._replace(name=name + bytes([byte]))
        return _Place("equals", stack, seen=seen | {name}) if byte == ord("=") and name not in seen else None
    if at == "equals":
        return _Place("value", stack, seen=seen, q=_VALUE.start) if byte == ord('"') else None
    if at == "value":
        following = int(_VALUE.row(q)[byte])
        if following != DEAD:
            return place._replace(q=following)
        return _Place("after value", stack, seen=seen) if byte == ord('"') and _VALUE.is_accepting(q) else None
    if at == "empty":
        return _outside(stack[:-1]) if byte == ord(">") else None
    if byte == ord(" "):
        return _Place("attributes", stack, seen=seen)
    if byte == ord("/"):
        return _Place("empty", stack)
    return _outside(stack) if byte == ord(">") else None


def _outside(stack: Stack) -> _Place:
    """Between tags, with these elements open."""
    return _Place("text", stack, q=_TEXT.start) if stack else _Place("end")


def _completion(place: _Place) -> bytes:
    """The shortest text that ends the document."""
    at, stack, name, seen, q = place
    closers = b"".join(b"</" + open_name + b">" for open_name in reversed(stack))
    after_element = b"".join(b"</" + open_name + b">" for open_name in reversed(stack[:-1]))
    match at:
        case "end" | "line end":
            return b""
        case "document" | "root":
            return b"<A/>"
        case "declaration":
            return name + b"<A/>"
        case "open" | "open or declaration":
            return closers[1:] if stack else b"A/>"
        case "close":
            return name + after_element
        case "name":
            return b"/>" + closers
        case "text":
            return _TEXT.witness(q) + closers
        case "comment":
            return _COMMENT.witness(q) + closers
        case "empty":
            return b">" + after_element
        case "attribute":
            more = b""
            while name + more in seen:
                more += b"A"
            return more + b'=""/>' + after_element
        case "equals":
            return b'""/>' + after_element
        case "value":
            return _VALUE.witness(q) + b'"/>' + after_element
    return b"/>" + after_element
