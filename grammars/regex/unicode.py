"""Character classes as Unicode and Python define them.

In: the name of a class or property. Out: its code points, by the tables of the running Python's `unicodedata`, so that
`\\w`, `\\d` and `\\s` are what `re` makes of them. Computed when first asked for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache

from grammars.regex.charset import MAX_CODE_POINT, NO_CHAR, CharSet, Range
from grammars.regex.unicode_tables import PROPERTIES, SCRIPTS

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


_LONG_CATEGORIES = {
    "letter": "L", "casedletter": "LC", "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt",
    "modifierletter": "Lm", "otherletter": "Lo", "mark": "M", "combiningmark": "M", "nonspacingmark": "Mn",
    "spacingmark": "Mc", "enclosingmark": "Me", "number": "N", "decimalnumber": "Nd", "digit": "Nd",
    "letternumber": "Nl", "othernumber": "No", "punctuation": "P", "punct": "P", "connectorpunctuation": "Pc",
    "dashpunctuation": "Pd", "openpunctuation": "Ps", "closepunctuation": "Pe", "initialpunctuation": "Pi",
    "finalpunctuation": "Pf", "otherpunctuation": "Po", "symbol": "S", "mathsymbol": "Sm", "currencysymbol": "Sc",
    "modifiersymbol": "Sk", "othersymbol": "So", "separator": "Z", "spaceseparator": "Zs", "lineseparator": "Zl",
    "paragraphseparator": "Zp", "other": "C", "control": "Cc", "cntrl": "Cc", "format": "Cf", "surrogate": "Cs",
    "privateuse": "Co", "unassigned": "Cn",
}  # fmt: skip


@cache
def general_category(name: str) -> CharSet | None:
    """A general category by its short or long name (`L`, `Lu`, `LC`, `Uppercase_Letter`); None if there is none."""
    short = _LONG_CATEGORIES.get(_loose(name), name.capitalize() if name.upper() != "LC" else "LC")
    if short in ("L&", "LC"):
        members = ["Lu", "Ll", "Lt"]
    elif short in ("C", "Cs"):
        return CharSet.of(
            span for known in ("Cc", "Cf", "Co", "Cn") if short == "C" for span in _categories()[known].ranges
        )
    else:
        members = [known for known in _categories() if known == short or known[0] == short]
    return CharSet.of(span for known in members for span in _categories()[known].ranges) if members else None


def _loose(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "").replace("-", "")


def _read_table(table: str) -> dict[str, str]:
    """Every name of a table of `unicode_tables` with its ranges, unread."""
    entries: dict[str, str] = {}
    for entry in table.replace("\n ", " ").splitlines():
        names, ranges = entry.split(": ")
        entries.update(dict.fromkeys(names.split(), ranges))
    return entries


@cache
def _listed(table: str, name: str) -> CharSet | None:
    ranges = _read_table(table).get(name)
    if ranges is None:
        return None
    ends = (span.split("-") for span in ranges.split())
    return CharSet.of((int(end[0], 16), int(end[-1], 16)) for end in ends)


_FIXED_PROPERTIES = {
    "any": ~NO_CHAR,
    "ascii": CharSet.of([(0, 0x7F)]),
    "asciihexdigit": CharSet.of([(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)]),
    "ahex": CharSet.of([(0x30, 0x39), (0x41, 0x46), (0x61, 0x66)]),
    "whitespace": CharSet.of_text("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000")
    | CharSet.of([(0x2000, 0x200A)]),
}
_DERIVED_PROPERTIES = {
    "alphabetic": ("L Nl", "otheralphabetic"),
    "alpha": ("L Nl", "otheralphabetic"),
    "lowercase": ("Ll", "otherlowercase"),
    "lower": ("Ll", "otherlowercase"),
    "uppercase": ("Lu", "otheruppercase"),
    "upper": ("Lu", "otheruppercase"),
    "idstart": ("L Nl", "otheridstart"),
    "ids": ("L Nl", "otheridstart"),
    "idcontinue": ("L Nl Mn Mc Nd Pc", "otheridcontinue"),
    "idc": ("L Nl Mn Mc Nd Pc", "otheridcontinue"),
}
_NOT_IN_IDENTIFIERS = CharSet.of([(0x2E2F, 0x2E2F)])  # a letter, but reserved for syntax


@cache
def property_set(name: str) -> CharSet | None:
    r"""The characters of `\p{name}`; None if the property is not known.

    Known are general categories, scripts (`Script=Greek`, `sc=Grek`, `Greek`, `IsGreek`), and some binary properties.
    """
    key, equals, value = name.partition("=")
    if equals:
        if _loose(key) in ("generalcategory", "gc"):
            return general_category(value)
        return _listed(SCRIPTS, _loose(value)) if _loose(key) in ("script", "sc") else None
    loose = _loose(name)
    if loose in ("assigned", "cn"):
        unassigned = _categories()["Cn"]
        return unassigned if loose == "cn" else ~unassigned
    if loose in _FIXED_PROPERTIES:
        return _FIXED_PROPERTIES[loose]
    if loose in _DERIVED_PROPERTIES:
        categories, others = _DERIVED_PROPERTIES[loose]
        found = _listed(PROPERTIES, others) or NO_CHAR
        for category in categories.split():
            found |= general_category(category) or NO_CHAR
        return found - _NOT_IN_IDENTIFIERS if loose.startswith("id") else found
    for known in (general_category(name), _listed(PROPERTIES, loose), _listed(SCRIPTS, loose)):
        if known is not None:
            return known
    return property_set(name[2:]) if loose.startswith("is") and len(name) > 2 else None
