"""The byte automaton of a JSON Schema: a stack of frames over the rows of JSON's lexemes.

    state = context << 32 | local         (see `grammars.automaton`)
    context = (the context around, frame) the stack, as a linked list of interned frames; 0 is around the whole text
    local   = a row of `rows.Rows`

A byte inside a lexeme never leaves the context. A byte that ends one asks `cross`, which looks up what the frame says
to the exit (a name was written, a value met these goals) and makes a row of the ten or so bytes that can follow.

Comes in: frames. Goes out: the `ByteAutomaton` contract. Knows no keyword.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import CROSS, DEAD, LOCAL_BITS, LOCAL_MASK, UNFILLED, pack
from grammars.json_schema.algebra import Algebra
from grammars.json_schema.completion import Completion
from grammars.json_schema.contexts import ENDED, ROOT, Contexts
from grammars.json_schema.escapes import QUOTE
from grammars.json_schema.frames import ArrayFrame, Frames, Goals, Name, ObjectFrame, ValueFrame
from grammars.json_schema.keys import KeyRows, Keys
from grammars.json_schema.lexemes import (
    CLOSE_ARRAY,
    CLOSE_OBJECT,
    COMMA,
    LINE_FEED,
    OPEN_ARRAY,
    OPEN_OBJECT,
    SPACES,
    VALUE_STARTS,
    Automaton,
    Colon,
    Gap,
    Literal,
    Parallel,
    Shut,
)
from grammars.json_schema.memory import Memory
from grammars.json_schema.plans import ArrayPlan
from grammars.json_schema.refs import Ref
from grammars.json_schema.rows import Lexeme, Rows
from grammars.json_schema.texts import Texts
from grammars.spec import Whitespace

_CROSSED_KEPT = 256
_NO_STATES = np.full(256, DEAD, np.int64)
_LITERALS = ((b"null", 1), (b"true", 2), (b"false", 4))


@dataclass(frozen=True)
class Gaps:
    """The gaps between lexemes under one policy of white space."""

    start: Gap
    value: Gap
    first_item: Gap
    first_name: Gap
    name: Gap
    after: Gap
    closer: Gap
    end: Gap
    colon: Colon

    @classmethod
    def under(cls, policy: Whitespace) -> Gaps:
        inside = {"model": "one or line", "compact": "one", "any": "any"}[policy]
        opened = {"model": "line", "compact": "none", "any": "any"}[policy]
        around = "any" if policy == "any" else "none"
        closers = (CLOSE_OBJECT, CLOSE_ARRAY)
        after = (COMMA, *closers, LINE_FEED) if policy == "model" else (COMMA, *closers)
        value = Gap(inside, VALUE_STARTS, ("value",))
        return cls(
            start=Gap(around, VALUE_STARTS, ("value",)),
            value=value,
            first_item=Gap(opened, (*VALUE_STARTS, CLOSE_ARRAY), ("item or end",)),
            first_name=Gap(opened, (QUOTE, CLOSE_OBJECT), ("name or end",)),
            name=Gap(inside, (QUOTE,), ("name",)),
            after=Gap(around, after, ("next",)),
            closer=Gap("line", closers, ("end",)),
            end=Gap(around, (), None),
            colon=Colon(policy == "any", value),
        )


class ValueStart(NamedTuple):
    """How a value with some goals can begin: rows behind the bytes that begin a scalar, and what opening means."""

    bytes_: NDArray[np.intp]
    locals_: NDArray[np.int64]
    object_frame: ObjectFrame | None
    array_frame: ArrayFrame | None
    object_local: int
    array_local: int


class JsonMachine:
    """See the module docstring; a `ByteAutomaton`."""

    last_bytes: Callable[[], frozenset[int]]
    """the bytes that a text may end with, or some more"""
    likely_texts: Callable[[float], Iterator[bytes]]
    """What a model may well write, or its beginning; found by that time of `time.thread_time()`"""

    def __init__(
        self,
        algebra: Algebra,
        frames: Frames,
        texts: Texts,
        completion: Completion,
        root: Ref,
        whitespace: Whitespace,
    ) -> None:
        self._algebra = algebra
        self._frames = frames
        self._texts = texts
        self._completion = completion
        self._rows = Rows()
        self._keys = KeyRows(frames, self._rows)
        self._gaps = Gaps.under(whitespace)
        self._gap_locals: dict[int, int] = {}
        self._lexemes: dict[object, Parallel] = {}
        self._starts: dict[tuple[Goals, bool], ValueStart] = {}
        self._crossed: dict[int, NDArray[np.int64]] = {}
        """the rows last asked for: what remembers asks again"""
        self._number_starts: dict[object, dict[int, int]] = {}
        self._tail_memo: dict[int, list[tuple[int, bytes, int]]] = {}
        self._endings: dict[int, tuple[tuple[int, int], ...]] = {}
        """by local, what `_count_endings` found"""
        self._ways: dict[tuple[int, object], tuple[tuple[int, bool, int], ...]] = {}
        """by frame and place, what `_count_ways` found"""
        self.remembers = frames.remembers
        self._contexts = Contexts(frames.root(root))
        self.remember = Memory(self._contexts, frames, self._step, self._rows.owner).remember
        self._crossings: dict[Hashable, Callable[[int, tuple[Hashable, ...], NDArray[np.int64]], None]] = {
            "value": self._cross_value,
            "item or end": self._cross_first_item,
            "name": self._cross_name,
            "name or end": self._cross_first_name,
            "next": self._cross_next,
            "end": self._cross_end,
            "string": self._cross_string,
            "number": self._cross_number,
            "literal": self._cross_literal,
            "key": self._cross_key,
        }
        self.start = pack(ROOT, self._gap(self._gaps.start))

    # -- contract --------------------------------------------------------------------------------

    @property
    def table(self) -> NDArray[np.int32]:
        return self._rows.table

    @property
    def table_bytes(self) -> int:
        """Memory that the table takes: there is room in it that was never touched."""
        return self._rows.nbytes

    @property
    def exits(self) -> NDArray[np.int32]:
        return self._rows.exits

    def fill(self, local: int) -> None:
        self._rows.fill(local)

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        context = self._contexts.entries[context].bare
        meaning = self._rows.exit(local)
        key = context << LOCAL_BITS | int(self._rows.exits[local])
        found = self._crossed.get(key)
        if found is not None:
            return found
        row = _NO_STATES.copy()
        if meaning:
            self._crossings[meaning[0]](context, meaning, row)
        if len(self._crossed) >= _CROSSED_KEPT:
            self._crossed.clear()
        self._crossed[key] = row
        return row

    def is_accepting(self, state: int) -> bool:
        context, local = state >> 32, state & LOCAL_MASK
        if context == ENDED:
            return True
        if context != ROOT:
            return False
        lexeme, own = self._rows.owner(local)
        return isinstance(lexeme, Parallel) and not lexeme.closes and lexeme.is_accepting(own)

    def slice_key(self, local: int) -> Hashable | None:
        lexeme, own = self._rows.owner(local)
        return lexeme.slice_key(own)

    def canonical_byte(self, local: int) -> int:
        lexeme, own = self._rows.owner(local)
        return lexeme.canonical_byte(own)

    # -- contexts --------------------------------------------------------------------------------

    def is_settled(self, state: int) -> bool:
        """See `ByteAutomaton.remember`."""
        return self._contexts[state >> 32].settled

    @property
    def commas_part(self) -> bool:
        """See `ByteAutomaton.remember`."""
        return self._frames.commas_part

    def know_names(self, whole_names: frozenset[str]) -> None:
        """See `ByteAutomaton.remember`."""
        self._frames.whole_names = whole_names

    def without_text(self, state: int) -> int:
        return pack(self._contexts.core(state >> 32), state & LOCAL_MASK)

    def _step(self, state: int, byte: int) -> int:
        """The state after a byte, by the tables alone."""
        context, local = state >> 32, state & LOCAL_MASK
        if self._rows.table[local, 0] == UNFILLED:
            self.fill(local)
        following = int(self._rows.table[local, byte])
        if following == CROSS:
            return int(self.cross(context, local)[byte])
        return pack(context, following) if following >= 0 else DEAD

    def _gap(self, gap: Gap | Colon, state: int = 0) -> int:
        if state:
            return self._rows.local(gap, state)
        found = self._gap_locals.get(id(gap))
        if found is None:
            found = self._gap_locals[id(gap)] = self._rows.local(gap, 0)
        return found

    # -- values ----------------------------------------------------------------------------------

    def _start_of(self, goals: Goals, settled: bool) -> ValueStart:
        """How a value with these goals can begin. Where the item before it, which it must differ from, is not known
        yet (not `settled`), it may begin in no way that leaves it few values: so much of it that the next bytes could
        still make any of many."""
        found = self._starts.get((goals, settled))
        if found is None:
            scalars = self._string(goals)
            if settled:
                scalars |= {**self._literals(goals), **self._numbers(goals)}
            elif scalars and not self._lacks_few_strings(goals):
                behind, _ = self._rows.owner(scalars[QUOTE])
                scalars[QUOTE] = self._shut("string", goals, behind)
            found = self._starts[goals, settled] = ValueStart(
                np.array(list(scalars), np.intp),
                np.array(list(scalars.values()), np.int64),
                self._frames.open_object(goals),
                self._frames.open_array(goals),
                self._gap(self._gaps.first_name) if settled else self._shut("name or end"),
                self._gap(self._gaps.first_item) if settled else self._shut("item or end"),
            )
        return found

    def _shut(self, meaning: str, goals: Goals = (), behind: Lexeme | None = None) -> int:
        """The row of a place from which no byte leads on."""
        key = ("shut", meaning, goals)
        if key not in self._lexemes:
            assert behind is None or isinstance(behind, Parallel)
            self._lexemes[key] = Shut(None if behind else (meaning,), behind)  # type: ignore[assignment]
        return self._rows.local(self._lexemes[key], 0)

    def _lacks_few_strings(self, goals: Goals) -> bool:
        languages = [self._algebra.texts(ref) for ref in goals]
        return all(language is None or language.is_empty() or language.lacks_few for language in languages)

    def _literals(self, goals: Goals) -> dict[int, int]:
        """The rows behind the bytes that begin a literal."""
        locals_ = {}
        for text, bit in _LITERALS:
            met = sum(1 << goal for goal, ref in enumerate(goals) if self._algebra.literals(ref) & bit)
            if met:
                key = (text, met)
                if key not in self._lexemes:
                    self._lexemes[key] = Literal(text, met)  # type: ignore[assignment]
                locals_[text[0]] = self._rows.local(self._lexemes[key], 1)
        return locals_

    def _string(self, goals: Goals) -> dict[int, int]:
        """The row behind the quote that begins a string."""
        met: dict[Automaton, int] = {}
        for goal, ref in enumerate(goals):
            language = self._algebra.texts(ref)
            if language is None or not language.is_empty():
                lexeme = self._texts.lexeme(language)
                met[lexeme] = met.get(lexeme, 0) | 1 << goal
        if not met:
            return {}
        key = ("string", *met.items())
        if key not in self._lexemes:
            self._lexemes[key] = Parallel(met, True)
        return {QUOTE: self._rows.local(self._lexemes[key], self._lexemes[key].start)}

    def _numbers(self, goals: Goals) -> dict[int, int]:
        """The rows behind the bytes that begin a number."""
        found = {}
        for goal, ref in enumerate(goals):
            numbers = self._algebra.numbers(ref)
            if not numbers.is_empty():
                found[goal] = numbers
        key = tuple((goal, numbers.key) for goal, numbers in found.items())
        if found and key not in self._number_starts:
            met: dict[Automaton, int] = {}
            for goal, numbers in found.items():
                language = numbers.language()
                met[language] = met.get(language, 0) | 1 << goal
            lexeme = Parallel(met, False)
            row, _, _ = lexeme.row(lexeme.start)
            alive = np.flatnonzero(row >= 0).tolist()
            self._number_starts[key] = {byte: self._rows.local(lexeme, int(row[byte])) for byte in alive}
        return self._number_starts[key] if found else {}

    def _cross_value(self, context: int, _: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        here = self._contexts[context]
        around, frame = here.around, here.frame
        if isinstance(frame, ArrayFrame):
            inside = self._frames.item(frame)
            if inside is None:
                return
            context, frame = self._contexts.number(around, inside), inside
        assert isinstance(frame, ValueFrame)
        start = self._start_of(frame.goals, frame.settled)
        row[start.bytes_] = start.locals_ + (context << 32)
        if start.object_frame is not None:
            row[OPEN_OBJECT] = pack(self._contexts.number(context, start.object_frame), start.object_local)
        if start.array_frame is not None:
            row[OPEN_ARRAY] = pack(self._contexts.number(context, start.array_frame), start.array_local)

    # -- ends of values --------------------------------------------------------------------------

    def _after_value(self, context: int, met: int) -> int:
        """The state after a value in `context` that met goals; DEAD if it may not end here."""
        if context == ROOT:
            return pack(ENDED, self._gap(self._gaps.end))
        here = self._contexts[context]
        around, frame = here.around, here.frame
        assert isinstance(frame, ValueFrame)
        following = self._frames.after_value(frame, met)
        if following is None:
            return DEAD
        return pack(self._contexts.number(around, following), self._gap(self._gaps.after))

    def _cross_string(self, context: int, meaning: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        row[QUOTE] = self._after_value(context, meaning[1])  # type: ignore[arg-type]

    def _cross_literal(self, context: int, meaning: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        row[meaning[2]] = self._after_value(context, meaning[1])  # type: ignore[arg-type,call-overload]

    def _cross_number(self, context: int, meaning: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        """A number ends at the byte that comes after it."""
        state = self._after_value(context, meaning[1])  # type: ignore[arg-type]
        if state == DEAD:
            return
        following, local = state >> 32, state & LOCAL_MASK
        if self._rows.exit(local):
            self._cross_next(following, (), row)
        own = self._rows.table[local]
        for byte in SPACES:
            if own[byte] >= 0:
                row[byte] = pack(following, int(own[byte]))

    def _cross_next(self, context: int, _: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        """After a member or an item: a comma, or the end."""
        frame = self._contexts[context].frame
        if isinstance(frame, ArrayFrame):
            if self._frames.item(frame) is not None:
                row[COMMA] = pack(context, self._gap(self._gaps.value))
        elif isinstance(frame, ObjectFrame) and self._keys.local(frame) is not None:
            row[COMMA] = pack(context, self._gap(self._gaps.name))
        self._cross_end(context, (), row)
        if self._gaps.after.breaks_line and max(row[CLOSE_ARRAY], row[CLOSE_OBJECT]) >= 0:
            row[LINE_FEED] = pack(context, self._gap(self._gaps.closer, 2))

    def _cross_end(self, context: int, _: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        """The end of an array or object."""
        here = self._contexts[context]
        around, frame = here.around, here.frame
        assert not isinstance(frame, ValueFrame)
        met = self._frames.met_by_closing(frame)
        if met:
            byte = CLOSE_ARRAY if isinstance(frame, ArrayFrame) else CLOSE_OBJECT
            row[byte] = self._after_value(around, met)

    def _cross_first_item(self, context: int, _: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        self._cross_value(context, (), row)
        self._cross_end(context, (), row)

    # -- names -----------------------------------------------------------------------------------

    def _cross_name(self, context: int, _: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        frame = self._contexts[context].frame
        assert isinstance(frame, ObjectFrame)
        local = self._keys.local(frame)
        if local is not None:
            row[QUOTE] = pack(context, local)

    def _cross_first_name(self, context: int, _: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        self._cross_name(context, (), row)
        self._cross_end(context, (), row)

    def _cross_key(self, context: int, meaning: tuple[Hashable, ...], row: NDArray[np.int64]) -> None:
        here = self._contexts[context]
        around, frame = here.around, here.frame
        assert isinstance(frame, ObjectFrame)
        name: Name = meaning[1]  # type: ignore[assignment]
        inside = self._frames.member(frame, name)
        if inside is not None:
            row[QUOTE] = pack(self._contexts.number(around, inside), self._gap(self._gaps.colon))

    # -- completions -----------------------------------------------------------------------------

    def min_bytes(self, state: int) -> int:
        context, local = state >> 32, state & LOCAL_MASK
        if context == ENDED:
            return 0
        endings = self._endings.get(local)
        if endings is None:
            endings = self._endings[local] = self._count_endings(local)
        if endings:
            return min(length + self._tail_cost(context, goal) for length, goal in endings)
        around = self._contexts.entries[context].around
        ways = self._count_ways(context, local)
        return min(length + self._tail_cost(context if inside else around, goal) for length, inside, goal in ways)

    def _count_ways(self, context: int, local: int) -> tuple[tuple[int, bool, int], ...]:
        """As `_options`, but how long the texts are, and whether the value is that of the context, not of the one
        around. They hang on the frame alone, unless a name is chosen by what the goals around still cost."""
        lexeme, own = self._lexeme_of(local)
        frame = self._contexts.entries[context].frame
        key: tuple[int, object] = (frame.number, local)
        if isinstance(lexeme, Gap):  # however much white space there is
            key = (frame.number, lexeme.meaning)
        elif isinstance(lexeme, Colon):
            key = (frame.number, ("colon", own < lexeme.offset))
        ways = self._ways.get(key)
        if ways is None:
            options = self._options(context, local)
            ways = tuple([(len(text), where == context, goal) for text, where, goal in options])
            if not isinstance(lexeme, Keys) or len({goal for goal, *_ in frame.alternatives}) == 1:  # type: ignore[union-attr]
                self._ways[key] = ways
        return ways

    def _count_endings(self, local: int) -> tuple[tuple[int, int], ...]:
        """(bytes to the end of the value, the goal that it then meets), where no context matters to them; else ()."""
        lexeme, own = self._lexeme_of(local)
        if not isinstance(lexeme, Parallel | Literal):
            return ()
        return tuple((length, goal) for met, length in lexeme.lengths(own) for goal in _bits(met))

    def _lexeme_of(self, local: int) -> tuple[Lexeme, int]:
        """The lexeme that has to be ended, and its state."""
        lexeme, own = self._rows.owner(local)
        if isinstance(lexeme, Shut) and (string := lexeme.behind) is not None:
            return string, string.start
        return lexeme, own

    def witness(self, state: int) -> bytes:
        context, local = state >> 32, state & LOCAL_MASK
        if context == ENDED:
            return b""
        options = ((len(t) + self._tail_cost(c, g), t, c, g) for t, c, g in self._options(context, local))
        _, text, context, goal = min(options)
        parts = [text]
        while context != ROOT:
            _, text, goal = self._tails(context)[goal]
            parts.append(text)
            context = self._contexts[context].around
        return b"".join(parts)

    def _tail_cost(self, context: int, goal: int) -> int:
        return 0 if context == ROOT else self._tails(context)[goal][0]

    def _tails(self, context: int) -> list[tuple[int, bytes, int]]:
        """For each goal of the value in a context: (bytes to the end of the text once it is met, those up to the next
        closing bracket, the goal around that they meet)."""
        missing = []
        while context not in self._tail_memo and context != ROOT:
            missing.append(context)
            context = self._contexts[context].around
        for inner in reversed(missing):
            here = self._contexts[inner]
            around, frame = here.around, here.frame
            assert isinstance(frame, ValueFrame)
            best: list[tuple[int, bytes, int] | None] = [None] * len(frame.goals)
            for own, goal, plan, after in frame.waiting:
                text = self._completion.rest(plan, after)
                option = (len(text) + self._tail_cost(around, goal), text, goal)
                if best[own] is None or option < best[own]:  # type: ignore[operator]
                    best[own] = option
            self._tail_memo[inner] = best  # type: ignore[assignment]
        return self._tail_memo[missing[0] if missing else context]

    def _options(self, context: int, local: int) -> Iterator[tuple[bytes, int, int]]:
        """Ways on from a state: (text up to the end of a value, the context of that value, the goal that it meets)."""
        lexeme, own = self._lexeme_of(local)
        here = self._contexts[context]
        around, frame = here.around, here.frame
        if isinstance(lexeme, Parallel | Literal):
            for met, text in lexeme.endings(own):
                yield from ((text, context, goal) for goal in _bits(met))
        elif isinstance(lexeme, Keys):
            assert isinstance(frame, ObjectFrame)
            yield from self._name_options(context, frame, lexeme, own)
        elif isinstance(frame, ValueFrame):
            before = b":" if isinstance(lexeme, Colon) and own < lexeme.offset else b""
            yield from ((before + self._completion.value(ref), context, goal) for goal, ref in enumerate(frame.goals))
        else:
            assert isinstance(lexeme, Gap | Shut) and lexeme.meaning is not None
            yield from ((text, around, goal) for text, goal in self._between(frame, lexeme.meaning[0]))

    def _between(self, frame: ObjectFrame | ArrayFrame, place: Hashable) -> Iterator[tuple[bytes, int]]:
        """Texts from a gap between values to the closing bracket, and the goals that they meet."""
        completion = self._completion
        for goal, plan, state in frame.alternatives:
            if place in ("item or end", "name or end"):
                yield completion.first(plan, state), goal
            elif place == "next":
                yield completion.rest(plan, state), goal
            elif place == "end":
                if plan.may_close(state):  # type: ignore[arg-type]
                    yield b"]" if isinstance(plan, ArrayPlan) else b"}", goal
            elif isinstance(plan, ArrayPlan):
                yield from ((text, goal) for text in completion.next_item(plan, state))
            else:
                yield from ((text, goal) for text in completion.next_member(plan, state))

    def _name_options(self, context: int, frame: ObjectFrame, keys: Keys, own: int) -> Iterator[tuple[bytes, int, int]]:
        """Ways on from inside a property name."""
        around = self._contexts[context].around
        best: dict[Name, tuple[int, bytes, int]] = {}

        def cost(name: Name) -> int | None:
            inside = self._frames.member(frame, name)
            if inside is None:
                return None
            ways = []
            for met, goal, plan, after in inside.waiting:
                text = b":" + self._completion.value(inside.goals[met]) + self._completion.rest(plan, after)
                ways.append((len(text) + self._tail_cost(around, goal), text, goal))
            best[name] = min(ways)
            return best[name][0]

        floor = 3 + min(self._tail_cost(around, goal) for goal, _, _ in frame.alternatives)
        found = keys.search(own, cost, floor)
        assert found is not None
        _, text, name = found
        yield text + best[name][1], around, best[name][2]


def _bits(met: int) -> Iterator[int]:
    while met:
        yield (met & -met).bit_length() - 1
        met &= met - 1
