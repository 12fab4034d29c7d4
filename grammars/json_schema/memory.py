"""What the tables cannot tell: which name or item was written, where it must not be written twice.

Comes in: a state, the bytes that led on from it, and where the tables say that they lead. Goes out: the state that
knows. Bytes are gone through one by one only where a name or an item begins or ends; most tokens end at the first
glance. What began in a state that nobody was asked to remember stays unknown, which allows less.
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


class _OpenNames(dict[int, bool]):
    """By local: whether a name is being written that may be one that no plan lists."""

    def __init__(self, owner: Callable[[int], tuple[Lexeme, int]]) -> None:
        self._owner = owner

    def __missing__(self, local: int) -> bool:
        lexeme, _ = self._owner(local)
        found = self[local] = isinstance(lexeme, Keys) and lexeme.is_open
        return found


class Memory:
    """One for each machine. `step(state, byte)` follows the tables; `owner(local)` tells whose row a local is."""

    def __init__(
        self, contexts: Contexts, frames: Frames, step: Step, owner: Callable[[int], tuple[Lexeme, int]]
    ) -> None:
        self._contexts = contexts
        self._frames = frames
        self._step = step
        self._open_names = _OpenNames(owner)

    def remember(self, before: int, text: bytes, after: int) -> int:
        """See `ByteAutomaton.remember`."""
        entries = self._contexts.entries
        source, target = entries[before >> 32], entries[after >> 32]
        in_name = self._open_names[after & LOCAL_MASK]
        if source.tape is None:
            if not (in_name or target.pending):
                return after
            known = None if target.pending else self._begun(target, text)
        elif in_name and QUOTE not in text and self._open_names[before & LOCAL_MASK]:
            known = self._contexts.on_tape(before >> 32, source.tape + text)
        elif not (in_name or target.pending or target.recording):
            return after
        else:
            begun = self._open_names[before & LOCAL_MASK]
            known = self._ended(source, text, target) if begun and not in_name else None
        if known is not None:
            return pack(known, after & LOCAL_MASK)
        state = before
        for byte in text:
            following = self._step(state, byte)
            if following == DEAD:
                return after
            state = self._one(state, byte, following)
        return state

    def _begun(self, target: Context, text: bytes) -> int | None:
        """The context in a name that has begun in `text`, where nothing else is to be known; None: not at a glance."""
        quote = text.rfind(QUOTE)
        if quote < 0 or text[quote - 1 : quote] == b"\\":
            return None
        return self._contexts.on_tape(self._contexts.number(target.around, target.frame, 1), text[quote:])

    def _ended(self, source: Context, text: bytes, target: Context) -> int | None:
        """The context in the value of the member whose name has ended in `text`; None: not at a glance."""
        tape, frame, below = source.tape or b"", target.frame, self._contexts.entries[source.around]
        if (
            source.mark == NO_MARK
            or below.pending
            or below.recording
            or target.around != source.around
            or not isinstance(frame, ValueFrame)
        ):
            return None
        if b"," in text or b"\\" in text or tape.endswith(b"\\"):
            return None
        return self._known_name(target, tape[source.mark :] + text[: text.index(QUOTE) + 1])

    def _one(self, before: int, byte: int, after: int) -> int:
        """The state after one byte, with what it tells."""
        source, target = self._contexts[before >> 32], self._contexts[after >> 32]
        is_name = self._open_names[after & LOCAL_MASK]
        if source.tape is None and not (is_name or target.pending or target.recording):
            return after
        tape = (source.tape or b"") + bytes((byte,))
        was_name = self._open_names[before & LOCAL_MASK]
        number = after >> 32
        if was_name and not is_name and target.pending and source.mark != NO_MARK:
            number = self._known_name(target, tape[source.mark :])
        elif is_name and not was_name:
            number = self._contexts.number(target.around, target.frame, len(tape))
        number = self._known_item(source, number, tape)
        if isinstance(source.frame, ArrayFrame):
            number = self._marked(source, number, len(tape) - 1)
        target = self._contexts[number]
        number = self._contexts.on_tape(number, tape) if is_name or target.recording else target.bare
        return pack(number, after & LOCAL_MASK)

    def _known_name(self, target: Context, written: bytes) -> int:
        """The context in the value of a member, with its name, up to the closing quote."""
        assert isinstance(target.frame, ValueFrame)
        return self._contexts.number(target.around, self._frames.with_name(target.frame, loads('"' + written.decode())))

    def _known_item(self, source: Context, number: int, tape: bytes) -> int:
        """If an item has just ended that is to be remembered, the context that knows it."""
        target = self._contexts[number]
        if not isinstance(target.frame, ArrayFrame) or not target.frame.pending:
            return number
        inner = source
        while inner.around != target.around:
            inner = self._contexts[inner.around]
        if inner.mark == NO_MARK:
            return number
        text = tape[inner.mark :]
        if text[0] in _NUMBER_STARTS:  # a number ends only at the byte after it
            text = text[:-1]
        value = loads(text.decode(), "an item")
        return self._contexts.number(target.around, self._frames.with_item(target.frame, value), target.mark)

    def _marked(self, array: Context, number: int, place: int) -> int:
        """The context with a mark at an item of the array, if one has just begun: in the top frame, or around it."""
        contexts, target = self._contexts, self._contexts[number]
        if target.around == array.around:
            return contexts.number(target.around, target.frame, place) if target.frame.records else number
        below = contexts[target.around]
        if below.around == array.around and below.frame.records:
            return contexts.number(contexts.number(below.around, below.frame, place), target.frame, target.mark)
        return number
