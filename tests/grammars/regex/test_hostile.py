"""Patterns that explode elsewhere: quick here, or refused within the limits."""

from __future__ import annotations

import time

import pytest

from grammars.errors import ConstraintLimitError, GrammarError
from grammars.limits import Limits
from grammars.regex import Language

SECONDS = 5.0


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("(a+)+b", "a" * 300 + "b", "a" * 300),
        ("(a|a?)+b", "a" * 300 + "b", "a" * 300),
        ("(a|aa)+", "a" * 300, "a" * 299 + "b"),
        ("a?" * 100 + "a" * 100, "a" * 150, "a" * 99),
        ("(a|b)*a(a|b){20}", "b" * 9 + "a" * 21, "b" * 9 + "a" * 20),
        ("((a{0,10000}){0,10000}){0,10000}", "a" * 500, "a" * 500 + "b"),
        ("((ab?){0,10000}c?){0,10000}", "abac" * 50, "abcb" * 50),
        ("((a{0,100}b{0,100}){0,100}c){0,100}", "aabbc" * 30, "aabb" * 30),
        ("(([ab]{2,5}){3,10000}){7,10000}", "ab" * 21, "ab" * 20),
        (".{0,10000}", "é" * 300, "\n"),
        ("[a-z]{10000}", "q" * 10000, "q" * 9999),
        ("(.*a){20}", "ba" * 20, "ba" * 19),
        ("(?=.*[a-z])(?=.*[A-Z])(?=.*\\d)(?!.*(.)(?:aaa|bbb)).{8,64}", "abcdEFG7", "abcdefg7"),
        ("(((((((((a*)*)*)*)*)*)*)*)*)*", "a" * 200, "a" * 200 + "b"),
        ("(a?){0,10000}(a?){0,10000}b", "a" * 200 + "b", "a" * 200),
        ("(?:\\ba?){40}", "a", "b"),
    ],
)
def test_quick(pattern: str, inside: str, outside: str) -> None:
    start = time.process_time()
    language = Language.parse(pattern)
    assert not language.is_empty()
    assert language.accepts(inside) and not language.accepts(outside)
    bounded = Language.length(0, 20_000) & language
    assert bounded.accepts(inside) and not bounded.accepts(outside)
    assert len(language.witness(language.start)) == language.min_bytes(language.start)
    assert time.process_time() - start < SECONDS


def test_counters_that_cannot_meet() -> None:
    start = time.process_time()
    assert (Language.parse("(abc){0,3000}") & Language.length(7000, 7000)).is_empty()
    assert not (Language.parse("(a|b)*a(a|b){50}") & Language.parse("[ab]{200}")).is_empty()
    assert time.process_time() - start < SECONDS


@pytest.mark.parametrize(
    "make",
    [
        lambda: Language.parse("(" * 500 + ")" * 500),
        lambda: Language.parse("(?:a|(?=b)){3000}"),
        lambda: Language.parse("(?:(?:a|\\b){90}){90}"),
        lambda: Language.parse("(?:\\ba?){500}"),
        lambda: Language.parse("a{99999999999999999999}"),
    ],
)
def test_refused_at_once(make: object) -> None:
    start = time.process_time()
    with pytest.raises(GrammarError):
        make()  # type: ignore[operator]
    assert time.process_time() - start < 1


def test_a_search_ends_within_its_limits() -> None:
    hard = ~Language.parse("(a|b)*a(a|b){30}") & ~Language.parse("(a|b)*b(a|b){30}") & Language.parse("[ab]{40,}")
    start = time.monotonic()
    with pytest.raises(ConstraintLimitError):
        hard.within(Limits(compile_seconds=0.5)).is_empty()
    assert time.monotonic() - start < SECONDS


def test_states_are_bounded() -> None:
    language = Language.parse("[ab]{0,1000}").within(Limits(states=50))
    with pytest.raises(ConstraintLimitError, match="50 states"):
        language.accepts("ab" * 100)


def test_deep_algebra_ends_with_an_error() -> None:
    language = Language.parse("a*")
    for _ in range(3000):
        language = ~(language + Language.literal("b")) + Language.literal("a")
    try:
        language.accepts("ab")
    except ConstraintLimitError as error:
        assert "nested too deeply" in str(error)
