"""The ECMA dialect, as JSON Schema's `pattern` means it, against what ECMA-262 says."""

from __future__ import annotations

import pytest

from grammars.errors import ConstraintSyntaxError, UnsupportedConstraintError
from grammars.regex import Language

CASES: list[tuple[str, list[str], list[str]]] = [
    # pattern, texts that hold a match, texts that do not
    ("^a$", ["a"], ["a\n", "\na", "ab", ""]),
    ("^a|b$", ["ac", "cb", "a"], ["ca", "bc", ""]),
    ("(^|,)a(,|$)", ["a", "b,a", "a,b"], ["ba", "ab", ""]),
    ("^\\d$", ["7"], ["٣", "a"]),
    ("^\\w$", ["_", "z"], ["é", "-"]),
    ("^\\W$", ["é", "-"], ["_", "z"]),
    ("^\\s$", ["\ufeff", "\u00a0", "\u2029", "\u2003", "\v"], ["\x1c", "\x85", "\u200b"]),
    ("^.$", ["é", "\U0001f600", "\x85"], ["\n", "\r", "\u2028", "\u2029", "ab"]),
    ("^\\cC\\x41\\u0042\\u{1F600}\\uD83D\\uDE00$", ["\x03AB\U0001f600\U0001f600"], ["cCAB"]),
    ("^[\\u{1F600}-\\u{1F602}]$", ["\U0001f601"], ["\U0001f603"]),
    ("^[^]$", ["\n", "a"], ["", "ab"]),
    ("[]", [], ["", "a", "[]"]),
    ("^[\\d-x]$", ["-", "5", "x"], ["a"]),
    ("^[a\\-z]$", ["-", "a", "z"], ["b"]),
    ("^[a-\\d]$", ["-", "a", "3"], ["b"]),
    ("^\\/\\-\\_\\@\\$\\.$", ["/-_@$."], ["/-_@$x"]),
    ("^a{,2}$", ["a{,2}"], ["", "aa"]),
    ("^{}]}$", ["{}]}"], [""]),
    ("^x{2}y{1,}z{0,1}$", ["xxyyz", "xxy"], ["xy", "xxyzz"]),
    ("^\\p{Letter}\\p{L}\\P{Lu}\\p{Nd}$", ["éAa٣"], ["1Aa3", "aAA3"]),
    ("^\\p{Script=Greek}\\p{sc=Cyrl}\\p{Lowercase}$", ["αжz"], ["aжz", "αжZ"]),
    ("^[\\p{Lu}\\d]+$", ["ÉA1"], ["é"]),
    ("^(?!.*foo)[a-z]+(?<!bar)$", ["abc"], ["xfoox", "xbar"]),
    ("\\bcat\\b", ["a cat.", "cat", "écaté"], ["cats", "concat", "_cat"]),
    ("\\Ba", ["ba", "aa"], ["a", " a"]),
    ("(?<name>a)b", ["ab"], ["a"]),
    ("(?i)straße", ["STRAßE", "xstraßex"], ["strasse"]),
    ("\\0", ["\0"], ["0"]),
    ("[\\b]", ["\b"], ["b"]),
    ("", ["", "a"], []),
]


@pytest.mark.parametrize(("pattern", "inside", "outside"), CASES)
def test_search(pattern: str, inside: list[str], outside: list[str]) -> None:
    language = Language.parse(pattern, dialect="ecma", search=True)
    assert [text for text in inside if not language.accepts(text)] == []
    assert [text for text in outside if language.accepts(text)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "a)",
        "[a",
        "*",
        "a**",
        "a++",
        "\\",
        "\\x1",
        "\\u{110000}",
        "\\u12",
        "\\c1",
        "\\p",
        "\\a",
        "\\Z",
        "[b-a]",
        "a{2,1}",
    ],
)
def test_syntax_errors(pattern: str) -> None:
    with pytest.raises(ConstraintSyntaxError, match="position"):
        Language.parse(pattern, dialect="ecma")


@pytest.mark.parametrize(
    ("pattern", "dialect", "named", "position"),
    [
        ("(a)\\1", "python", "back-reference", 3),
        ("(?P<x>a)(?P=x)", "python", "back-reference", 8),
        ("(a)(?(1)b|c)", "python", "conditional", 3),
        ("x(?>a)", "python", "atomic", 1),
        ("a*+b", "python", "possessive", 2),
        ("a(?R)", "python", "recursive", 1),
        ("a\\p{Klingon}", "python", "Klingon", 1),
        ("(a)\\1", "ecma", "back-reference", 3),
        ("(?<x>a)\\k<x>", "ecma", "back-reference", 7),
        ("a\\p{Klingon}", "ecma", "Klingon", 1),
    ],
)
def test_refusals_name_the_construct(pattern: str, dialect: str, named: str, position: int) -> None:
    with pytest.raises(UnsupportedConstraintError, match=f"position {position}: .*{named}"):
        Language.parse(pattern, dialect=dialect)  # type: ignore[arg-type]
