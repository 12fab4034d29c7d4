"""A small automaton with a stack, and a mask oracle that uses nothing but the contract."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import CROSS, DEAD, LOCAL_MASK, UNFILLED, ByteAutomaton, pack
from grammars.vocabulary import Vocabulary

VALUE, STRING, SECOND_BYTE, AFTER, FIRST_ITEM, BEGIN, B, BC = range(8)


class ToyLists:
    """Texts such as `["a",[],["é"]]`: a value is a string or a list of values, lists at most `deepest` deep.

    Inside a string: ASCII from space on but the quote, and two-byte characters; but no string is `bc`, nor begins with
    `bcà` to `bcÿ`. So strings begin apart from how they go on. The context: how many lists are open.
    """

    remembers = False

    def __init__(self, deepest: int = 5) -> None:
        self.start = pack(0, VALUE)
        self.deepest = deepest
        self.table = np.full((8, 256), UNFILLED, dtype=np.int32)
        self.exits = np.array([1, 2, 0, 3, 4, 2, 2, 0], dtype=np.int32)

    def fill(self, local: int) -> None:
        # New arrays each time, so that whoever keeps an old one is found out.
        self.table, self.exits = self.table.copy(), self.exits.copy()
        row = np.full(256, DEAD, dtype=np.int32)
        if local in (STRING, BEGIN, B, BC):
            row[0x20:0x7F] = STRING
            row[0xC2:0xE0] = SECOND_BYTE
            row[ord('"')] = CROSS
            if local == BEGIN:
                row[ord("b")] = B
            elif local == B:
                row[ord("c")] = BC
            elif local == BC:
                row[[ord('"'), 0xC3]] = DEAD
        elif local == SECOND_BYTE:
            row[0x80:0xC0] = STRING
        else:
            row[[ord(character) for character in '"[],']] = CROSS
        self.table[local] = row

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        row = np.full(256, DEAD, dtype=np.int64)
        if local in (VALUE, FIRST_ITEM):
            row[ord('"')] = pack(context, BEGIN)
            if context < self.deepest:
                row[ord("[")] = pack(context + 1, FIRST_ITEM)
        if local in (STRING, BEGIN, B):
            row[ord('"')] = pack(context, AFTER)
        if local == AFTER and context:
            row[ord(",")] = pack(context, VALUE)
        if (local == AFTER and context) or local == FIRST_ITEM:
            row[ord("]")] = pack(context - 1, AFTER)
        return row

    def is_accepting(self, state: int) -> bool:
        return state == pack(0, AFTER)

    def min_bytes(self, state: int) -> int:
        return len(self.witness(state))

    def witness(self, state: int) -> bytes:
        endings = [b'""', b'"', b'\x80"', b"", b"", b'"', b'"', b' "']
        return endings[state & LOCAL_MASK] + b"]" * (state >> 32)

    def remember(self, before: int, text: bytes, after: int) -> int:
        return after

    def canonical_byte(self, local: int) -> int:
        return DEAD

    def slice_key(self, local: int) -> Hashable | None:
        return "toy string" if local == STRING else None


class Stepper:
    """Steps by the contract alone, one byte at a time, keeping nothing."""

    def __init__(self, automaton: ByteAutomaton) -> None:
        self.automaton = automaton

    def step(self, state: int, byte: int) -> int:
        context, local = state >> 32, state & LOCAL_MASK
        if self.automaton.table[local, byte] == UNFILLED:
            self.automaton.fill(local)
        following = int(self.automaton.table[local, byte])
        if following == CROSS:
            return int(self.automaton.cross(context, local)[byte])
        return following if following == DEAD else pack(context, following)

    def advance(self, state: int, text: bytes) -> int:
        for byte in text:
            if state != DEAD:
                state = self.step(state, byte)
        return state


def allowed_by_trying(automaton: ByteAutomaton, vocabulary: Vocabulary, state: int) -> set[int]:
    """The tokens of the mask of `state`, each tried byte by byte."""
    stepper = Stepper(automaton)
    ends = set(vocabulary.eos_ids) if automaton.is_accepting(state) else set()
    return ends | {
        token
        for token, text in enumerate(vocabulary.tokens)
        if text and token not in vocabulary.special_ids and stepper.advance(state, text) != DEAD
    }


def bits_of(row: NDArray[np.int32], size: int) -> set[int]:
    """The tokens whose bit is set; bits beyond the vocabulary must not be."""
    bits = np.unpackbits(row.view(np.uint8), bitorder="little")
    assert not bits[size:].any()
    return set(np.flatnonzero(bits).tolist())
