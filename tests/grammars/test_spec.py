"""Specs check their own shape: what is wrong is named where it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import grammars
from grammars import ConstraintSyntaxError, Regex, Tag, Tagged, UnsupportedConstraintError, Vocabulary

A: Any = Regex("a")
spec: Any = grammars
"""without types: they would say beforehand what these tests want to hear when it is done"""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: spec.Literal(3), "Literal: text must be a str, not 3"),
        (lambda: spec.Regex(re.compile("a")), r"Regex: pattern must be a str, not re.compile\('a'\)"),
        (lambda: spec.Regex("a", flags="i"), "Regex: flags must be an int, not 'i'"),
        (lambda: spec.Lark(None), "Lark: grammar must be a str, not None"),
        (lambda: spec.Ebnf("root ::= x", root=1), "Ebnf: root must be a str, not 1"),
        (lambda: spec.Format(["json"]), r"Format: name must be a str, not \['json'\]"),
        (lambda: spec.Choice("abc"), "Choice: options must be texts and constraints, not 'abc'"),
        (lambda: spec.Choice([A, 3]), "Choice: options must be texts and constraints, not .*3"),
        (lambda: spec.Choice([]), "at least one option"),
        (lambda: spec.Sequence([A, "b"]), r"Sequence: parts must be texts and constraints, not \(\["),
        (lambda: spec.Repeat({"type": "object"}), "Repeat: part must be a text or a constraint, not {'type'"),
        (lambda: spec.Repeat("a", most="3"), "Repeat: most must be an int or None, not '3'"),
        (lambda: spec.Tag("<a>", "text"), "Tag: content must be a constraint, not 'text'"),
        (lambda: spec.Tagged([A]), r"Tagged: tags must be Tags, not \(Regex"),
        (lambda: spec.UpTo(A, b"x"), "UpTo: after must be a str, not b'x'"),
    ],
)
def test_wrong_shapes(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConstraintSyntaxError, match=message):
        make()


@pytest.mark.parametrize("given", [{"type": "object"}, 3, None, Tag("<a>", A)])
def test_what_is_no_constraint(given: Any) -> None:
    vocabulary = Vocabulary([b"a", b""], eos_ids=[1])
    with pytest.raises(UnsupportedConstraintError, match=f"{type(given).__name__} is no constraint"):
        grammars.compile(given, vocabulary)


def test_tags_may_come_as_a_list() -> None:
    tags: Any = [Tag("<a>", A), Tag("<b>", A)]
    assert Tagged(tags) == Tagged(tuple(tags))
