"""Lark grammars against lark's own default parser, by brute force over short texts; completions against the same."""

from __future__ import annotations

from functools import cache
from itertools import product

import lark
import pytest

from grammars.automaton import DEAD
from grammars.errors import ConstraintSyntaxError, UnsatisfiableConstraintError
from grammars.lark import compile_lark
from grammars.lark.machine import CfgAutomaton
from grammars.spec import Lark

GRAMMARS = {
    "left_recursive": ('start: start "+" "a" | "a"', "a+", 6),
    "right_recursive": ('start: "a" "+" start | "a"', "a+", 6),
    "ambiguous": ('start: start start | "a" | "(" start ")"', "a()", 6),
    "nullable": ('start: a b a\na: "x"?\nb: "(" a ")" | ', "x()", 6),
    "balanced": ('start: "(" start ")" start | ', "()", 8),
    "repetition": ('start: "a"~2..3 ("," "a")*', "a,", 7),
    "ignored": ('start: "a" "b"\n%ignore " "\n%ignore /#[^x]*x/', "ab #x", 5),
    "names": ('start: NAME NAME | "if" NAME\nNAME: /[if]+/\n%ignore " "', "if ", 6),
    "lengthened": ('start: NAME "b" | NAME "c" "b"\nNAME: /[ab]+/', "abc", 6),
    "keyword_in_name": ('start: "i" NAME "?" | NAME\nNAME: /[ij]+/', "ij?", 6),
    "lazy": ('start: /"[^x]*?"/ /"[^x]*?"/?', '"ax', 6),
    "priorities": ('start: (A | B)+\nA.2: "aa"\nB: "a" "b"?', "ab", 6),
    "mutual": ('start: p\np: q "a" | "a"\nq: p "b" | "b"', "ab", 7),
    "unit_cycle": ('start: x\nx: y | "a"\ny: x | "b" y', "ab", 6),
    "flags": ('start: "ab"i /c/i', "aAbBcC", 4),
    "unicode": ('start: /[é-ü]+/ "日"?', "éü日", 4),
}


@pytest.mark.parametrize("name", GRAMMARS)
def test_accepts_what_lark_accepts(name: str) -> None:
    grammar, alphabet, length = GRAMMARS[name]
    parser = lark.Lark(grammar)
    automaton = compile_lark(Lark(grammar))
    texts = ["".join(letters) for n in range(length + 1) for letters in product(alphabet, repeat=n)]
    accepted = {text for text in texts if parses(parser, text)}
    assert accepted, "the test's own grammar derives nothing short"
    for text in texts:
        state = walk(automaton, text)
        assert (state != DEAD and automaton.is_accepting(state)) == (text in accepted), text
        if state != DEAD:
            assert automaton.min_bytes(state) == len(automaton.witness(state))
            assert parses(parser, text + automaton.witness(state).decode())
    for text in accepted:
        for cut in range(len(text)):
            state = walk(automaton, text[:cut])
            assert state != DEAD, f"{text[:cut]!r} can go on to {text!r}"
            assert automaton.min_bytes(state) <= len(text[cut:].encode())


def test_shortest_completion_sees_the_space_that_names_need() -> None:
    automaton = compile_lark(Lark('start: NAME NAME\nNAME: /[a-z]+/\n%ignore " "'))
    assert automaton.min_bytes(automaton.start) == 3
    assert automaton.witness(automaton.start) == b"a a"


def test_imports_and_templates() -> None:
    automaton = compile_lark(
        Lark(
            'start: list{ESCAPED_STRING}\nlist{x}: "[" [x ("," x)*] "]"\n'
            "%import common.ESCAPED_STRING\n%import common.WS\n%ignore WS"
        )
    )
    for text, expected in (('["a", "b\\"c"]', True), ("[]", True), ('["a" "b"]', False), ('["a",]', False)):
        state = walk(automaton, text)
        assert (state != DEAD and automaton.is_accepting(state)) == expected, text


def test_a_state_met_again_is_the_same() -> None:
    automaton = compile_lark(Lark('start: "a" ("," "a")*'))
    assert walk(automaton, "a,a,a") == walk(automaton, "a,a,a,a")


@pytest.mark.parametrize(
    ("grammar", "error", "message"),
    [
        ("start: start", UnsatisfiableConstraintError, "start"),
        ('start: x\nx: "a" x', UnsatisfiableConstraintError, "start"),
        ('start: NAME "b"\nNAME: /[ab]+/', UnsatisfiableConstraintError, "lexer"),
        ("start: (", ConstraintSyntaxError, "line 1"),
        ("start: missing", ConstraintSyntaxError, "missing"),
        ('other: "a"', ConstraintSyntaxError, "start"),
        ("start: /a*/", ConstraintSyntaxError, "zero-width"),
        ("start: /(/", ConstraintSyntaxError, "missing"),
    ],
)
def test_bad_grammars(grammar: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        compile_lark(Lark(grammar))


def walk(automaton: CfgAutomaton, text: str) -> int:
    state = automaton.start
    for byte in text.encode():
        state = automaton.step(state, byte)
        if state == DEAD:
            return DEAD
    return state


def parses(parser: lark.Lark, text: str) -> bool:
    return _parses(parser, text)


@cache
def _parses(parser: lark.Lark, text: str) -> bool:
    try:
        parser.parse(text)
    except lark.exceptions.UnexpectedInput:
        return False
    return True
