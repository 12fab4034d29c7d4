"""The Python dialect, with `re` as the oracle."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from grammars.errors import ConstraintSyntaxError
from grammars.regex import Language
from tests.grammars.regex.patterns import PATTERNS, SHORT_TEXTS, TEXTS


def compiled(pattern: str, flags: int = 0) -> re.Pattern[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "possible nested set", and the like
        return re.compile(pattern, flags)


def check(pattern: str, texts: list[str], flags: int = 0) -> None:
    oracle = compiled(pattern, flags)
    whole, inside = Language.parse(pattern, flags), Language.parse(pattern, flags, search=True)
    for text in texts:
        assert whole.accepts(text) == bool(oracle.fullmatch(text)), (pattern, text, "fullmatch")
        assert inside.accepts(text) == bool(oracle.search(text)), (pattern, text, "search")


@settings(max_examples=120, deadline=None, derandomize=True)
@given(PATTERNS, st.lists(TEXTS, min_size=5, max_size=10))
def test_random_patterns(pattern: str, texts: list[str]) -> None:
    try:
        compiled(pattern)
    except (re.error, RecursionError):
        assume(False)
    check(pattern, [*SHORT_TEXTS[:40], *texts])


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, derandomize=True)
@given(PATTERNS, st.lists(TEXTS, min_size=10, max_size=20))
def test_many_random_patterns(pattern: str, texts: list[str]) -> None:
    try:
        compiled(pattern)
    except (re.error, RecursionError):
        assume(False)
    check(pattern, [*SHORT_TEXTS, *texts])


@pytest.mark.parametrize(
    "pattern",
    [
        "abc", "a|b", "", "|a", "a*b+", "(ab|_a)*é", "a{2}", "a{,2}b", "a{2,}", "a{", "a{}", "a{,}", "{a}", "a{1,2}?b",
        "^a$", "(^a|b)_", "a$|^b", "^$", "^^a$$", "a^b", "a$b", "(?m)a$\n^b", "(?m)^a$", "\\Aa\\Z", "(?s)a.b", "a.b",
        "a(?=b)b", "a(?=b)", "a(?!b)[ab_]", "(?!.*a)[b_ ]*", "(?<=a)b", "a(?<=a)b", "(?<!a)b", "(?:(?=a)..)*",
        "(?=.*a)(?=.*b).{2,3}", "(?!(?!a))a", "(?<=(?<=a)b)_", "a(?=(?<=a)b)b", "((?=a)|b){2}a*", "(?:a|(?=b))*b",
        "\\bab\\b", "a\\b.b", "\\b", "\\B", "a\\Bb", "(\\b\\w+\\b ?){2}", "(?<=\\ba)b", "(?<=a\\b) ", "(?<!\\b)a",
        "(?i)A[B_]", "(?i:A)B", "a(?i:B)(?-i:a)", "(?x) a  b # comment\n _", "(?x)[ a]\\ b", "a(?#no)b*", "a(?#no)*",
        "[]a]", "[^]a]", "[a-]", "[-a]", "[a\\-_]", "[\\]a]", "[\\w-]", "[\\na]", "[^\\W_]", "(?a)[^\\w]é*",
        "\\x61\\u0062\\U0000005F", "\\141\\x5f", "\\0?a", "[\\141]", "\\N{LATIN SMALL LETTER A}b", "\\t?\\ a", "\\_a",
        "(?P<x>a)(b)", "a*?b??", "(a*)*", "(a*)+b", "(a|b)*a(a|b){2}", "(a{0,2}){0,2}", "(a{2,3}){2}", "(aa){1,2}a?",
    ],
)  # fmt: skip
def test_constructs(pattern: str) -> None:
    check(pattern, SHORT_TEXTS)


@pytest.mark.parametrize("flags", [re.I, re.I | re.A, re.A, re.M, re.S, re.X, re.M | re.S])
@pytest.mark.parametrize("pattern", ["É", "[^a-z]", "\\w", "\\W\\d?", "a b", "^.$", "[é_]b"])
def test_flags(pattern: str, flags: int) -> None:
    check(pattern, [*SHORT_TEXTS, "É", "Aé", "b\nb"], flags)


ALL_CHARACTERS = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
MANY_CHARACTERS = ALL_CHARACTERS[:0x600] + ALL_CHARACTERS[0x600:0x20000:11] + ALL_CHARACTERS[0x20000::997]


@pytest.mark.parametrize(
    ("pattern", "flags"),
    [
        ("\\w", 0),
        ("\\d", 0),
        ("\\s", 0),
        ("[^\\w\\s]", 0),
        (".", 0),
        ("[k-s]", re.I),
        ("[İß\u1e9eµſK]", re.I),
        ("\\W", re.I),
    ],
)
def test_every_character(pattern: str, flags: int) -> None:
    language, oracle = Language.parse(pattern, flags), compiled(pattern, flags)
    found = [char for char in MANY_CHARACTERS if language.accepts(char)]
    assert found == [char for char in MANY_CHARACTERS if oracle.fullmatch(char)]


@pytest.mark.parametrize(
    "char", ["i", "I", "ı", "İ", "k", "K", "s", "ſ", "ß", "ẞ", "σ", "ς", "µ", "μ", "ﬅ", "ﬆ", "ΐ", "Ǆ", "ǅ"]
)
def test_case_of_one_character(char: str) -> None:
    language, oracle = Language.parse(char, re.I), compiled(char, re.I)
    cased = [other for other in ALL_CHARACTERS[:0x2C00] if other.lower() != other or other.upper() != other]
    assert [other for other in cased if language.accepts(other)] == [
        other for other in cased if oracle.fullmatch(other)
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        "(", ")", "a)", "(a", "[a", "[", "*a", "a**", "a{2}{3}", "^*", "\\b+", "a{3,2}", "\\", "\\q", "[\\q]", "[b-a]",
        "[\\w-a]", "(?", "(?P<1>a)", "(?P<a", "(?i", "a(?i)", "(?z)a", "(?i-i:a)", "\\x1", "\\u12", "\\U00110000",
        "\\N{NO SUCH NAME}", "(?#a", "(?au:a)", "|*", "(?:+)",
    ],
)  # fmt: skip
def test_syntax_errors_are_those_of_re(pattern: str) -> None:
    with pytest.raises(re.error):
        compiled(pattern)
    with pytest.raises(ConstraintSyntaxError, match=r"at position \d+"):
        Language.parse(pattern)
