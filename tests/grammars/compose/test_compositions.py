"""Compositions against enumeration: which texts are accepted, which begin one, and the invariants of every state."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from itertools import product

import pytest

from grammars import (
    Choice,
    ConstraintSyntaxError,
    Format,
    JsonSchema,
    Lark,
    Limits,
    Literal,
    Regex,
    Repeat,
    Sequence,
    Spec,
    Tag,
    Tagged,
    UnsatisfiableConstraintError,
    UnsupportedConstraintError,
    UpTo,
    Vocabulary,
    compile,
)
from grammars.automaton import DEAD, ByteAutomaton
from grammars.compiled_grammar import CompiledGrammar
from grammars.compose.composed import ComposedAutomaton
from grammars.compose.places import ChoicePlaces, RepeatPlaces, SequencePlaces, TaggedPlaces
from grammars.compose.texts import TextsAutomaton
from grammars.compose.up_to import UpToAutomaton
from grammars.front_ends import automaton_of
from grammars.limits import DEFAULT_LIMITS
from grammars.masks.token_mask import TokenMasks
from tests.grammars.masks.test_masks import reachable_states, toy_vocabulary
from tests.grammars.test_matcher import walk
from tests.grammars.toy import Stepper, ToyLists, allowed_by_trying, bits_of

NESTED = Lark('start: "(" start ")" | "x"')
"""Not regular, so that compositions cannot become one language"""


def texts_over(alphabet: str, longest: int) -> Iterator[str]:
    for size in range(longest + 1):
        for characters in product(alphabet, repeat=size):
            yield "".join(characters)


def check(automaton: ByteAutomaton, accepts: Callable[[str], bool], alphabet: str, longest: int) -> None:
    """The automaton accepts exactly what `accepts` does, keeps no dead state alive, and its witnesses are right."""
    stepper = Stepper(automaton)
    accepted = {text for text in texts_over(alphabet, longest) if accepts(text)}
    assert accepted
    for text in texts_over(alphabet, longest):
        state = stepper.advance(automaton.start, text.encode())
        assert (state != DEAD and automaton.is_accepting(state)) == (text in accepted), text
        if any(other.startswith(text) for other in accepted):
            assert state != DEAD, text
        if state != DEAD:
            ending = automaton.witness(state)
            assert len(ending) == automaton.min_bytes(state)
            assert (ending == b"") == automaton.is_accepting(state)
            assert automaton.is_accepting(stepper.advance(state, ending)), (text, ending)


@pytest.mark.parametrize(
    ("spec", "pattern"),
    [
        (Sequence("a", Choice(["b", "ab"]), Regex("a*"), "b"), "a(b|ab)a*b"),
        (Sequence(), ""),
        (Sequence("ab"), "ab"),
        (Choice(["a", Literal("ab"), Regex("b+a")]), "a|ab|b+a"),
        (Repeat("ab", 1, 3), "(ab){1,3}"),
        (Repeat(Regex("a|ab"), 0, None, separator="b"), "((a|ab)(b(a|ab))*)?"),
        (Repeat("a", 2, None), "aa+"),
        (Repeat("a", 0, 0), ""),
        (Repeat(Regex("a*"), 2, 3, separator="b"), "a*ba*(ba*)?"),
    ],
)
def test_regular_compositions(spec: Spec, pattern: str) -> None:
    check(automaton_of(spec), lambda text: re.fullmatch(pattern, text) is not None, "ab", 7)


def composed_of(places: object) -> ComposedAutomaton:
    return ComposedAutomaton(places, DEFAULT_LIMITS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("places", "pattern"),
    [
        (lambda: SequencePlaces([automaton_of(s) for s in ("a", Regex("a*b?"), Regex("(ab)*"))]), "aa*b?(ab)*"),
        (lambda: ChoicePlaces([automaton_of(s) for s in (Regex("a*b"), "ab", Regex("(ba)*"))]), "a*b|ab|(ba)*"),
        (lambda: RepeatPlaces(automaton_of(Regex("a|aba")), TextsAutomaton(["b"]), 2, 3), "(a|aba)(b(a|aba)){1,2}"),
        (lambda: RepeatPlaces(automaton_of(Regex("a?b")), TextsAutomaton([""]), 2, None), "(a?b){2,}"),
        (lambda: RepeatPlaces(automaton_of(Regex("a*")), TextsAutomaton(["b"]), 1, None), "a*(ba*)*"),
    ],
)
def test_places_agree_with_re(places: Callable[[], object], pattern: str) -> None:
    check(composed_of(places()), lambda text: re.fullmatch(pattern, text) is not None, "ab", 8)


def nested(text: str) -> bool:
    depth = (len(text) - 1) // 2
    return text == "(" * depth + "x" + ")" * depth


def test_parts_with_a_stack() -> None:
    check(
        automaton_of(Sequence("x", NESTED, Regex(r"\)?"), NESTED)),
        lambda text: any(
            text[:1] == "x" and nested(text[1:k]) and nested(text[j:]) and text[k:j] in ("", ")")
            for k in range(1, len(text) + 1)
            for j in (k, k + 1)
        ),
        "(x)",
        8,
    )
    check(
        automaton_of(Repeat(NESTED, 0, 2, separator="x")),
        lambda text: (
            text == ""
            or nested(text)
            or any(nested(text[:k]) and text[k] == "x" and nested(text[k + 1 :]) for k in range(len(text)))
        ),
        "(x)",
        8,
    )
    check(automaton_of(Choice([NESTED, "((", "x"])), lambda text: nested(text) or text == "((", "(x)", 7)


def tagged_by_trying(text: str, at_least_one: bool, once: bool) -> bool:
    """`Tagged` with tags `a` ... `b*c` and `ba` ... `x`, read from the left."""
    seen = 0
    while True:
        starts = [(text.find(begin) + len(begin), begin) for begin in ("a", "ba") if begin in text]
        if not starts or (once and seen):
            return (not once or not seen or text == "") and (seen > 0 or not at_least_one)
        end = min(starts)[0]
        found = [begin for stop, begin in starts if stop == end]
        rests = []
        if "a" in found and (match := re.match("b*c", text[end:])):
            rests.append(end + match.end())
        if "ba" in found and text[end:].startswith("x"):
            rests.append(end + 1)
        if not rests:
            return False
        text, seen = text[rests[0] :], seen + 1


@pytest.mark.parametrize("at_least_one", [False, True])
@pytest.mark.parametrize("once", [False, True])
def test_tagged(at_least_one: bool, once: bool) -> None:
    tags = (Tag("a", Regex("b*"), "c"), Tag("ba", Literal("x")))
    spec = Tagged(tags, at_least_one=at_least_one, stop_after_first=once)
    check(automaton_of(spec), lambda text: tagged_by_trying(text, at_least_one, once), "abcx", 5)


def test_tagged_text_is_utf_8_and_triggers_may_hold_anything() -> None:
    automaton = automaton_of(Tagged((Tag("é", Literal("!")), Tag("<tool>", NESTED, "</tool>"))))
    stepper = Stepper(automaton)
    for text, alive, accepted in [
        ("日本語 🙂".encode(), True, True),
        (b"\xc3", True, False),
        (b"\xc3\x28", False, False),
        (b"\xed\xa0\x80", False, False),
        ("é".encode(), True, False),
        ("ê".encode(), True, True),
        ("é!".encode(), True, True),
        ("éx".encode(), False, False),
        (b"<tool", True, True),
        (b"<<tool>((x))</tool>  <tool>x</tool>", True, True),
        (b"<tool>((x)</tool>", False, False),
    ]:
        state = stepper.advance(automaton.start, text)
        assert (state != DEAD) == alive, text
        assert not alive or automaton.is_accepting(state) == accepted, text
    with pytest.raises(ConstraintSyntaxError, match="begin"):
        automaton_of(Tagged((Tag("", Literal("a")),)))


@pytest.mark.parametrize("after", ["a", "ab", "ba", "aab", "b"])
@pytest.mark.parametrize("pattern", ["a*b?a", "(ab|ba)*", "(a|b)*aab", "a(b|aa)*b"])
def test_up_to_is_what_its_docstring_says(after: str, pattern: str) -> None:
    def ends(text: str) -> bool:
        return re.fullmatch(pattern, text) is not None

    def conforms(text: str) -> bool:
        return ends(text + after) or (text.endswith(after) and ends(text))

    if not any(conforms(text) for text in texts_over("ab", 8)):
        with pytest.raises(UnsatisfiableConstraintError, match="goes on with"):
            automaton_of(UpTo(Regex(pattern), after))
        return
    check(automaton_of(UpTo(Regex(pattern), after)), conforms, "ab", 7)
    begins = {text[:end] for text in texts_over("ab", 11) if ends(text) for end in range(len(text) + 1)}
    check(
        automaton_of(UpTo(Regex(pattern), after, open=True)),
        lambda text: text + after in begins or (text.endswith(after) and text in begins),
        "ab",
        5,
    )


def test_up_to_the_end_of_a_nested_text() -> None:
    automaton = automaton_of(UpTo(NESTED, "))"))
    check(automaton, lambda text: nested(text + "))") or (nested(text) and text.endswith("))")), "(x)", 8)
    assert automaton.witness(Stepper(automaton).advance(automaton.start, b"(((")) == b"x)"


def test_masks_of_compositions_over_lexemes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grammars.masks.trie_walk._WIDE", 0)
    vocabulary = toy_vocabulary()
    lists = [TextsAutomaton(["a["]), ToyLists(), TextsAutomaton(['"]', "bc"])]
    tags = TaggedPlaces(['["', "bc"], [ToyLists(), TextsAutomaton(["a"])], False, False)
    for automaton in (
        composed_of(SequencePlaces(lists)),
        composed_of(ChoicePlaces([ToyLists(1), TextsAutomaton(['["a', "bcbc"])])),
        composed_of(RepeatPlaces(ToyLists(3), TextsAutomaton([","]), 2, 9)),
        composed_of(tags),
        UpToAutomaton(ToyLists(), b'"]', False, DEFAULT_LIMITS),
        UpToAutomaton(ToyLists(), b',"', True, DEFAULT_LIMITS),
    ):
        masks = TokenMasks(automaton, vocabulary, DEFAULT_LIMITS)
        for state in reachable_states(automaton, vocabulary, 25):
            assert bits_of(masks.row(state), len(vocabulary)) == allowed_by_trying(automaton, vocabulary, state)
        grammar = CompiledGrammar(Literal(""), automaton, vocabulary, DEFAULT_LIMITS)
        for budget in range(grammar.min_tokens(), grammar.min_tokens() + 8):
            tokens = walk(grammar.matcher(budget), vocabulary, random.Random(budget))
            text = b"".join(vocabulary.tokens[token] for token in tokens)
            assert automaton.is_accepting(Stepper(automaton).advance(automaton.start, text))


COUNTED = {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2}
ONE_NAME = {"type": "object", "properties": {"nam": {"type": "integer"}}, "additionalProperties": False}
DISTINCT = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": 2}
FEW_DISTINCT = {"type": "array", "prefixItems": [{"const": 12}], "items": {"enum": [1, 2]}, "uniqueItems": True}


@pytest.mark.parametrize("options", [(COUNTED, ONE_NAME), (COUNTED, {"minProperties": 3}), (DISTINCT, FEW_DISTINCT)])
def test_names_and_items_are_told_apart_while_there_is_a_choice(options: tuple[object, ...]) -> None:
    vocabulary = Vocabulary([*(bytes([byte]) for byte in range(256)), b'": 1, "', b", 1", b'"nam', b""], [259])
    choice = compile(Choice([JsonSchema(option) for option in options]), vocabulary)
    each = [compile(JsonSchema(option), vocabulary) for option in options]
    rng, right = random.Random(1), 0
    for _ in range(300):
        if options[0] is COUNTED:
            members = [f'"{rng.choice(["nam", "name", "na", "n"])}": 1' for _ in range(rng.randrange(4))]
            text = "{" + ", ".join(members) + "}"
        else:
            text = "[" + ", ".join(str(rng.choice([1, 2, 12, 3])) for _ in range(rng.randrange(4))) + "]"
        expected = any(accepts(grammar, text) for grammar in each)
        assert accepts(choice, text) == expected, text
        right += expected
    assert right > 20
    for budget in range(choice.min_tokens(), choice.min_tokens() + 12):
        tokens = walk(choice.matcher(budget), vocabulary, random.Random(budget))
        text = b"".join(vocabulary.tokens[token] for token in tokens).decode()
        assert any(accepts(grammar, text) for grammar in each), text


def accepts(grammar: CompiledGrammar, text: str) -> bool:
    matcher = grammar.matcher()
    return all(matcher.advance(byte) for byte in text.encode()) and matcher.is_accepting()


def test_ten_thousand_choices_are_quick() -> None:
    rng = random.Random(0)
    options = ["".join(rng.choices("abcdefgh ", k=rng.randint(5, 40))) for _ in range(10_000)]
    vocabulary = Vocabulary([bytes([byte]) for byte in range(256)] + [b"ab", b"a", b"abc", b""], [259])
    grammar = compile(Choice(options), vocabulary, Limits(compile_seconds=2))
    for option in options[:50]:
        assert grammar.matcher(prefix=option).is_accepting()


def test_clear_errors() -> None:
    with pytest.raises(ConstraintSyntaxError, match="2 to 1"):
        automaton_of(Repeat("a", 2, 1))
    with pytest.raises(ConstraintSyntaxError, match="at least one tag"):
        automaton_of(Tagged(()))
    with pytest.raises(UnsupportedConstraintError, match=r"'no such'.* json"):
        automaton_of(Format("no such"))
    with pytest.raises(UnsupportedConstraintError, match="int is no constraint"):
        automaton_of(3)  # type: ignore[arg-type]
    with pytest.raises(UnsatisfiableConstraintError, match="no text"):
        automaton_of(Choice([Regex(r"a\bb"), Regex("(?!)")]))


def test_what_follows_is_never_begun_by_what_was_there_before() -> None:
    """Behind the prefix "{\\n", x + "\\n}" conforms; x = "}", whose "\\n" would be the prefix's, does not."""
    inner = Regex(r"\{\s*(\"a\")?\s*\}")
    letters = Vocabulary([*(bytes([byte]) for byte in range(128)), b""], eos_ids=[128])
    grammar = compile(UpTo(inner, "\n}"), letters)
    for prefix in ("{", "{\n", '{"a"\n'):
        matcher = grammar.matcher(prefix=prefix)
        assert matcher.is_accepting(), prefix
        ended = grammar.matcher(prefix=prefix)
        assert not ended.advance(ord("}")), prefix
        assert ended.advance(ord("\n")) and ended.advance(ord("}")) and ended.is_accepting(), prefix
