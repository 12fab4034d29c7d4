"""The one contract between front ends (regex, JSON Schema, Lark, ...) and everything above (masks, matcher, budget).

A constraint is a lazy byte automaton: states are made when they are first reached, and there may be infinitely many
(a stack makes a new state). A state is a pair, packed into one integer:

    state = context << 32 | local

`local` is a row of `table`: what a byte does *inside the current lexeme* (inside a JSON string, a number, a run of
white space), the same in every context. `context` is the rest: the stack of open objects, what has been seen, what
comes after the lexeme. A byte that leaves the lexeme *crosses*: only then is the context asked.

    table[local, byte] =  next local (>= 0)   the context stays
                          DEAD                no text of the language goes on like this
                          CROSS               cross(context, local)[byte] is the next state, or DEAD
                          UNFILLED            call fill(local) first; it fills the whole row

So the walk of the token trie runs in compiled code over two tables, returns to Python once per new row, and what a
lexeme does is computed once for all contexts that it appears in. An automaton without a stack (a regex) has one
context, 0, and never crosses.

Invariants that every front end keeps (tests check them for all):
1. Every state that is reachable is alive: a completion exists. `min_bytes(state)` is the length of a shortest one,
   `witness(state)` is one of that length. A byte that leads to a state without completion is DEAD.
2. `min_bytes(state) == 0` iff `is_accepting(state)`.
3. States are interned: equal residual languages need not be equal integers, but the same text always is.
4. `table` and `exits` only grow; filled entries never change. They may be reallocated by `fill` and `cross`:
   read the attributes anew after either.
5. `cross` depends on `local` only through `exits[local]`: locals of one exit class cross alike in every context.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

DEAD = -1
CROSS = -2
UNFILLED = -3

SLICE_BYTES = 32
"""How far `slice_key` looks. Longer tokens, of which a vocabulary has few, are walked by themselves."""

LOCAL_BITS = 32
LOCAL_MASK = (1 << LOCAL_BITS) - 1


def pack(context: int, local: int) -> int:
    """The state made of a context and a row of the table."""
    return context << LOCAL_BITS | local


class ByteAutomaton(Protocol):
    """See the module docstring. Not safe for threads by itself: `CompiledGrammar` holds a lock around it."""

    start: int

    @property
    def table(self) -> NDArray[np.int32]:
        """[capacity, 256]"""
        ...

    @property
    def exits(self) -> NDArray[np.int32]:
        """[capacity]: the exit class of each local (0 where it never crosses)"""
        ...

    def fill(self, local: int) -> None:
        """Fill `table[local]`, whole."""
        ...

    def cross(self, context: int, local: int) -> NDArray[np.int64]:
        """[256]: for each byte that crosses from (context, local), the next state or DEAD; DEAD for all other bytes.

        The caller keeps the row itself, keyed by (context, exits[local]): it asks once, and nobody may write to it.
        """
        ...

    remembers: bool
    """Whether `remember` must be called. False for most automata."""

    def remember(self, before: int, text: bytes, after: int) -> int:
        """`after` with what only the text itself can tell, such as a name or an item that must not be written twice.

        `after` is where the tables lead from `before` over `text`. The matcher calls this once for each token that it
        has advanced over, and goes on from the state returned. Masks need no such call: what the tables allow is right
        for any one token, and a state not remembered only allows less. Where its witness may not hold for what
        `remember` makes of it, the automaton has one method more, `is_settled(state) -> bool`, which says False.
        Where states differ in what is known of the text alone, and tables lead on from them alike, it may have another,
        `without_text(state) -> int`: one state for all of them, so that they share a mask; `know_names(names)` tells it
        beforehand which names single tokens write from the comma before them to their closing quotes. Tables may refuse
        a token that goes over a comma into the next item, though its bytes one by one lead on; `commas_part: bool` may
        say that they never do.
        """
        ...

    def is_accepting(self, state: int) -> bool: ...

    def min_bytes(self, state: int) -> int:
        """Length in bytes of a shortest completion."""
        ...

    def witness(self, state: int) -> bytes:
        """A shortest completion. The choice among equally short ones is fixed."""
        ...

    def slice_key(self, local: int) -> Hashable | None:
        """A name for what the row does inside its lexeme over texts of up to SLICE_BYTES bytes.

        Equal keys of one automaton class mean equal behaviour, across rows and across grammars: the same bytes stay,
        cross or die, and wherever two texts lead to one local under the one row, they do under the other. What the
        vocabulary does inside (its *slice*) is kept per key and shared by all grammars; None keeps it to this row.
        """
        ...

    def canonical_byte(self, local: int) -> int:
        """The byte that every completion begins with, but for other spellings of the same meaning; or DEAD.

        `a` where JSON must have the letter a, which a text may also spell as an escape. Masks allow all spellings; text
        that is forced is written in this one.
        """
        ...
