"""Compiled loops that fill rows of the table. They know arrays only.

A map tells the local of each state of one lexeme: `mapped[state]`, UNFILLED where it has none yet. Its last two entries
are what DEAD and CROSS look up.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from grammars.automaton import CROSS, DEAD, UNFILLED


@njit(
    "UniTuple(int64, 2)(int32[::1], Array(int32, 1, 'C', readonly=True), int32[::1], int64, int64, int32[:, ::1],"
    " int32[::1], int64[::1])",
    cache=True,
)
def number(mapped, states, locals_, count, lexeme, table, lexemes, owned):  # type: ignore[no-untyped-def]
    """The locals of states, or DEAD or CROSS; those that have none are numbered from `count` on, and noted as owned by
    this lexeme.

    Gives the next free local, and 0; or, where it could not go on, a state that the map is too short for, or -1 where
    the table is. Called again with a longer one, it begins anew, and what has been numbered stays so.
    """
    for place in range(len(states)):
        state = states[place]
        if state >= len(mapped) - 2:
            return count, np.int64(state)
        local = mapped[state]
        if local == UNFILLED:
            if count == len(table):
                return count, np.int64(-1)
            local = np.int32(count)
            mapped[state] = local
            lexemes[count] = lexeme
            owned[count] = state
            table[count][:] = UNFILLED
            count += 1
        locals_[place] = local
    return count, np.int64(0)


@njit(
    "void(int32[:, ::1], int32[::1], int32[::1], int32[::1], Array(uint8, 1, 'C', readonly=True), int32[::1],"
    " boolean[::1], int64, int64)",
    cache=True,
)
def write_lines(table, exits, locals_, likes, text, escapes, is_raw, quote, backslash):  # type: ignore[no-untyped-def]
    """Fill the rows along texts, each with the quote that ends it.

    locals_, escapes: for each byte of `text` the row before it, and what follows a backslash there, CROSS for the
    quotes. likes: for each text the row that its rows are like, or DEAD.
    """
    line = 0
    for k in range(len(text)):
        row = table[locals_[k]]
        like = likes[line]
        if like == DEAD:
            row[:] = DEAD
        else:
            row[:] = table[like]
            exits[locals_[k]] = exits[like]
        if escapes[k] == CROSS:  # behind the last byte
            row[quote] = CROSS
            line += 1
            continue
        row[backslash] = escapes[k]
        if is_raw[text[k]]:
            row[text[k]] = locals_[k + 1]


@njit("void(int32[:, ::1], int32[::1], int32[::1], int32[::1], int32[::1], int32[::1])", cache=True)
def write_few(table, locals_, likes, places, bytes_, nexts):  # type: ignore[no-untyped-def]
    """Make each row that of `likes`, or dead where that is DEAD; then write `nexts[k]` into row `places[k]`."""
    for k in range(len(locals_)):
        if likes[k] == DEAD:
            table[locals_[k]][:] = DEAD
        else:
            table[locals_[k]][:] = table[likes[k]]
    for k in range(len(places)):
        table[locals_[places[k]], bytes_[k]] = nexts[k]
