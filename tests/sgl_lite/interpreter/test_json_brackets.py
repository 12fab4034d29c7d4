"""Open brackets, against a brute-force oracle: closing them makes JSON of every prefix that ends between tokens."""

from __future__ import annotations

import json

import pytest

from sgl_lite.interpreter.json_brackets import JsonBrackets, closing_length, opening_of


@pytest.mark.parametrize(
    ("text", "closers"),
    [
        ("{\n", "}"),
        ("[{", "}]"),
        ('{"a": [', "]}"),
        ('{"a": "', '"}'),
        ('"', '"'),
        ('["a]", {"b": "\\"', '"}]'),
    ],
)
def test_what_closes_an_opening(text: str, closers: str) -> None:
    brackets = opening_of(text)
    assert brackets is not None and brackets.closers() == closers


@pytest.mark.parametrize("text", ["", "Profile:", "{}", '"whole"', "[1, 2]\n", " {", '"\\'])
def test_no_opening(text: str) -> None:
    assert opening_of(text) is None


def test_reading_stops_where_all_is_closed() -> None:
    brackets = opening_of('{"a": [')
    assert brackets is not None
    assert brackets.feed("1, 2") is None
    assert brackets.feed(' ] , "b": {}\n} and so on') == len(' ] , "b": {}\n}')


@pytest.mark.parametrize(
    ("opened", "text", "length"),
    [
        ("{", "\n}", 2),
        ('{"', '"}', 2),
        ('{"', "} and", 1),
        ("{[", "]} ]", 2),
        ("{[", " }", 2),
        ("[{", "]", 1),
        ("{", "]", None),
        ('{"', ": 1", None),
        ("{", ', "a": {}} x', 10),
    ],
)
def test_how_much_of_a_text_closes(opened: str, text: str, length: int | None) -> None:
    assert closing_length(list(opened), text) == length


def test_every_prefix_of_a_document() -> None:
    document = json.dumps({"a": [1, {"b": 'quote " and \\ and }'}], "c": "[", "d": {}})
    for end in range(1, len(document)):
        brackets = JsonBrackets()
        assert brackets.feed(document[:end]) is None
        rest = JsonBrackets(list(brackets.open), brackets.escaped)
        assert rest.feed(document[end:]) == len(document) - end
