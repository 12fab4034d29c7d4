"""RFC 3986 and its kin: addresses, URIs, IRIs (RFC 3987), URI templates (RFC 6570)."""

from __future__ import annotations

from grammars.regex import Language

OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IPV4 = f"{OCTET}(?:\\.{OCTET}){{3}}"
_H16 = "[0-9A-Fa-f]{1,4}"
_LS32 = f"(?:{_H16}:{_H16}|{IPV4})"
IPV6 = "|".join(
    (
        f"(?:{_H16}:){{6}}{_LS32}",
        f"::(?:{_H16}:){{5}}{_LS32}",
        f"(?:{_H16})?::(?:{_H16}:){{4}}{_LS32}",
        f"(?:(?:{_H16}:){{0,1}}{_H16})?::(?:{_H16}:){{3}}{_LS32}",
        f"(?:(?:{_H16}:){{0,2}}{_H16})?::(?:{_H16}:){{2}}{_LS32}",
        f"(?:(?:{_H16}:){{0,3}}{_H16})?::{_H16}:{_LS32}",
        f"(?:(?:{_H16}:){{0,4}}{_H16})?::{_LS32}",
        f"(?:(?:{_H16}:){{0,5}}{_H16})?::{_H16}",
        f"(?:(?:{_H16}:){{0,6}}{_H16})?::",
    )
)
PERCENT = "%[0-9A-Fa-f]{2}"
UNRESERVED, SUB_DELIMS = r"0-9A-Za-z._~\-", "!$&'()*+,;="
UCS = "\u00a0-\ud7ff\uf900-\ufdcf\ufdf0-\uffef" + "".join(
    f"{chr(plane << 16 | (0x1000 if plane == 14 else 0))}-{chr(plane << 16 | 0xFFFD)}" for plane in range(1, 15)
)
PRIVATE = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"


def ipv4() -> Language:
    """RFC 2673, section 3.2: four decimal numbers without leading zeros."""
    return _parse(IPV4)


def ipv6() -> Language:
    """RFC 4291, section 2.2, without a zone."""
    return _parse(IPV6)


def uri() -> Language:
    return _parse(_absolute("", ""))


def uri_reference() -> Language:
    return _parse(f"(?:{_absolute('', '')})|(?:{_relative('', '')})")


def iri() -> Language:
    return _parse(_absolute(UCS, PRIVATE))


def iri_reference() -> Language:
    return _parse(f"(?:{_absolute(UCS, PRIVATE)})|(?:{_relative(UCS, PRIVATE)})")


def uri_template() -> Language:
    """RFC 6570, all levels, without the operators that it reserves for later; `'` as its erratum has it."""
    literal = f"(?:[!#$&'()*+,./0-9:;=?@A-Z\\[\\]_a-z~{UCS}{PRIVATE}-]|{PERCENT})"
    character = f"(?:[0-9A-Za-z_]|{PERCENT})"
    variable = f"{character}(?:\\.?{character})*(?::[1-9][0-9]{{0,3}}|\\*)?"
    return _parse(f"(?:{literal}|\\{{[+#./;?&]?{variable}(?:,{variable})*\\}})*")


def _absolute(ucs: str, private: str) -> str:
    return f"[A-Za-z][0-9A-Za-z+.-]*:{_hierarchy(ucs, colon=True)}{_after_path(ucs, private)}"


def _relative(ucs: str, private: str) -> str:
    return f"{_hierarchy(ucs, colon=False)}{_after_path(ucs, private)}"


def _hierarchy(ucs: str, colon: bool) -> str:
    """An authority and a path, or a path; `colon`: whether its first segment may have one."""
    plain = f"{UNRESERVED}{SUB_DELIMS}@{ucs}"
    segment = f"(?:[:{plain}]|{PERCENT})"
    first = f"{segment}+" if colon else f"(?:[{plain}]|{PERCENT})+"
    user = f"(?:(?:[:{UNRESERVED}{SUB_DELIMS}{ucs}]|{PERCENT})*@)?"
    future = f"[vV][0-9A-Fa-f]+\\.[:{UNRESERVED}{SUB_DELIMS}]+"
    host = f"(?:\\[(?:{IPV6}|{future})\\]|(?:[{UNRESERVED}{SUB_DELIMS}{ucs}]|{PERCENT})*)"
    path = f"(?:/{segment}*)*"
    return f"(?://{user}{host}(?::[0-9]*)?{path}|/(?:{segment}+{path})?|{first}{path}|)"


def _after_path(ucs: str, private: str) -> str:
    inner = f":@/?{UNRESERVED}{SUB_DELIMS}{ucs}"
    return f"(?:\\?(?:[{inner}{private}]|{PERCENT})*)?(?:#(?:[{inner}]|{PERCENT})*)?"


def _parse(pattern: str) -> Language:
    return Language.parse(pattern, dialect="python")
