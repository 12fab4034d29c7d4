"""Formats against the JSON-Schema-Test-Suite, the standard library and simple readings of the standards."""

from __future__ import annotations

import calendar
import datetime
import ipaddress
import json
import os
import random
import re
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from grammars.automaton import DEAD
from grammars.json_schema.formats import format_language
from grammars.regex import Language

DRAFT = "2020-12"
NAMES = (
    *("date", "date-time", "duration", "email", "hostname", "idn-email", "idn-hostname", "ipv4", "ipv6", "iri"),
    *("iri-reference", "json-pointer", "regex", "relative-json-pointer", "time", "uri", "uri-reference"),
    *("uri-template", "uuid"),
)
WRONGLY_ACCEPTED: frozenset[tuple[str, str]] = frozenset()
"""Cases of the test suite, (format, text), that are accepted though marked invalid. There are none; keep it so."""


def language(name: str) -> Language:
    found = format_language(name, DRAFT)
    assert found is not None
    return found


def walks(name: str, count: int, longest: int = 40) -> list[str]:
    """Random members: random characters for a while, then the witness."""
    members, rng, automaton = [], random.Random(name), language(name)
    for _ in range(count):
        state, text = automaton.start, b""
        for _ in range(rng.randrange(longest)):
            row = automaton.row(state)
            choices = [b for b in range(256) if row[b] != DEAD]
            if not choices:
                break
            common = [b for b in choices if b < 128]
            byte = rng.choice(common if common and rng.random() < 0.9 else choices)
            state, text = int(row[byte]), text + bytes([byte])
        members.append((text + automaton.witness(state)).decode())
    return members


def suite() -> list[tuple[str, str, bool]]:
    folder = (
        Path(os.environ.get("SGL_LITE_TEST_DATA", "")) / "JSON-Schema-Test-Suite/tests/draft2020-12/optional/format"
    )
    paths = sorted(folder.glob("*.json")) if "SGL_LITE_TEST_DATA" in os.environ else []
    groups = [group for path in paths for group in json.loads(path.read_text())]
    tests = [(group["schema"]["format"], case) for group in groups for case in group["tests"]]
    return [(name, case["data"], case["valid"]) for name, case in tests if isinstance(case["data"], str)]


@pytest.mark.skipif("SGL_LITE_TEST_DATA" not in os.environ, reason="SGL_LITE_TEST_DATA names no folder")
def test_the_test_suite() -> None:
    cases, wrong, refused = suite(), set(), []
    languages: dict[str, Language | None] = {}
    for name, text, valid in cases:
        known = languages.setdefault(name, format_language(name, DRAFT))
        accepted = known is None or known.accepts(text)
        if accepted and not valid:
            wrong.add((name, text))
        if valid and not accepted:
            refused.append((name, text))
    assert wrong == WRONGLY_ACCEPTED
    assert len(wrong) <= 0.01 * len(cases)
    assert len(refused) + len(wrong) <= 0.1 * len(cases)
    assert {name for name, _ in refused} <= {"hostname", "idn-hostname", "idn-email", "regex"}


def test_unknown_formats_are_annotations() -> None:
    assert all(format_language(name, DRAFT) is None for name in ("int32", "password", "color", "byte", ""))


@pytest.mark.parametrize("name", NAMES)
def test_shortest_members_are_members(name: str) -> None:
    automaton = language(name)
    witness = automaton.witness(automaton.start)
    assert automaton.accepts(witness) and len(witness) == automaton.min_bytes(automaton.start)


def test_dates_are_the_calendars() -> None:
    dates = language("date")
    for year in (1, 4, 100, 400, 1582, 1900, 1999, 2000, 2023, 2024, 2100, 9996, 9999):
        for month in range(14):
            days = calendar.monthrange(year, month)[1] if 1 <= month <= 12 else 0
            for day in range(33):
                assert dates.accepts(f"{year:04}-{month:02}-{day:02}") == (1 <= day <= days)
    for text in walks("date", 200):
        assert datetime.date.fromisoformat(text).isoformat() == text


def test_times_and_their_leap_seconds() -> None:
    for text in walks("time", 150) + [t.upper().split("T")[1] for t in walks("date-time", 150)]:
        match = re.fullmatch(r"(\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|([+-])(\d\d):(\d\d))", text)
        assert match is not None, text
        hour, minute, second = (int(part) for part in match.groups()[:3])
        offset = 0 if match[4] is None else int(f"{match[4]}1") * (int(match[5]) * 60 + int(match[6]))
        assert hour < 24 and minute < 60 and abs(offset) < 1440
        assert second < 60 or (second == 60 and (hour * 60 + minute - offset) % 1440 == 1439), text
    times = language("time")
    assert times.accepts("05:29:60.5+05:30") and not times.accepts("05:29:60+05:00")
    stamps = language("date-time")
    for text in ("2016-12-31T23:59:60Z", "2017-01-01T00:59:60+01:00", "2016-12-31T15:59:60-08:00"):
        assert stamps.accepts(text)
    for text in ("2016-12-30T23:59:60Z", "2016-12-31T00:59:60+01:00", "2017-01-01T15:59:60-08:00", "2016-12-31T23:59Z"):
        assert not stamps.accepts(text)


