"""The texts that JSON Schema's `format` names, as regular languages.

In: the name of a format. Out: a `Language` of string values, None for names that are annotations only. Each language
holds only texts that its standard allows; where the standard is not regular, it is a subset, and its maker says which.
A format is enforced in every draft that names it or not: what is written then satisfies the older reading too.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from grammars.json_schema import uri_formats
from grammars.json_schema.regex_format import ecma_regex
from grammars.json_schema.time_formats import date, date_time, duration, time
from grammars.limits import DEFAULT_LIMITS
from grammars.regex import Language

PARTIAL = {
    "email": ".+@.+",
    "hostname": "[0-9A-Za-z.-]+",
    "idn-email": ".+@.+",
    "idn-hostname": ".+",
    "regex": ".*",
    "uri-template": ".*",
}
"""The formats that are not regular, or not wholly covered: patterns that match at least what the standard allows."""

LONG, SHORT = 63, 30
"""Characters of a label: as the standard has them, and so that seven with a long one among them stay within 253."""
IDN_LABEL = 12
"""Characters of a label with letters beyond ASCII: its Punycode stays within 63 then, whatever they are."""

ATOM = "[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+"
QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'


def format_language(name: str, draft: str) -> Language | None:
    """The values of a format in a draft ("draft4" to "2020-12"), None if it is not known and so an annotation."""
    del draft  # no format means different things in two drafts
    maker = _MAKERS.get(name)
    return None if maker is None else _made(name).within(DEFAULT_LIMITS)  # its own states: they grow as they are read


def whole_format(name: str) -> Language | None:
    """Where `format_language` has but a part of a format: a language that holds all of it; else None."""
    pattern = PARTIAL.get(name)
    return None if pattern is None else _parse(pattern, re.DOTALL)


@lru_cache(maxsize=128)
def _made(name: str) -> Language:
    return _MAKERS[name]()


def hostname() -> Language:
    """RFC 1123: labels of letters, digits and inner hyphens, 253 characters in all.

    Left out: labels with `--` after two characters, which RFC 5890 reserves (whether an `xn--` label is Punycode is
    not regular), and names of more labels, or more long ones, than `_within_253` has.
    """
    letter = "[0-9A-Za-z]"
    return _parse(_within_253(_label(letter, LONG), _label(letter, SHORT)))


def idn_hostname() -> Language:
    """RFC 5890: host names, and short labels of letters that IDNA 2008 allows anywhere, written from left to right.

    Left out: scripts from right to left, combining marks, and characters that depend on their neighbours.
    """
    letters = "".join(chr(low) if low == high else f"{chr(low)}-{chr(high)}" for low, high in _idna_letters())
    native, dot = _parse(_label(f"[0-9a-z{letters}]", IDN_LABEL)), _parse(r"\.")
    short = _label("[0-9A-Za-z]", SHORT)
    before, after = _parse(f"(?:{short}\\.){{0,2}}"), _parse(f"(?:\\.{short}){{0,2}}")
    mixed = before + native + (dot + native).repeat(0, 1) + after
    return hostname() | mixed | native + (dot + native).repeat(0, 2)


def _label(letter: str, most: int) -> str:
    """One to `most` characters, hyphens inside, but not both the third and the fourth."""
    inner = f"{letter[:-1]}-]"
    return (
        f"(?:{letter}(?:{inner}{{0,2}}{letter})?"
        f"|{letter}{inner}(?:{letter}{inner}|-{letter}){inner}{{0,{most - 5}}}{letter})"
    )


def _within_253(long: str, short: str) -> str:
    """Labels with points between: three long ones, or seven of which one is long."""
    return f"{long}(?:\\.{long}){{0,2}}|(?:{short}\\.){{0,2}}{long}(?:\\.{short}){{0,4}}"


def email() -> Language:
    """RFC 5321 `Mailbox`; the local part within 64 characters, the domain a host name or an address in brackets."""
    return _mailbox(ATOM, QUOTED, hostname())


def idn_email() -> Language:
    """RFC 6531: as `email`, with characters beyond ASCII in the local part and in the domain."""
    beyond = "\u00a1-\ud7ff\uf900-\ufdcf\ufdf0-\uffef\U00010000-\U0001fffd"
    return _mailbox(ATOM.replace("[", f"[{beyond}", 1), QUOTED.replace("[ !", f"[{beyond} !", 1), idn_hostname())


def _mailbox(atom: str, quoted: str, host: Language) -> Language:
    local = _parse(f"{atom}(?:\\.{atom})*|{quoted}") & Language.length(1, 64)
    bracketed = _parse(f"\\[(?:{uri_formats.IPV4}|IPv6:(?:{uri_formats.IPV6}))\\]")
    return local + Language.literal("@") + (host | bracketed)


def uuid() -> Language:
    """RFC 9562: any version and variant, either case."""
    return _parse("[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def json_pointer() -> Language:
    """RFC 6901."""
    return _parse(POINTER, re.DOTALL)


def relative_json_pointer() -> Language:
    """draft-handrews-relative-json-pointer-01."""
    return _parse(f"(?:0|[1-9][0-9]*)(?:#|{POINTER})", re.DOTALL)


POINTER = "(?:/(?:[^/~]|~[01])*)*"


def _idna_letters() -> list[tuple[int, int]]:
    """Ranges of letters beyond ASCII that are valid in every place of a label from left to right (RFC 5892 PVALID)."""
    ranges: list[tuple[int, int]] = []
    for code in range(0xA1, min(sys.maxunicode, 0xFFFF)):
        if 0xD7B0 <= code <= 0xF8FF or 0x1100 <= code <= 0x11FF or 0xA960 <= code <= 0xA97F:
            continue  # surrogates, private use, and the Jamo that old Hangul is written with
        character = chr(code)
        if unicodedata.category(character) not in ("Ll", "Lo") or unicodedata.bidirectional(character) != "L":
            continue
        if unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character).casefold()) != character:
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1] = ranges[-1][0], code
        else:
            ranges.append((code, code))
    return ranges


def _parse(pattern: str, flags: int = 0) -> Language:
    return Language.parse(pattern, flags, dialect="python")


_MAKERS: dict[str, Callable[[], Language]] = {
    "date": date,
    "date-time": date_time,
    "duration": duration,
    "email": email,
    "hostname": hostname,
    "idn-email": idn_email,
    "idn-hostname": idn_hostname,
    "ipv4": uri_formats.ipv4,
    "ipv6": uri_formats.ipv6,
    "iri": uri_formats.iri,
    "iri-reference": uri_formats.iri_reference,
    "json-pointer": json_pointer,
    "regex": ecma_regex,
    "relative-json-pointer": relative_json_pointer,
    "time": time,
    "uri": uri_formats.uri,
    "uri-reference": uri_formats.uri_reference,
    "uri-template": uri_formats.uri_template,
    "uuid": uuid,
}
