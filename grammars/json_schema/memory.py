"""What the tables cannot tell: which name or item was written, where it must not be written twice.

Comes in: a state, the bytes that led on from it, and where the tables say that they lead. Goes out: the state that
knows. Bytes are gone through one by one only where a name or an item begins or ends; most tokens end at the first
glance.
"""

from __future__ import annotations

from collections.abc import Callable

from grammars.automaton import DEAD, LOCAL_MASK, pack
from grammars.json_schema.contexts import NO_MARK, Context, Contexts
from grammars.json_schema.escapes import QUOTE
from grammars.json_schema.frames import ArrayFrame, Frames, ValueFrame
from grammars.json_schema.keys import Keys
from grammars.json_schema.rows import Lexeme
from grammars.json_schema.values import loads

Step = Callable[[int, int], int]

_NUMBER_STARTS = frozenset(b"-0123456789")


class Memory:
    """One for each machine. `step(state, byte)` follows the tables; `owner(local)` tells whose row a local is."""

    def __init__(
        self, contexts: Contexts, frames: Frames, step: Step, owner: Callable[[int], tuple[Lexeme, int]]
    ) -> None:
        self._contexts = contexts
        self._frames = frames
        self._step = step
        self._owner = owner
        self._plain: set[int] = set()
        """states in which no name is being written and nothing is to be known"""
        self._open_names: dict[int, bool] = {}
        """by local: whether it is in a name that no plan lists"""

    def remember(self, before: int, text: bytes, after: int) -> int:
        """See `ByteAutomaton.remember`."""
        source = self._contexts.entries[before >> 32]
        if source.tape is None and after in self._plain:
            return after
        target = self._contexts[after >> 32]
        in_name = self._in_name(after)
        if source.tape is None and not target.pending and not in_name:
            self._plain.add(after)
            return after
        if in_name and source.tape is not None and target.bare == source.bare and self._in_name(before):
            if QUOTE not in text:  # still inside the same name
                number = self._contexts.number(source.around, source.frame, source.mark, source.tape + text)
                return pack(number, after & LOCAL_MASK)
        elif not target.pending and not target.recording and not in_name:
            return after
        state = before
        for byte in text:
            following = self._step(state, byte)
            if following == DEAD:
                return after
            state = self._one(state, byte, following)
        return state

    def _in_name(self, state: int) -> bool:
        """Whether a name is being written that may be one that no plan lists."""
        local = state & LOCAL_MASK
        found = self._open_names.get(local)
        if found is None:
            lexeme, _ = self._owner(local)
            found = self._open_names[local] = isinstance(lexeme, Keys) and lexeme.is_open
        return found

    def _one(self, before: int, byte: int, after: int) -> int:
        """The state after one byte, with what it tells."""
        source, target = self._contexts[before >> 32], self._contexts[after >> 32]
        is_name = self._in_name(after)
        if source.tape is None and not (is_name or target.pending or target.recording):
            return after
        tape = (source.tape or b"") + bytes((byte,))
        was_name = self._in_name(before)
        number = after >> 32
        if was_name and not is_name and target.pending:
            name = loads('"' + tape[source.mark :].decode())
            number = self._known_name(number, name)
        elif is_name and not was_name:
            target = self._contexts[number]
            number = self._contexts.number(target.around, target.frame, len(tape))
        number = self._known_item(source, number, tape)
        number = self._marked(number, len(tape) - 1)
        target = self._contexts[number]
        if is_name or target.recording:
            number = self._contexts.number(target.around, target.frame, target.mark, tape)
        else:
            number = target.bare
        return pack(number, after & LOCAL_MASK)

    def _known_name(self, number: int, name: str) -> int:
        target = self._contexts[number]
        assert isinstance(target.frame, ValueFrame)
        return self._contexts.number(target.around, self._frames.with_name(target.frame, name))

    def _known_item(self, source: Context, number: int, tape: bytes) -> int:
        """If an item has just ended that is to be remembered, the context that knows it."""
        target = self._contexts[number]
        if not isinstance(target.frame, ArrayFrame) or not target.frame.pending:
            return number
        inner = source
        while inner.around != target.around:
            inner = self._contexts[inner.around]
        text = tape[inner.mark :]
        if text[0] in _NUMBER_STARTS:  # a number ends only at the byte after it
            text = text[:-1]
        value = loads(text.decode(), "an item")
        return self._contexts.number(target.around, self._frames.with_item(target.frame, value), target.mark)

    def _marked(self, number: int, place: int) -> int:
        """The context with a mark at an item that has just begun, in the top frame or the one around it."""
        target = self._contexts[number]
        if not target.pending:
            return number
        if target.frame.records and target.mark == NO_MARK:
            return self._contexts.number(target.around, target.frame, place)
        below = self._marked(target.around, place)
        if below == target.around:
            return number
        return self._contexts.number(below, target.frame, target.mark)
