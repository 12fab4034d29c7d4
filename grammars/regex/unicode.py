"""Character classes as Unicode and Python define them.

In: the name of a class or property. Out: its code points, by the tables of the running Python's `unicodedata`, so that
`\\w`, `\\d` and `\\s` are what `re` makes of them. Computed when first asked for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache

from grammars.regex.charset import MAX_CODE_POINT, CharSet, Range

ASCII_DIGIT = CharSet.of([(0x30, 0x39)])
ASCII_WORD = CharSet.of([(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)])
ASCII_SPACE = CharSet.of_text(" \t\n\r\f\v")
ECMA_LINE_END = CharSet.of_text("\n\r\u2028\u2029")
ECMA_SPACE = CharSet.of_text("\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff") | CharSet.of(
    [(0x2000, 0x200A)]
)

# Nothing but unassigned and private code points lies between these.
_ASSIGNED_END = 0x40000
_TAGS = (0xE0000, 0xE01FF)


def _matching(test: Callable[[str], bool]) -> CharSet:
    """The assigned characters that pass."""
    ranges: list[Range] = []
    start = None
    for code_point in (*range(_ASSIGNED_END), *range(_TAGS[0], _TAGS[1] + 2)):
        if test(chr(code_point)):
            if start is None:
                start = code_point
        elif start is not None:
            ranges.append((start, code_point - 1))
            start = None
    return CharSet.of(ranges)


@cache
def digit() -> CharSet:
    r"""`\d` in a str pattern: category Nd."""
    return _matching(str.isdecimal)


@cache
def space() -> CharSet:
    r"""`\s` in a str pattern."""
    return _matching(str.isspace)


@cache
def word() -> CharSet:
    r"""`\w` in a str pattern: alphanumeric characters and the underscore."""
    return _matching(str.isalnum) | CharSet.of_text("_")


@cache
def _categories() -> dict[str, CharSet]:
    """Every two-letter general category."""
    ranges: dict[str, list[Range]] = {}
    start, current = 0, unicodedata.category("\0")
    for code_point in range(1, MAX_CODE_POINT + 2):
        category = unicodedata.category(chr(code_point)) if code_point <= MAX_CODE_POINT else ""
        if category != current:
            ranges.setdefault(current, []).append((start, code_point - 1))
            start, current = code_point, category
    return {name: CharSet.of(spans) for name, spans in ranges.items()}


@cache
def general_category(name: str) -> CharSet | None:
    """A general category by its short name (`L`, `Lu`, `L&`, `LC`); None if there is none of that name."""
    if name in ("L&", "LC"):
        name_list = ["Lu", "Ll", "Lt"]
    else:
        name_list = [known for known in _categories() if known == name or (len(name) == 1 and known[0] == name)]
    if name == "Cs":
        return CharSet(())
    if not name_list:
        return None
    return CharSet.of(span for known in name_list for span in _categories()[known].ranges)


@cache
def property_set(name: str) -> CharSet | None:
    r"""The characters of `\p{name}`; None if the property is not known."""
    return general_category(name)
