"""String and key automata against `json.loads` and the languages of the values."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.automaton import DEAD
from grammars.json_schema.counted_values import CountedValues
from grammars.json_schema.escapes import NO_CLASS, EscapedText
from grammars.json_schema.language_values import LanguageValues
from grammars.json_schema.strings import KeyLexeme, StringLexeme, any_string
from grammars.regex import Language

PATTERNS = [
    "[a-c]{1,3}",
    '["\\\\/\\n\\x00-\\x1f]{2}',
    "[à-ÿ]+",
    "\\U0001f600[\\u0400-\\u04ff\\ud7ff]?",
    "(?:ab|\\n\\t|\"')*",
    "[^a]{0,4}",
    "\\t\\x01\\x02|\\x7f{4}",
    ".*é.*",
    "[\\U00010000-\\U000103ff\\U0010ffff]",
]
pieces = st.one_of(
    st.sampled_from(
        ["a", "b", "ab", '"', "\\", "\\n", "\\t", '\\"', "\\\\", "\\/", "\\u0041", "\\u00e9", "\\u00E9", "é", "ÿ"]
    ),
    st.sampled_from(
        ["\\ud83d\\ude00", "\\uD83D\\uDE00", "\\ud83d", "\\ude00", "😀", "\U0010ffff", "\\udbff\\udfff", "\x01"]
    ),
    st.sampled_from(
        ["\\u0001", "\\u000a", "\\u0009", "\\u0022", "\\u005c", "\\u04aF", "\\ud7ff", "\\u12", "\\x", "c", "\x7f"]
    ),
    st.characters(codec="utf-8").map(lambda c: c),
    st.characters(max_codepoint=0xFFFF, codec="utf-8").map(lambda c: f"\\u{ord(c):04x}"),
)
contents = st.lists(pieces, max_size=4).map("".join)


def read(lexeme: EscapedText, text: str | bytes) -> int | None:
    """The class of a text read up to its end, NO_CLASS inside, None if it died on the way."""
    state = lexeme.start
    for byte in text.encode() if isinstance(text, str) else text:
        state = lexeme.step(state, byte)
        if state == DEAD:
            return None
    return lexeme.class_of(state)


def value_of(text: str) -> str | None:
    """The string that JSON reads, None if the text is no string or holds a lone surrogate."""
    try:
        value = json.loads('"' + text)
        value.encode()
    except (ValueError, UnicodeEncodeError):
        return None
    return value if isinstance(value, str) else None


def check_shortest(lexeme: EscapedText, rng: random.Random, walks: int = 20) -> None:
    """Random walks: the shortest successor is one shorter, the witness is of that length and closes the string."""
    for _ in range(walks):
        state, text = lexeme.start, b""
        for _ in range(rng.randrange(14)):
            row = lexeme.row(state)
            targets = np.flatnonzero(row != DEAD)
            lengths = [lexeme.min_bytes(int(t)) for t in set(row[targets].tolist())]
            assert not lengths or lexeme.min_bytes(state) == 1 + min(lengths)
            if not len(targets):
                break
            byte = int(rng.choice(targets.tolist()))
            state, text = int(row[byte]), text + bytes([byte])
        witness = lexeme.witness(state)
        assert len(witness) == lexeme.min_bytes(state)
        assert read(lexeme, text + witness) not in (None, NO_CLASS)


@settings(max_examples=500, deadline=None)
@given(contents)
def test_any_string_is_what_json_reads(content: str) -> None:
    assert (read(any_string(), content + '"') == 0) == (value_of(content + '"') is not None)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_hold_for_the_value(pattern: str) -> None:
    language = Language.parse(pattern)
    lexeme = StringLexeme(language)

    @settings(max_examples=150, deadline=None)
    @given(contents)
    def check(content: str) -> None:
        value = value_of(content + '"')
        assert (read(lexeme, content + '"') == 0) == (value is not None and language.accepts(value))

    check()
    check_shortest(lexeme, random.Random(0))


def test_every_spelling_of_every_member() -> None:
    language = Language.parse('a\n"|é😀|/\\x00')
    lexeme = StringLexeme(language)
    rng = random.Random(0)
    for value in ('a\n"', "é😀", "/\0"):
        for _ in range(30):
            text = "".join(rng.choice(spellings(character)) for character in value)
            assert read(lexeme, text + '"') == 0, text
            assert read(lexeme, text) == NO_CLASS


def spellings(character: str) -> list[str]:
    units = character.encode("utf-16-be")
    escaped = "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
    short = {'"': '\\"', "\n": "\\n", "/": "\\/"}
    raw = [character] if character >= " " and character not in '"\\' else []
    return [
        escaped,
        "\\u".join(part.upper() for part in escaped.split("\\u")),
        *raw,
        *filter(None, [short.get(character)]),
    ]


def test_all_escapes_of_the_basic_plane() -> None:
    language = Language.char_class([(0, 0x2F), (0xE0, 0x1234), (0xF000, 0x10FFFF)])
    lexeme = StringLexeme(language)
    for code in [*range(0x900), *range(0x1200, 0x1300), *range(0xD700, 0xE100), *range(0xEFF0, 0x10000)]:
        is_member = code <= 0x2F or 0xE0 <= code <= 0x1234 or code >= 0xF000
        assert (read(lexeme, f'\\u{code:04x}"') == 0) == is_member, hex(code)


@pytest.mark.parametrize(("least", "most"), [(0, None), (0, 0), (1, 1), (2, 5), (3, None), (0, 100_000), (1, 2**31)])
def test_bounded_lengths_are_counted_in_characters(least: int, most: int | None) -> None:
    lexeme = StringLexeme(Language.length(least, most))

    @settings(max_examples=150, deadline=None)
    @given(st.lists(pieces, max_size=7).map("".join))
    def check(content: str) -> None:
        value = value_of(content + '"')
        held = value is not None and least <= len(value) <= (most if most is not None else 10**9)
        assert (read(lexeme, content + '"') == 0) == held

    check()
    check_shortest(lexeme, random.Random(1))


COUNTED = [
    ("[a-c]+", 2, 5),
    ("(ab|cé)*", 3, 6),
    ("a{2,5}|[\\u0400-\\u04ff]{7}", 0, 6),
    ("(?:abc)*x?", 4, 8),
    ("[^a]*(?!b).*", 1, 3),
    (".*é.*|x{40}", 0, 30),
    ("a*", 3, None),
]


@pytest.mark.parametrize(("pattern", "least", "most"), COUNTED)
def test_a_pattern_beside_a_length_is_their_product(pattern: str, least: int, most: int | None) -> None:
    both = Language.parse(pattern) & Language.length(least, most)
    lexeme = StringLexeme(both)
    plain = EscapedText(LanguageValues(both), 1, "plain")
    assert isinstance(lexeme._values, CountedValues)
    check_shortest(lexeme, random.Random(2))
    paths, seen = [(lexeme.start, plain.start)], set[tuple[int, int]]()
    while paths and len(seen) < 500:  # both have completions behind the same bytes, and end in the same places
        counted, derived = paths.pop()
        if (counted, derived) in seen:
            continue
        seen.add((counted, derived))
        rows = lexeme.row(counted), plain.row(derived)
        assert np.array_equal(rows[0] == DEAD, rows[1] == DEAD)
        assert lexeme.class_of(counted) == plain.class_of(derived)
        block = lexeme.together(counted)
        if block is not None:
            made = dict(zip(block.states.tolist(), block.rows, strict=True))
            assert np.array_equal(made[counted], rows[0])
            assert all(np.array_equal(row, lexeme.row(state)) for state, row in made.items())
        paths += set(zip(*(row[row != DEAD].tolist() for row in rows), strict=True))


def test_long_bounds_cost_little() -> None:
    lexeme = StringLexeme(Language.length(100_000, 100_000))
    began = time.perf_counter()
    assert lexeme.min_bytes(lexeme.start) == 100_001
    state = lexeme.start
    for _ in range(300):
        state = lexeme.step(state, ord("x"))
    assert lexeme.min_bytes(state) == 99_701
    assert time.perf_counter() - began < 1


def test_shortest_text_of_escapes_only() -> None:
    lexeme = StringLexeme(Language.parse('\\x01{2}|"{5}|\\x02\\x03\\x04'))
    assert lexeme.min_bytes(lexeme.start) == 11
    assert json.loads(b'"' + lexeme.witness(lexeme.start)) == '"' * 5


def test_an_empty_language_has_no_text() -> None:
    assert StringLexeme(Language.empty()).is_empty()
    assert not StringLexeme(Language.literal("")).is_empty()


NAMES = ["a", "ab", "abc", "", "é", "ü", 'q"', "b\n", "😀", "zz"]
SOME = Language.parse("a[a-f]*|z+")
REST = Language.any_text() - SOME


def keys_of(names: Sequence[str], others: Sequence[Language], allowed: frozenset[int] | None) -> KeyLexeme:
    """The keys of some classes: the names, then the others."""
    keys = KeyLexeme(others)
    refused = set() if allowed is None else {name for place, name in enumerate(names) if place not in allowed}
    shut = () if allowed is None else [i for i in range(len(others)) if len(names) + i not in allowed]
    keys.before(names[::2])  # another object that shares the states
    keys.start = keys.before(names, refused, shut)
    return keys


@settings(max_examples=300, deadline=None)
@given(contents, st.one_of(st.none(), st.frozensets(st.integers(0, len(NAMES) + 1), max_size=9)))
def test_keys_fall_to_their_class(content: str, allowed: frozenset[int] | None) -> None:
    keys = keys_of(NAMES, [SOME, REST], allowed)
    for text in (content, *(json.dumps(name)[1:-1] for name in NAMES)):
        value = value_of(text + '"')
        expected = None
        if value is not None:
            expected = NAMES.index(value) if value in NAMES else len(NAMES) + (not SOME.accepts(value))
            if allowed is not None and expected not in allowed:
                expected = None
        found = read(keys, text + '"')
        told = None if found in (None, NO_CLASS) else NAMES.index(keys.name(found)) if found > 1 else len(NAMES) + found
        assert told == expected


@pytest.mark.parametrize(
    "allowed",
    [None, frozenset({0, 2}), frozenset({10}), frozenset({11}), frozenset({4, 10}), frozenset({3}), frozenset()],
)
def test_only_paths_to_an_allowed_class_live(allowed: frozenset[int] | None) -> None:
    keys = keys_of(NAMES, [SOME, REST], allowed)
    if allowed == frozenset():
        assert keys.is_empty()
        return
    check_shortest(keys, random.Random(2), 40)


def test_names_that_use_up_a_language_leave_nothing_of_it() -> None:
    names, language = ["x", "xy", "q"], Language.parse("xy?")
    assert keys_of(names, [language], frozenset({3})).is_empty()
    assert read(keys_of(names, [language], frozenset({2, 3})), "x") is None
    wider = keys_of(["x", "xy"], [Language.parse("xy?|xz")], frozenset({2}))
    assert wider.witness(wider.start) == b'xz"'


def test_a_lone_surrogate_names_no_key() -> None:
    keys = keys_of(["\ud800", "b"], [], None)
    assert read(keys, '\\ud800"') is None
    assert keys.name(read(keys, 'b"')) == "b"


def test_a_thousand_names_are_quick() -> None:
    keys = KeyLexeme([Language.any_text()])
    names = [f"field_{i:04}" for i in range(1000)]
    keys.row(keys.before(names))
    began = time.perf_counter()
    for seen in range(50):
        keys.start = keys.before(names, set(names[:seen]))
        assert keys.name(read(keys, f'field_{seen:04}"')) == names[seen]
        assert read(keys, f'field_{max(seen - 1, 0):04}"') == (None if seen else 1)
        assert read(keys, 'other"') == 0
    assert time.perf_counter() - began < 2
