"""What the planner makes of constrain blocks, written out as text."""

from __future__ import annotations

import pytest

from grammars.spec import Format, Regex
from sgl_lite import gen, select
from sgl_lite.constraints import Constraint
from sgl_lite.errors import SpanError
from sgl_lite.interpreter.spans import Placed, SpanPlanner
from sgl_lite.nodes import (
    ConstrainBegin,
    ConstrainEnd,
    Node,
    RoleBegin,
    SpanBegin,
    SpanEnd,
    SpanGen,
    SpanSelect,
    SpanText,
    Text,
    VarBegin,
    VarEnd,
)

JSON = Constraint(Format("json"))
PATTERN = Constraint(Regex(".*"))


def shown(placed: list[Placed]) -> str:
    """One word a node: literals quoted, gens with what follows and how they end."""
    words = []
    for node in (one.node for one in placed):
        match node:
            case SpanGen(gen=g, after=after, ends=ends):
                words.append(f"{g.name}~{after!r}:{ends}")
            case SpanText(text) | Text(text):
                words.append(repr(text))
            case SpanBegin(opener=opener):
                words.append(f"<{opener!r}")
            case SpanEnd(verify):
                words.append(">?" if verify else ">")
            case SpanSelect(select=s):
                words.append(f"select {s.name}")
            case VarBegin(name):
                words.append(f"({name}")
            case VarEnd(name):
                words.append(f"{name})")
            case _:
                words.append(node.label())
    return " ".join(words)


def plan(*nodes: Node | str, settle: str | None = "", conforms: bool = True) -> str:
    """All nodes in order, then a read of `settle` ("": no read, None: of everything)."""
    planner, out = SpanPlanner(lambda constraint, text: conforms), []
    for node in nodes:
        out += planner.add(Text(node) if isinstance(node, str) else node, "here")
    if settle != "":
        out += planner.settle(settle)
    return shown(out)


BEGIN, END = ConstrainBegin(JSON), ConstrainEnd()
A, B = gen("a"), gen("b")


def test_text_outside_is_passed_on() -> None:
    assert plan("hello", RoleBegin("user")) == "'hello' user_begin()"


def test_the_last_gen_completes_the_span() -> None:
    assert plan("Profile:", BEGIN, A, END) == "'Profile:' <'' a~'':complete >"


def test_a_gen_is_held_until_what_follows_is_known() -> None:
    assert plan(BEGIN, '{"name": "', A) == "<'' '{\"name\": \"'"
    assert plan(BEGIN, A, '", ', '"age": ') == "<''"


def test_literals_between_gens_are_what_the_first_must_allow() -> None:
    assert plan(BEGIN, A, ",", " ", B, "]", END) == "<'' a~', ':open ',' ' ' b~']':complete ']' >"


def test_two_gens_in_a_row() -> None:
    assert plan(BEGIN, A, B, END) == "<'' a~'':open b~'':complete >"


def test_a_block_that_ends_with_a_literal_after_a_settled_gen_is_verified() -> None:
    planner = SpanPlanner(lambda constraint, text: True)
    planner.add(BEGIN, "")
    planner.add(gen("a", stop='"'), "")
    assert shown(planner.settle("a")) == "a~'':open"
    assert shown(planner.add(Text('"'), "")) == "'\"'"
    assert shown(planner.add(END, "")) == ">?"


def test_a_read_completes_a_gen_without_a_stop() -> None:
    assert plan(BEGIN, A, settle="a") == "<'' a~'':complete"
    assert plan(BEGIN, A, settle=None) == "<'' a~'':complete"


def test_a_read_leaves_open_what_is_known_to_go_on() -> None:
    assert plan(BEGIN, gen("a", stop=","), settle="a") == "<'' a~'':open"
    assert plan(BEGIN, A, ", ", settle="a") == "<'' a~', ':open ', '"


def test_a_read_of_another_variable_settles_nothing() -> None:
    assert plan(BEGIN, A, ", ", B, settle="a") == "<'' a~', ':open ', '"


def test_markers_keep_their_place() -> None:
    assert plan(BEGIN, VarBegin("v"), A, VarEnd("v"), "]", END) == "<'' (v a~']':complete v) ']' >"


def test_select_ends_what_is_held() -> None:
    assert plan(BEGIN, A, ",", select("c", ["x"]), END) == "<'' a~',':open ',' select c >?"


def test_an_opened_brace_is_continued_and_its_closing_awaited() -> None:
    assert plan("{\n", BEGIN, A, END) == "'{\\n' <'{\\n'"
    assert plan("{\n", BEGIN, A, END, "\n}") == "'{\\n' <'{\\n' a~'\\n}':complete '\\n}' >"


def test_only_the_closing_part_of_what_follows_belongs_to_the_span() -> None:
    assert plan("{", BEGIN, A, END, "} Next:") == "'{' <'{' a~'}':complete '}' > ' Next:'"


def test_closing_in_several_literals() -> None:
    assert plan('{"a": [', BEGIN, A, END, "]", ', "b": 1', "}") == (
        "'{\"a\": [' <'{\"a\": [' a~'], \"b\": 1}':complete ']' ', \"b\": 1' '}' >"
    )


def test_without_a_closing_literal_the_mirror_must_close() -> None:
    assert plan('{"a": [', BEGIN, A, END, settle=None) == "'{\"a\": [' <'{\"a\": [' a~']}':complete"
    assert plan("{", BEGIN, A, END, B).startswith("'{' <'{' a~'}':complete > gen('b')")


def test_a_late_closing_literal_is_verified() -> None:
    planner = SpanPlanner(lambda constraint, text: True)
    for node in (Text("{"), BEGIN, A, END):
        planner.add(node, "")
    assert shown(planner.settle()) == "a~'}':complete"
    assert shown(planner.add(Text("\n}"), "")) == "'\\n}' >?"


def test_literals_of_the_block_count_for_what_is_open() -> None:
    assert plan("{", BEGIN, '"a": [', A, END, "]}") == "'{' <'{' '\"a\": [' a~']}':complete ']}' >"


@pytest.mark.parametrize("literal", ["Profile {", "{}", '"Hello" she said'])
def test_not_an_opening(literal: str) -> None:
    conforms = literal.startswith("{")
    assert plan(literal, BEGIN, A, END, conforms=conforms).endswith("<'' a~'':complete >")


def test_only_json_is_continued() -> None:
    assert plan("{", ConstrainBegin(PATTERN), A, END) == "'{' <'' a~'':complete >"


def test_an_opening_must_stand_just_before_the_block() -> None:
    assert plan("{", A, BEGIN, B, END) == "'{' gen('a') <'' b~'':complete >"


def test_an_empty_block_is_verified() -> None:
    assert plan(BEGIN, END) == "<'' >?"


@pytest.mark.parametrize("node", [RoleBegin("user"), ConstrainBegin(JSON), gen("x", regex="a")])
def test_what_cannot_stand_in_a_block(node: Node) -> None:
    with pytest.raises(SpanError):
        plan(BEGIN, node)
