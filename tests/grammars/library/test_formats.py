"""Named formats against their own parsers: random texts parse, and what people write is accepted."""

from __future__ import annotations

import ast
import csv
import datetime
import io
import ipaddress
import json
import random
import sqlite3
import uuid
from collections.abc import Callable
from xml.dom import minidom

import pytest
import yaml

from grammars.automaton import DEAD
from grammars.formats import FORMATS
from grammars.front_ends import automaton_of
from grammars.masks.transitions import Transitions
from grammars.spec import Format


def parse_sql(text: str) -> None:
    """SQLite prepares it; that tables do not exist is no matter of syntax."""
    try:
        sqlite3.connect(":memory:").execute("EXPLAIN " + text)
    except sqlite3.OperationalError as error:
        if any(word in str(error) for word in ("syntax", "incomplete", "unrecognized")):
            raise


def parse_csv(text: str) -> None:
    list(csv.reader(io.StringIO(text, newline=""), strict=True))


PARSERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "csv": parse_csv,
    "sql": parse_sql,
    "python": ast.parse,
    "xml": minidom.parseString,
    "date": datetime.date.fromisoformat,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "uuid": uuid.UUID,
}

ACCEPTED = {
    "json": ['{"a": [1, -2.5e3, null, true], "b": "\\u00e9\\n"}', "[]", '"text"', " 1 "],
    "yaml": [
        "name: Ada\nage: 36\ntags:\n  - a b\n  - 'it''s'\nnested:\n  deep: {x: 1, y: [2, 3]}\n",
        "- name: Ada\n  age: 36\n- name: Alan\n  bio: |\n    first line\n    second: line\n",
        'key: "quoted \\"text\\""',
        "[1, 2]",
    ],
    "csv": ["a,b,c\r\n1,2,3\r\n", 'name,"said ""so"""\nAda,', "", "x"],
    "sql": [
        "SELECT name, age FROM people WHERE age > 30 AND name LIKE 'A%' ORDER BY age DESC LIMIT 10;",
        "select count(*), max(p.age) as oldest from people as p left join towns t on p.town = t.id group by t.name",
        "SELECT a FROM t WHERE b IN (SELECT b FROM u) AND NOT c IS NULL",
        "INSERT INTO people (name, age) VALUES ('O''Hara', 36), ('Alan', 41);",
        "UPDATE people SET age = age + 1 WHERE id BETWEEN 1 AND 9",
        "DELETE FROM people",
    ],
    "python": [
        "x = [i ** 2 for i in range(10) if i % 2 == 0]",
        "from os import path\nassert path.exists('a'), \"no file\"",
        "result = {'a': 1, **rest}.get(key, lambda k, v: k if v is not None else -v)",
        "f(a, *args, b=1, **kw)[1:-1]",
        "a.b[c] += 3.5e2",
    ],
    "xml": [
        '<?xml version="1.0" encoding="UTF-8"?>\n<note id="1" lang="en"><to>Ada &amp; Alan</to><!-- so --><br/></note>',
        "<a><a><b></b></a></a>",
    ],
    "date": ["2024-02-29"],
    "ipv4": ["192.168.0.1"],
    "ipv6": ["::1", "2001:db8::8a2e:370:7334"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
}

REFUSED = {
    "json": ["{a: 1}", "[1,]", "01", '"\n"', "nul"],
    "yaml": ["a: b: c", "- a\n b", "\ta: 1"],
    "csv": ['"a', 'a"b', "a\rb"],
    "sql": ["SELECTa FROM t", "SELECT select FROM t", "SELECT a FROM", "DROP TABLE t"],
    "python": ["1.real", "x = = 1", "f(a=1, b)", "if x: pass", "'a\nb'", "None = 1", "1if x else 2"],
    "xml": ["<a></b>", '<a x="1" x="2"/>', "<a>", "<a/><b/>", "<a>&nbsp;</a>", "<a x='1'></a>"],
    "date": ["2023-02-29", "2024-13-01"],
    "ipv4": ["256.0.0.1", "1.2.3"],
    "ipv6": ["1::2::3"],
    "uuid": ["123e4567"],
}

WALKS = {"json": 200, "yaml": 150, "csv": 150, "sql": 60, "python": 40, "xml": 150}


@pytest.fixture(scope="module")
def automata() -> dict[str, Transitions]:
    return {name: Transitions(automaton_of(Format(name))) for name in PARSERS}


@pytest.mark.parametrize("name", PARSERS)
def test_texts_that_people_write(automata: dict[str, Transitions], name: str) -> None:
    for text in ACCEPTED[name]:
        PARSERS[name](text)
        assert accepts(automata[name], text), text
    for text in REFUSED[name]:
        assert not accepts(automata[name], text), text


@pytest.mark.parametrize("name", PARSERS)
def test_random_texts_parse(automata: dict[str, Transitions], name: str) -> None:
    rng = random.Random(name)
    for _ in range(WALKS.get(name, 100)):
        text = random_text(automata[name], rng, length=rng.choice([2, 8, 25, 80]))
        PARSERS[name](text)


def test_every_format_compiles() -> None:
    for name in FORMATS.names():
        automaton = automaton_of(Format(name))
        assert len(automaton.witness(automaton.start)) == automaton.min_bytes(automaton.start)


def accepts(transitions: Transitions, text: str) -> bool:
    state = transitions.automaton.start
    for byte in text.encode():
        state = transitions.step(state, byte)
        if state == DEAD:
            return False
    return transitions.automaton.is_accepting(state)


def random_text(transitions: Transitions, rng: random.Random, length: int) -> str:
    """Random bytes, marks more often than letters, for `length` bytes; then the shortest completion."""
    automaton = transitions.automaton
    text, state = bytearray(), automaton.start
    while len(text) < length:
        open_bytes = [byte for byte in range(256) if transitions.step(state, byte) != DEAD]
        if not open_bytes:
            break
        weights = [20 if byte in b"\n:,<>/\"'()[]{} " else 1 for byte in open_bytes]
        text.append(rng.choices(open_bytes, weights)[0])
        state = transitions.step(state, text[-1])
    return (bytes(text) + automaton.witness(state)).decode()
