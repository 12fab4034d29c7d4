"""Walks bytes through a `ByteAutomaton`, as the matcher does, one byte or one token at a time. For tests only."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np

from grammars.automaton import CROSS, DEAD, LOCAL_MASK, UNFILLED, ByteAutomaton, pack
from grammars.json_schema import compile_schema
from grammars.spec import JsonSchema

STRUCTURE = frozenset(b'{}[],:"truefalsn0123456789-')
MOST_CROSSINGS = 10_000
CLOSERS = frozenset(b',}]"')


class Runner:
    """One automaton and the crossings asked of it so far."""

    def __init__(self, automaton: ByteAutomaton) -> None:
        self.automaton = automaton
        self._crossings: dict[tuple[int, int], Any] = {}

    @classmethod
    def of(cls, schema: Any, **options: Any) -> Runner:
        return cls(compile_schema(JsonSchema(schema, **options)))

    def table_step(self, state: int, byte: int) -> int:
        """Where the tables lead, without memory."""
        automaton, context, local = self.automaton, state >> 32, state & LOCAL_MASK
        if automaton.table[local, 0] == UNFILLED:
            automaton.fill(local)
        following = int(automaton.table[local, byte])
        if following == CROSS:
            key = (context, int(automaton.exits[local]))
            if key not in self._crossings:
                if len(self._crossings) >= MOST_CROSSINGS:
                    self._crossings.clear()
                self._crossings[key] = automaton.cross(context, local)
            return int(self._crossings[key][byte])
        return pack(context, following) if following >= 0 else DEAD

    def advance(self, state: int, token: bytes) -> int:
        """The state after a token, or DEAD."""
        following = state
        for byte in token:
            following = self.table_step(following, byte)
            if following == DEAD:
                return DEAD
        return self.automaton.remember(state, token, following) if self.automaton.remembers else following

    def accepts(self, text: str | bytes) -> bool:
        """Whether a text is accepted, byte by byte."""
        state = self.automaton.start
        for byte in text.encode() if isinstance(text, str) else text:
            state = self.advance(state, bytes((byte,)))
            if state == DEAD:
                return False
        return self.automaton.is_accepting(state)

    def takes(self, value: Any) -> bool:
        """Whether the text that models write for a value is accepted."""
        return self.accepts(json.dumps(value, ensure_ascii=False))

    def successors(self, state: int) -> list[tuple[int, int]]:
        """(byte, state after it) of all bytes that are alive, without memory."""
        local = state & LOCAL_MASK
        if self.automaton.table[local, 0] == UNFILLED:
            self.automaton.fill(local)
        bytes_ = np.flatnonzero(self.automaton.table[local] != DEAD).tolist()
        found = ((byte, self.table_step(state, byte)) for byte in bytes_)
        return [(byte, following) for byte, following in found if following != DEAD]

    def random_text(self, rng: random.Random, steps: int, longest: int) -> bytes:
        """A random walk in tokens of up to `longest` bytes, ended by the witness."""
        state, text = self.automaton.start, b""
        for _ in range(steps):
            token, following = b"", state
            for _ in range(rng.randint(1, longest)):
                options = self.successors(following)
                if not options:
                    break
                byte, following = rng.choices(options, [_weight(byte) for byte, _ in options])[0]
                token += bytes((byte,))
            if not token:
                break
            state, text = self.advance(state, token), text + token
            assert state != DEAD, (text, token)
            if self.automaton.is_accepting(state) and rng.random() < 0.3:
                return text
        rest = self.automaton.witness(state)
        assert len(rest) == self.automaton.min_bytes(state), (text, rest)
        for byte in rest:
            state = self.advance(state, bytes((byte,)))
            assert state != DEAD, (text, rest)
        assert self.automaton.is_accepting(state), (text, rest)
        return text + rest

    def check_shortest(self, state: int) -> None:
        """`min_bytes` of a state follows from those of its successors."""
        automaton = self.automaton
        least = automaton.min_bytes(state)
        assert (least == 0) == automaton.is_accepting(state)
        if least:
            after = [self.advance(state, bytes((byte,))) for byte, _ in self.successors(state)]
            assert 1 + min(automaton.min_bytes(each) for each in after) == least, automaton.witness(state)


def _weight(byte: int) -> float:
    if byte in CLOSERS:
        return 6.0
    if byte in STRUCTURE:
        return 3.0
    return 1.0 if 97 <= byte < 123 else 0.1