def test_date_times_parse() -> None:
    for text in walks("date-time", 200):
        if ":60" in text[17:20]:
            continue
        short = re.sub(r"\.(\d{1,6})\d*", r".\1", text.upper())
        datetime.datetime.fromisoformat(short)


def test_addresses() -> None:
    for text in walks("ipv4", 200):
        assert str(ipaddress.IPv4Address(text)) == text
    for text in walks("ipv6", 300):
        ipaddress.IPv6Address(text)
    rng, v6 = random.Random(0), language("ipv6")
    for _ in range(1500):
        text = "".join(
            rng.choice(["::", ":", "0", "ab", "1.2.3.4", "ffff", ":1", ":2"]) for _ in range(rng.randrange(9))
        )
        try:
            ipaddress.IPv6Address(text)
        except ValueError:
            assert not v6.accepts(text), text
        else:
            assert v6.accepts(text), text


def test_uuids() -> None:
    for text in walks("uuid", 50):
        assert str(uuid.UUID(text)) == text.lower()
    assert language("uuid").accepts(str(uuid.uuid4()))


@pytest.mark.parametrize("name", ["hostname", "idn-hostname"])
def test_host_names_have_short_labels(name: str) -> None:
    for text in walks(name, 200, 90):
        wire = ".".join(p if p.isascii() else "xn--" + p.encode("punycode").decode() for p in text.split("."))
        assert 1 <= len(wire) <= 253
        for label in wire.split("."):
            assert 1 <= len(label) <= 63 and label[0] != "-" and label[-1] != "-"
    assert language(name).accepts("a" * 63 + ".example") and not language(name).accepts("a" * 64)
    assert language("idn-hostname").accepts("bücher.example") and not language("hostname").accepts("bücher.example")


def test_worst_labels_stay_short_in_punycode() -> None:
    rng, names = random.Random(0), language("idn-hostname")
    far = [
        c for c in ("\u00df", "\u0101", "\u4e00", "\u9fa5", "\uac00", "\ud7a3", "\uabc0", "\u0e01") if names.accepts(c)
    ]
    for _ in range(500):
        label = "".join(rng.choice(far) for _ in range(12))
        assert names.accepts(label)
        assert len("xn--" + label.encode("punycode").decode()) <= 63


def test_mail_addresses() -> None:
    mail = language("email")
    for text in ("a@b", "joe.bloggs+tag@example.co.uk", '"a b"@x.org', "x@[127.0.0.1]", "x@[IPv6:::1]"):
        assert mail.accepts(text), text
    for text in ("a", "@b", "a@", "a..b@c", ".a@c", "a@-c", "a b@c", "a@b@c", "ä@b", "a" * 65 + "@b", "a@b c"):
        assert not mail.accepts(text), text
    assert language("idn-email").accepts("실례@실례.테스트")


def test_uris_split() -> None:
    for text in walks("uri", 200):
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!#$%&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]*", text), text
        assert not re.search(r"%(?![0-9A-Fa-f]{2})", text)
        assert urlsplit(text).scheme
    for name in ("uri", "uri-reference", "iri", "iri-reference"):
        assert language(name).accepts("https://user@example.org:8080/a/b%20c;d?q=1&r=[]".replace("[]", "") + "#top")
    for text in ("urn:isbn:0451450523", "file:///etc/hosts", "mailto:a@b.c", "https://[::1]/", "a:"):
        assert language("uri").accepts(text), text
    assert language("iri").accepts("https://example.org/straße?q=日本") and not language("uri").accepts("https://ß")


def test_json_pointers_resolve() -> None:
    for text in walks("json-pointer", 100):
        assert text == "" or text[0] == "/"
        assert not re.search("~(?![01])", text)
    assert language("relative-json-pointer").accepts("0#") and language("relative-json-pointer").accepts("2/a~1b")


def test_every_regex_compiles() -> None:
    for text in walks("regex", 400, 60):
        re.compile(text)
        Language.parse(text, dialect="ecma", search=True)
    regexes = language("regex")
    for text in (
        "^[a-z0-9_-]+$",
        r"^(\d{3}-)?\d{3,4}(?:x|y)*?$",
        r"[^\s@]+@[^\s@]+\.[a-z]{2,}",
        "a|b|",
        r"\u00e9\x41\/",
        "(((a)))",
    ):
        assert regexes.accepts(text), text
    for text in ("(", "a**", "[z-a]", "{2}", "a{3,2}", r"\k<n>", "(?i)a", "(?P<n>a)", r"\1", "[[]", "]", "a{,2}"):
        assert not regexes.accepts(text), text


def test_durations() -> None:
    for text in walks("duration", 100):
        assert re.fullmatch(r"P(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?)", text) and text[-1] not in "PT"


def test_uri_templates() -> None:
    for text in walks("uri-template", 100):
        assert text.count("{") == text.count("}")
        for inner in re.findall(r"\{([^}]*)\}", text):
            assert re.fullmatch(r"[+#./;?&]?[\w.%:,*]+", inner), inner
