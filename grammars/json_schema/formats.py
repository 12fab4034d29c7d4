"""The texts that JSON Schema's `format` names, as regular languages.

In: the name of a format. Out: a `Language` of string values, None for names that are annotations only. Each language
holds only texts that its standard allows; where the standard is not regular, it is a subset, and its maker says which.
A format is enforced in every draft that names it or not: what is written then satisfies the older reading too.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable
from functools import lru_cache

from grammars.json_schema import uri_formats
from grammars.json_schema.regex_format import ecma_regex
from grammars.json_schema.time_formats import date, date_time, duration, time
from grammars.limits import DEFAULT_LIMITS
from grammars.regex import Language

MAX_HOSTNAME = 253
IDN_LABEL = 12
"""Characters of a label with letters beyond ASCII: its Punycode stays within 63 then, whatever they are."""
IDN_HOSTNAME = 44
"""Characters of a host name with such labels: within 253 in Punycode."""

LABEL = "[0-9A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?"
ATOM = "[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]+"
QUOTED = r'"(?:[ !#-\[\]-~]|\\[ -~])*"'


def format_language(name: str, draft: str) -> Language | None:
    """The values of a format in a draft ("draft4" to "2020-12"), None if it is not known and so an annotation."""
    del draft  # no format means different things in two drafts
    maker = _MAKERS.get(name)
    return None if maker is None else _made(name).within(DEFAULT_LIMITS)  # its own states: they grow as they are read


@lru_cache(maxsize=128)
def _made(name: str) -> Language:
    return _MAKERS[name]()


def hostname() -> Language:
    """RFC 1123: labels of letters, digits and inner hyphens. Without labels that begin with two characters and `--`,
    which RFC 5890 reserves: whether an `xn--` label is valid Punycode is not regular."""
    name = Language.parse(f"{LABEL}(?:\\.{LABEL})*", dialect="python")
    reserved = Language.parse(r"(?:.*\.)?[^.]{2}--.*", dialect="python")
    return name & Language.length(1, MAX_HOSTNAME) - reserved


def idn_hostname() -> Language:
    """RFC 5890: host names, and short labels of letters that IDNA 2008 allows anywhere, written from left to right.

    Left out: scripts from right to left, combining marks, and characters that depend on their neighbours.
    """
    letters = Language.char_class(_idna_letters())
    digit = Language.char_class([(48, 57)])
    end = letters | digit | Language.char_class([(97, 122)])
    inner = (end | Language.literal("-")).repeat(0, IDN_LABEL - 2)
    label = end | end + inner + end
    dot = Language.literal(".")
    name = (label + (dot + label).repeat(0, None)) & Language.length(1, IDN_HOSTNAME)
    reserved = Language.parse(r"(?:.*\.)?[^.]{2}--.*", dialect="python")
    return hostname() | name - reserved


def email() -> Language:
    """RFC 5321 `Mailbox`; the local part within 64 characters, the domain a host name or an address in brackets."""
    return _mailbox(ATOM, QUOTED, hostname())


def idn_email() -> Language:
    """RFC 6531: as `email`, with characters beyond ASCII in the local part and in the domain."""
    beyond = "\u00a1-\ud7ff\uf900-\ufdcf\ufdf0-\uffef\U00010000-\U0001fffd"
    return _mailbox(ATOM.replace("[", f"[{beyond}", 1), QUOTED.replace("[ !", f"[{beyond} !", 1), idn_hostname())


def _mailbox(atom: str, quoted: str, host: Language) -> Language:
    local = Language.parse(f"{atom}(?:\\.{atom})*|{quoted}", dialect="python") & Language.length(1, 64)
    bracketed = Language.parse(f"\\[(?:{uri_formats.IPV4}|IPv6:(?:{uri_formats.IPV6}))\\]", dialect="python")
    return local + Language.literal("@") + (host | bracketed)


def uuid() -> Language:
    """RFC 9562: any version and variant, either case."""
    return Language.parse("[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", dialect="python")


def json_pointer() -> Language:
    """RFC 6901."""
    return Language.parse(POINTER, flags=16, dialect="python")


def relative_json_pointer() -> Language:
    """draft-handrews-relative-json-pointer-01."""
    return Language.parse(f"(?:0|[1-9][0-9]*)(?:#|{POINTER})", flags=16, dialect="python")


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
