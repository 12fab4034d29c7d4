"""Stops against brute force: character by character over the whole text, whatever the pieces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import RequestError
from runtime.stopping import StoppingText, compile_patterns


def brute_force(text: str, strings: list[str], patterns: list[str], include: bool, may_end=lambda text: True):  # type: ignore[no-untyped-def]
    for end in range(1, len(text) + 1):
        found = [(end - len(s), s) for s in strings if text[:end].endswith(s)]
        for pattern in patterns:
            starts = [i for i in range(end) if re.compile(pattern).fullmatch(text, i, end)]
            found += [(min(starts), pattern)] if starts else []
        for start, asked in sorted(found, key=lambda pair: pair[0]):
            result = text[:end] if include else text[:start]
            if may_end(result):
                return result, asked
    return text, None


pieces = st.lists(st.text("ab\n", max_size=4), max_size=12)
stops = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3, unique=True)


@settings(max_examples=500, deadline=None)
@given(pieces=pieces, strings=stops, include=st.booleans())
def test_strings(pieces: list[str], strings: list[str], include: bool) -> None:
    check(pieces, strings, [], include)


@settings(max_examples=300, deadline=None)
@given(
    pieces=pieces,
    strings=stops.filter(lambda found: len(found) < 2),
    patterns=st.lists(st.sampled_from(["ab+", "a.b", "b{2}", "(ba|bb)a", "\n[ab]", "a"]), max_size=2, unique=True),
    include=st.booleans(),
)
def test_patterns(pieces: list[str], strings: list[str], patterns: list[str], include: bool) -> None:
    check(pieces, strings, patterns, include)


def check(pieces: list[str], strings: list[str], patterns: list[str], include: bool) -> None:
    whole = "".join(pieces)
    expected, _ = brute_force(whole, strings, patterns, include)
    text, ended = StoppingText(strings, compile_patterns(patterns), include), None
    for piece in pieces:
        ended = text.feed(piece)
        assert expected.startswith(text.shown), "text was shown that is not part of the result"
        if ended is not None:
            break
    if ended is None:
        text.finish()
        assert expected == whole
    assert text.shown == expected


@settings(max_examples=300, deadline=None)
@given(pieces=pieces, strings=stops)
def test_a_stop_may_be_refused(pieces: list[str], strings: list[str]) -> None:
    def may_end(text: str) -> bool:
        return text.count("a") == 2

    whole = "".join(pieces)
    expected, _ = brute_force(whole, strings, [], False, may_end)
    text = StoppingText(strings, may_end=may_end)
    if not any(text.feed(piece) is not None for piece in pieces):
        text.finish()
    assert text.shown == expected


def test_what_cannot_be_a_stop_is_shown_at_once() -> None:
    text = StoppingText(["END"])
    assert text.feed("some E") is None and text.shown == "some "
    assert text.feed("N") is None and text.shown == "some "
    assert text.feed("x") is None and text.shown == "some ENx"


def test_inactive_stops_are_text() -> None:
    text = StoppingText(["ab"])
    assert text.feed("ab", active=False) is None
    assert text.feed("a") is None
    assert text.feed("b") == "ab" and text.shown == "ab"


def test_bad_patterns() -> None:
    with pytest.raises(RequestError, match="no regular expression"):
        compile_patterns(["("])
    with pytest.raises(RequestError, match="empty text"):
        compile_patterns(["a*"])


def test_a_runaway_pattern_is_an_error() -> None:
    text = StoppingText(patterns=compile_patterns([r"(?:(?:a|a)+)+b"]))
    with pytest.raises(RequestError, match="nested repetition"):
        for _ in range(60):
            text.feed("a")
