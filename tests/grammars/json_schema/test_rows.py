"""Rows that are filled together, against those that a lexeme makes one by one."""

from __future__ import annotations

import random
from collections import deque

import pytest

from grammars.automaton import CROSS, DEAD, UNFILLED
from grammars.json_schema.keys import NO_PATTERN, Keys
from grammars.json_schema.lexemes import Parallel
from grammars.json_schema.names import any_name
from grammars.json_schema.rows import Lexeme, Rows
from grammars.json_schema.strings import StringLexeme
from grammars.regex import Language

NAMES = ["a", "ab", "abc", "b", "name", "names", "näme", "日本", "x" * 40, 'q"uote', "back\\slash", "tab\t", "é", ""]
PAIRS = 1_500


def assert_same_rows(lexeme: Lexeme, start: int) -> int:
    """Follow all bytes from a state, in the table and by the lexeme's own rows. Gives how many pairs were met."""
    rows = Rows()
    first = (rows.local(lexeme, start), start)
    met, queue = {first}, deque((first,))
    while queue and len(met) < PAIRS:
        local, state = queue.popleft()
        if rows.table[local, 0] == UNFILLED:
            rows.fill(local)
        nexts, crossing, meaning = lexeme.row(state)
        assert rows.exit(local) == (meaning or ())
        for byte, found in enumerate(rows.table[local].tolist()):
            if byte in crossing:
                assert found == CROSS
            elif nexts[byte] == DEAD:
                assert found == DEAD, (local, state, byte)
            else:
                assert found >= 0, (local, state, byte)
                pair = (found, int(nexts[byte]))
                if pair not in met:
                    met.add(pair)
                    queue.append(pair)
    return len(met)


@pytest.mark.parametrize("seed", range(12))
def test_rows_of_names(seed: int) -> None:
    rng = random.Random(seed)
    names = rng.sample(NAMES, rng.randrange(1, len(NAMES)))
    others = [{}, {NO_PATTERN: any_name()}, {NO_PATTERN: Language.parse("[a-c]*x?")}][seed % 3]
    keys = Keys(others, True)
    for _ in range(2):  # the second set shares states with the first
        listed = rng.sample(names, rng.randrange(1, len(names) + 1))
        refused = frozenset(rng.sample(listed, rng.randrange(len(listed))))
        allowed = None if rng.random() < 0.5 else frozenset([*listed, *others]) - refused
        assert assert_same_rows(keys, keys.before(listed, allowed)) > 2


@pytest.mark.parametrize("seed", range(6))
def test_rows_of_strings(seed: int) -> None:
    rng = random.Random(seed)
    words = rng.sample(NAMES, rng.randrange(1, len(NAMES)))
    languages = [Language.union(words), Language.length(2, 5), Language.length(0, None), Language.parse("[a-f0-9]{4}")]
    lexeme = Parallel({StringLexeme(languages[seed % 4]): 1}, True)
    assert assert_same_rows(lexeme, lexeme.start) > 2
