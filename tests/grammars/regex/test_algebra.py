"""Set algebra, against sets of short texts."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.errors import ConstraintSyntaxError
from grammars.regex import Language

TEXTS = ["".join(letters) for size in range(5) for letters in itertools.product("abé", repeat=size)]
PATTERNS = [
    "",
    "a",
    "[ab]",
    "é*",
    "(ab|é)+",
    "a?b{1,2}",
    ".{2}",
    "(?!a).*",
    ".*b(?=é).*",
    "a*|b*",
    "(a|b)*a",
    "é{2,}",
    "a.b?",
]


def texts_of(language: Language) -> set[str]:
    return {text for text in TEXTS if language.accepts(text)}


PARSED = {pattern: texts_of(Language.parse(pattern)) for pattern in PATTERNS}
pairs = st.tuples(st.sampled_from(PATTERNS), st.sampled_from(PATTERNS))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pairs)
def test_set_operations(pair: tuple[str, str]) -> None:
    left, right = map(Language.parse, pair)
    first, second = PARSED[pair[0]], PARSED[pair[1]]
    assert texts_of(left & right) == first & second
    assert texts_of(left | right) == first | second
    assert texts_of(left - right) == first - second
    assert texts_of(~left) == set(TEXTS) - first
    assert (left & right).key == (right & left).key
    assert (~~left).key == left.key


@settings(max_examples=40, deadline=None, derandomize=True)
@given(pairs)
def test_sequences(pair: tuple[str, str]) -> None:
    first, second = PARSED[pair[0]], PARSED[pair[1]]
    joined = {left + right for left in first for right in second if len(left + right) <= 4}
    assert texts_of(Language.parse(pair[0]) + Language.parse(pair[1])) == joined
    twice = {left + right for left in first for right in first if len(left + right) <= 4}
    assert texts_of(Language.parse(pair[0]).repeat(1, 2)) == first | twice


def test_look_arounds_do_not_see_across_a_sequence() -> None:
    assert (Language.parse("a(?=b)") + Language.parse("b")).is_empty()
    assert (Language.parse("a") + Language.parse("(?<=a)b")).is_empty()
    assert (Language.parse("a$") + Language.parse("^b")).accepts("ab")
    assert Language.parse("a\\b").repeat(2, 2).accepts("aa")
    assert not Language.parse("\\Ba|b").repeat(2, 2).accepts("ba")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(pairs)
def test_comparisons(pair: tuple[str, str]) -> None:
    left, right = map(Language.parse, pair)
    assert left.subset_of(left | right) and (left & right).subset_of(right)
    assert (left - right).equivalent(left & ~right)
    assert (~(left | right)).equivalent(~left & ~right)
    if left.subset_of(right):
        assert PARSED[pair[0]] <= PARSED[pair[1]]


def test_constructors() -> None:
    assert texts_of(Language.empty()) == set() and Language.empty().is_empty()
    assert texts_of(Language.epsilon()) == {""}
    assert texts_of(Language.any_text()) == set(TEXTS)
    assert texts_of(Language.literal("aé")) == {"aé"} == texts_of(Language.literal("aé".encode()))
    assert texts_of(Language.length(1, 2)) == {text for text in TEXTS if 1 <= len(text) <= 2}
    assert texts_of(Language.char_class([(0x61, 0x62), (0xE9, 0xE9)])) == {"a", "b", "é"}
    assert texts_of(Language.union(["ab", Language.parse("é+"), "", "aba"])) == {
        "",
        "ab",
        "aba",
        "é",
        "éé",
        "ééé",
        "éééé",
    }
    assert Language.char_class([(0xD800, 0xDFFF)]).is_empty() and Language.literal("\ud800").is_empty()
    assert Language.union([]).is_empty()


def test_impossible_arguments_are_refused() -> None:
    for wrong in (lambda: Language.literal(b"\xff"), lambda: Language.length(3, 2), lambda: Language.length(-1, None)):
        with pytest.raises(ConstraintSyntaxError):
            wrong()


def test_keys_are_equal_for_equal_structure() -> None:
    assert Language.parse("a|b|c").key == Language.parse("[a-c]").key
    assert Language.parse("(a{0,3}){0,5}").key == Language.parse("a{0,15}").key
    assert Language.union(["x", "yz", "x"]).key == (Language.literal("yz") | Language.literal("x")).key
    assert Language.parse("^ab$", dialect="ecma", search=True).key == Language.literal("ab").key
    assert (Language.union(["a", "bb", "ccc"]) & Language.length(2, 3)).key == Language.union(["bb", "ccc"]).key
    assert (Language.union(["a", "bb"]) - Language.literal("bb")).key == Language.literal("a").key


def test_finiteness() -> None:
    finite = ["", "a{0,9}", "(a|bb){3}é?", "(?=a{2,5}$)a*", "[ab]{2}(?!b)", "(?!aaa)a{0,4}"]
    infinite = ["a*", "a{2,}b", "(?=a)a+", "(?!b)[ab]*", "\\b\\w+\\b"]
    assert all(Language.parse(pattern).is_finite() for pattern in finite)
    assert not any(Language.parse(pattern).is_finite() for pattern in infinite)
    assert (Language.parse("a*") & Language.parse("b*")).is_finite()
    assert (Language.parse("[ab]*") - Language.parse("[ab]{4,}")).is_finite()


def test_many_words() -> None:
    generator = random.Random(1)
    words = ["".join(generator.choices("abcdeé_", k=generator.randint(1, 12))) for _ in range(10_000)]
    language, known = Language.union(words), set(words)
    assert all(language.accepts(word) for word in words[:500])
    for word in words[:500]:
        assert language.accepts(word[:-1]) == (word[:-1] in known)
    assert language.min_bytes(language.start) == min(len(word.encode()) for word in words)
    assert not (~language).accepts(words[0]) and (~language).accepts("no word")


def test_length_bounds_are_told_of_languages_that_are_nothing_else() -> None:
    assert Language.length(2, 9).length_bounds == (2, 9)
    assert (Language.length(2, None) & Language.length(0, 7)).length_bounds == (2, 7)
    assert Language.any_text().length_bounds == (0, None)
    assert Language.length(1, 1).length_bounds == (1, 1)
    assert Language.parse("a{2,9}").length_bounds is None
