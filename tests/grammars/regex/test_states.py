"""The byte automaton: its invariants, its shortest texts, and UTF-8, against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from grammars.automaton import DEAD, UNFILLED
from grammars.errors import GrammarError, UnsatisfiableConstraintError
from grammars.limits import DEFAULT_LIMITS
from grammars.regex import Language, automaton, compile_regex
from grammars.spec import Regex
from tests.grammars.regex.patterns import PATTERNS

NEAR_EDGES = bytes(
    (0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF)
)


def is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("pattern", ["(?s).*", "(?s)(.|\ud7ff|\uffff)*", "[\\x00-\U0010ffff]*", "(\\w|\\W)*"])
def test_well_formed_utf_8_is_what_decodes(pattern: str) -> None:
    language = Language.parse(pattern)
    for size in range(4):
        for content in map(bytes, itertools.product(NEAR_EDGES, repeat=size)):
            assert language.accepts(content) == is_text(content), content
    for lead in (0xF0, 0xF1, 0xF4, 0xF5):
        for rest in itertools.product((0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xC0), repeat=3):
            content = bytes((lead, *rest))
            assert language.accepts(content) == is_text(content), content


EDGES = [0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x3FFFF, 0x40000, 0x10FFFF]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(EDGES), st.sampled_from(EDGES)), min_size=1, max_size=3))
def test_character_classes_at_the_edges_of_utf_8(ranges: list[tuple[int, int]]) -> None:
    inside = Language.char_class(ranges)
    outside = Language.length(1, 1) - inside
    for point in {edge + offset for edge in EDGES for offset in (-1, 0, 1)}:
        if 0 <= point <= 0x10FFFF and not 0xD800 <= point <= 0xDFFF:
            expected = any(low <= point <= high for low, high in ranges)
            assert inside.accepts(chr(point)) == expected != outside.accepts(chr(point))


def explore(language: Language, most: int) -> list[int]:
    """The first states, in the order in which they are reached."""
    states = [language.start]
    for state in states:
        row = language.row(state)
        for target in dict.fromkeys(row[row != DEAD].tolist()):
            if target not in states and len(states) < most:
                states.append(target)
    return states


def shortest(language: Language, start: int, most: int) -> int | None:
    """Length of a shortest completion, breadth first; None if it is longer than `most`."""
    layer = {start}
    for length in range(most + 1):
        if any(map(language.is_accepting, layer)):
            return length
        layer = {int(target) for state in layer for target in np.unique(language.row(state)) if target != DEAD}
    return None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(PATTERNS, st.booleans(), st.booleans())
def test_every_state_has_a_shortest_completion(pattern: str, search: bool, complement: bool) -> None:
    try:
        language = Language.parse(pattern, search=search)
    except GrammarError:
        assume(False)
    language = ~language if complement else language
    if language.is_empty():
        assert (language.row(language.start) == DEAD).all()
        return
    for state in explore(language, 25):
        length = language.min_bytes(state)
        assert (length == 0) == language.is_accepting(state)
        assert shortest(language, state, length) == length
        completion = language.witness(state)
        assert len(completion) == length and completion == language.witness(state)
        for byte in completion:
            state = language.step(state, byte)
        assert language.is_accepting(state)


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [("(a|b)*a(a|b){9}", 15, 17), ("(aaa)+", 4, 8), (".*é.{3}", 0, 6), ("(?!a)[ab]*", 3, 3), ("\\bab\\b.*", 4, 9)],
)
def test_shortest_texts_under_a_length(pattern: str, least: int, most: int) -> None:
    language = Language.parse(pattern) & Language.length(least, most)
    for state in explore(language, 40):
        assert shortest(language, state, 40) == language.min_bytes(state) == len(language.witness(state))


def test_automaton_contract() -> None:
    machine = compile_regex(Regex("(?s)x.{1,40}y"), DEFAULT_LIMITS)
    state = machine.start
    for byte in b"x\xc3\xa9y":
        if machine.table[state, 0] == UNFILLED:
            machine.fill(state)
        state = int(machine.table[state, byte])
    assert machine.is_accepting(state) and machine.min_bytes(state) == 0
    assert machine.witness(machine.start) == b"xay"
    assert len(machine.exits) == len(machine.table) and not machine.exits.any()
    assert (machine.cross(0, state) == DEAD).all() and not machine.remembers


def test_slice_keys_are_equal_where_short_texts_see_no_difference() -> None:
    def key(pattern: str, written: bytes = b"") -> object:
        language = Language.parse(pattern)
        state = language.start
        for byte in written:
            state = language.step(state, byte)
        return automaton(language).slice_key(state)

    assert key(".{0,100}") == key(".{0,5000}") == key(".{0,101}", b"x") == key("a.{0,5000}", b"a")
    assert len({key(".{0,100}"), key(".{0,32}"), key(".*"), key(".{5,}"), key("(?s).*"), key("[ab]{0,100}")}) == 6
    assert key(".{0,32}") == key(".{0,33}", b"x") and key("ab*c", b"a") == key("b*c")
    assert key(".*", b"\xc3") is None


def test_rows_stay_as_they_were_filled() -> None:
    language = Language.parse("[a-z]{1,200}")
    machine = automaton(language)
    machine.fill(machine.start)
    before = machine.table[machine.start].copy()
    for state in explore(language, 150):
        machine.fill(state)
    assert (machine.table[machine.start] == before).all()


def test_nothing_to_match_is_an_error() -> None:
    with pytest.raises(UnsatisfiableConstraintError, match="matches no text"):
        compile_regex(Regex("a(?!.*)"), DEFAULT_LIMITS)
    with pytest.raises(UnsatisfiableConstraintError):
        automaton(Language.empty())
