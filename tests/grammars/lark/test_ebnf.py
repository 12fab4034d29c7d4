"""EBNF against `re` where the grammar is regular, and against hand-written recognisers where it is not."""

from __future__ import annotations

import re
from itertools import product

import pytest

from grammars.automaton import DEAD
from grammars.errors import ConstraintSyntaxError, UnsatisfiableConstraintError
from grammars.lark import compile_ebnf, read_ebnf
from grammars.spec import Ebnf
from tests.grammars.lark.test_machine import walk

REGULAR = [
    (r'root ::= "a" | "b"+ ', r"a|b+", "ab"),
    (r'root ::= ("a" "b"?)* "c"', r"(ab?)*c", "abc"),
    (r"root ::= x{2,4} y{2} z{1,}" + '\nx ::= "a"\ny ::= "b"\nz ::= "c"', r"a{2,4}b{2}c{1,}", "abc"),
    (r'root ::= ("ab" | "c"){0,3} | "a"{3}', r"(ab|c){0,3}|a{3}", "abc"),
    (r'root ::= [a-b]* [^a-b] | "" ', r"[ab]*[^ab]|", "abc"),
    (r'root ::= "a"? "a"? "a"?  # greedy or not, any split will do', r"a{0,3}", "ab"),
    (r'root ::= [\]\\\x61] "\u0062" [\-a]', r"[\]\\a]b[-a]", "ab\\]-"),
    (r"root ::= 'a' . 'b'", r"(?s)a.b", "ab\n"),
    ('root ::= a\n  # a comment\n  b\na ::= "a"\n  | "c"\nb\n  ::= "b"', r"(a|c)b", "abc"),
    (r'root ::= "a"{0} "b"', "b", "ab"),
]


@pytest.mark.parametrize(("grammar", "pattern", "alphabet"), REGULAR)
def test_regular_grammars(grammar: str, pattern: str, alphabet: str) -> None:
    automaton = compile_ebnf(Ebnf(grammar))
    for n in range(7):
        for letters in product(alphabet, repeat=n):
            text = "".join(letters)
            state = walk(automaton, text)
            accepted = state != DEAD and automaton.is_accepting(state)
            assert accepted == bool(re.fullmatch(pattern, text)), text
            if state != DEAD:
                completion = automaton.witness(state)
                assert len(completion) == automaton.min_bytes(state)
                assert re.fullmatch(pattern, text + completion.decode("utf-8", "replace"))


def test_nesting() -> None:
    automaton = compile_ebnf(Ebnf('root ::= pair*\npair ::= "(" root ")" | "[" root "]"'))
    for n in range(7):
        for letters in product("()[]", repeat=n):
            text = "".join(letters)
            reduced = text
            while reduced != (reduced := reduced.replace("()", "").replace("[]", "")):
                pass
            state = walk(automaton, text)
            assert (state != DEAD) == (not set(reduced) & set(")]")), text
            if state != DEAD:
                assert automaton.min_bytes(state) == len(reduced)


def test_it_prints_itself() -> None:
    assert str(read_ebnf('root ::= "a" root | "b"', "root")) == 'root -> "a" root\nroot -> "b"'


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ('root ::= "a', "line 1, column 10"),
        ("root ::= missing", "'missing' is not defined"),
        ('root ::= "a"\nroot ::= "b"', "line 2, column 1: the rule 'root' is defined twice"),
        ('other ::= "a"', "no rule 'root'; it has ['other']"),
        ('root ::= ("a"', "expected `)`"),
        ("root ::= [z-a]", "runs backwards"),
        ('root ::= "a"{3,1}', "at least 3 and at most 1"),
        ('root = "a"', "expected"),
        ("", "no rule 'root'"),
    ],
)
def test_bad_grammars(grammar: str, message: str) -> None:
    with pytest.raises(ConstraintSyntaxError, match=re.escape(message)):
        compile_ebnf(Ebnf(grammar))


def test_a_grammar_that_derives_only_itself() -> None:
    with pytest.raises(UnsatisfiableConstraintError, match="root"):
        compile_ebnf(Ebnf('root ::= "a" root'))
