"""Budgets, plans, forced text, rollback and forks: always valid, never stuck."""

from __future__ import annotations

import random

import numpy as np
import pytest

from grammars import (
    BudgetError,
    Choice,
    ConformError,
    JsonSchema,
    Literal,
    UnsatisfiableConstraintError,
    Vocabulary,
    compile,
)
from grammars.automaton import ByteAutomaton
from grammars.compiled_grammar import CompiledGrammar
from grammars.limits import DEFAULT_LIMITS
from grammars.matcher import Matcher
from tests.grammars.masks.test_masks import toy_vocabulary
from tests.grammars.toy import Stepper, ToyLists, bits_of


def grammar_of(automaton: ByteAutomaton, vocabulary: Vocabulary) -> CompiledGrammar:
    return CompiledGrammar(Literal(""), automaton, vocabulary, DEFAULT_LIMITS)


def mask(matcher: Matcher, vocabulary: Vocabulary) -> set[int]:
    row = np.full(vocabulary.mask_width, -1, dtype=np.int32)
    matcher.fill_mask(row)
    return bits_of(row, len(vocabulary))


def walk(matcher: Matcher, vocabulary: Vocabulary, rng: random.Random, most: int = 400) -> list[int]:
    """Tokens taken uniformly from the masks until an end token; then the forced ones with probability 1/2."""
    tokens: list[int] = []
    while len(tokens) < most:
        forced = matcher.forced_tokens() if rng.random() < 0.5 else []
        allowed = mask(matcher, vocabulary)
        assert allowed, "a dead end"
        for token in forced or [rng.choice(sorted(allowed))]:
            assert matcher.advance(token)
            tokens.append(token)
        if tokens[-1] in vocabulary.eos_ids:
            return tokens[:-1]
    return tokens


@pytest.mark.parametrize("every_byte", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_budget_from_the_minimum_up_always_ends_valid(every_byte: bool, seed: int) -> None:
    vocabulary = toy_vocabulary(seed, every_byte)
    rng = random.Random(seed)
    for automaton in (ToyLists(), ToyLists(30)):
        grammar = grammar_of(automaton, vocabulary)
        for prefix in (b"", b"[", b'[[["a"', b'["', b"[[[[[", b'[["\xc3'):
            least = grammar.min_tokens(prefix)
            for budget in [*range(least, least + 6), 30]:
                tokens = walk(grammar.matcher(budget, prefix), vocabulary, rng)
                text = prefix + b"".join(vocabulary.tokens[token] for token in tokens)
                assert len(tokens) <= budget
                assert automaton.is_accepting(Stepper(automaton).advance(automaton.start, text))
            if least:
                with pytest.raises(BudgetError) as error:
                    grammar.matcher(least - 1, prefix)
                assert error.value.min_tokens == least


def test_mask_and_advance_agree_at_every_budget() -> None:
    vocabulary, rng = toy_vocabulary(1), random.Random(1)
    grammar = grammar_of(ToyLists(), vocabulary)
    for budget in [*range(1, 12), None]:
        for _ in range(3):
            matcher = grammar.matcher(budget)
            for _ in range(15):
                allowed = mask(matcher, vocabulary)
                accepted = set()
                for token in range(len(vocabulary)):
                    if matcher.advance(token):
                        accepted.add(token)
                        matcher.rollback(1)
                assert accepted == allowed
                if not allowed:
                    break
                assert matcher.advance(rng.choice(sorted(allowed)))


def test_a_token_count_is_not_a_byte_count() -> None:
    text = "x" * 100 + "yes"
    vocabulary = Vocabulary([bytes([byte]) for byte in range(256)] + [b"x" * 10, b"x" * 7, b"yes", b""], [259])
    grammar = compile(Choice([text, "x" * 100 + "none"]), vocabulary)
    assert grammar.min_tokens() == 11
    matcher = grammar.matcher(11)
    for _ in range(10):
        assert mask(matcher, vocabulary) == {256}
        assert matcher.advance(256)
    assert mask(matcher, vocabulary) == {258}
    with pytest.raises(BudgetError, match="at least 11"):
        grammar.matcher(10)


class Fickle(ToyLists):
    """Its witnesses begin differently in each state, so that no two states share a plan."""

    def witness(self, state: int) -> bytes:
        return super().witness(state) if (state & 1) else super().witness(state).replace(b'""', b"[]")


def test_a_plan_is_followed_where_witnesses_disagree() -> None:
    pieces = [b"[", b"]", b'"', b'""', b'[""', b'[""]', b"[]", b"]]]", b'[["', b","]
    vocabulary = Vocabulary([*pieces, b""], [len(pieces)])
    automaton = Fickle(40)
    grammar = grammar_of(automaton, vocabulary)
    rng = random.Random(5)
    for prefix in (b"", b"[[[[", b'[[["', b"[[[[[[["):
        least = grammar.min_tokens(prefix)
        for budget in list(range(least, least + 4)) * 10:
            tokens = walk(grammar.matcher(budget, prefix), vocabulary, rng)
            text = prefix + b"".join(vocabulary.tokens[token] for token in tokens)
            assert automaton.is_accepting(Stepper(automaton).advance(automaton.start, text))


def test_a_vocabulary_without_the_bytes_is_refused() -> None:
    with pytest.raises(UnsatisfiableConstraintError, match="lacks some bytes"):
        compile(Literal("a b"), Vocabulary([b"a", b"b", b""], [2]))
    grammar = compile(Choice(["a b", "aab", "ab c"]), Vocabulary([b"a", b"b", b"", b"ab ", b"ab"], [2]))
    vocabulary = grammar.vocabulary
    assert mask(grammar.matcher(), vocabulary) == {0}
    matcher = grammar.matcher()
    assert not matcher.advance(3)
    assert matcher.advance(0)
    assert mask(matcher, vocabulary) == {0, 4}


def test_rollback_and_fork() -> None:
    vocabulary, rng = toy_vocabulary(2), random.Random(2)
    grammar = grammar_of(ToyLists(), vocabulary)
    for budget in (None, 5, 9, 20):
        for _ in range(20):
            matcher = grammar.matcher(budget)
            seen = [(mask(matcher, vocabulary), matcher.is_accepting(), matcher.remaining)]
            for _ in range(12):
                if not seen[-1][0]:
                    break
                assert matcher.advance(rng.choice(sorted(seen[-1][0])))
                seen.append((mask(matcher, vocabulary), matcher.is_accepting(), matcher.remaining))
            fork = matcher.fork()
            for back in sorted(rng.sample(range(len(seen)), min(3, len(seen)))):
                other = matcher.fork()
                other.rollback(back)
                found = (mask(other, vocabulary), other.is_accepting(), other.remaining)
                assert found == seen[len(seen) - 1 - back]
            assert mask(fork, vocabulary) == seen[-1][0]
            with pytest.raises(ValueError, match="cannot take back"):
                matcher.rollback(len(seen))


def test_end_tokens() -> None:
    vocabulary = toy_vocabulary()
    grammar = grammar_of(ToyLists(), vocabulary)
    matcher = grammar.matcher(budget=1, prefix='["a"')
    assert not matcher.is_accepting() and not matcher.advance(1)
    assert matcher.advance(vocabulary.tokens.index(b"]"))
    assert matcher.is_accepting() and matcher.is_complete() and matcher.remaining == 0
    assert mask(matcher, vocabulary) == {1, 3}
    assert matcher.advance(3)
    assert matcher.remaining == 0 and matcher.is_complete() and mask(matcher, vocabulary) == set()
    assert not matcher.advance(3) and matcher.forced_tokens() == []
    matcher.rollback(1)
    assert mask(matcher, vocabulary) == {1, 3}


def test_forced_tokens_hold_back_what_could_merge() -> None:
    texts = [bytes([byte]) for byte in range(256)] + [b"answer", b'": ', b'"a', b' "a', b""]
    vocabulary = Vocabulary(texts, [260])
    grammar = compile(Choice(['{"answer": "ab"}', '{"answer": "cd"}']), vocabulary)
    matcher = grammar.matcher()
    assert [texts[t] for t in matcher.forced_tokens()] == [b"{", b'"a', b"n", b"s", b"w", b"e", b"r", b'"', b":"]
    for token in matcher.forced_tokens():
        assert matcher.advance(token)
    assert matcher.forced_tokens() == []  # the space and the quote could be the beginning of ' "a'
    assert {texts[t] for t in mask(matcher, vocabulary)} == {b" ", b' "a'}
    assert matcher.advance(32) and matcher.forced_tokens() == []
    assert matcher.advance(34) and matcher.advance(ord("c"))
    assert [texts[t] for t in matcher.forced_tokens()] == [b"d", b'"', b"}"]


def test_forced_tokens_are_cut_as_the_tokenizer_cuts() -> None:
    texts = [b"a", b"b", b"c", b"ab", b"bc", b"abc", b""]

    def encode(text: str) -> list[int]:
        """Always single letters, but `bc` behind an a."""
        cut: list[int] = []
        while text:
            token = 4 if text.startswith("bc") and cut and cut[-1] == 0 else "abc".index(text[0])
            cut.append(token)
            text = text[len(texts[token]) :]
        return cut

    vocabulary = Vocabulary(texts, [6], encode=encode)
    grammar = compile(Literal("aabcbc"), vocabulary)
    matcher = grammar.matcher()
    assert matcher.forced_tokens() == [0, 0, 4, 1, 2]
    assert matcher.advance(0) and matcher.advance(0)
    assert matcher.forced_tokens() == [4, 1, 2]  # in the light of the a before it
    assert grammar.matcher(prefix="aa").forced_tokens() == [1, 2, 1, 2]
    tight = grammar.matcher(budget=grammar.min_tokens())
    assert all(tight.advance(token) for token in tight.forced_tokens())


def test_conform_error_names_byte_and_what_could_follow() -> None:
    grammar = grammar_of(ToyLists(), toy_vocabulary())
    with pytest.raises(ConformError, match=r"byte 4: .*expected one of ',' '\]'") as error:
        grammar.matcher(prefix='["a"x')
    assert error.value.offset == 4
    with pytest.raises(ConformError, match="nothing more"):
        grammar.matcher(prefix='"a"b')
    assert grammar.matcher(prefix='"a"').is_complete()
    assert grammar.min_tokens(prefix='"a"') == 0


def test_compile_is_cached_by_spec_and_vocabulary() -> None:
    one, same = toy_vocabulary(), toy_vocabulary()
    assert one == same and one is not same
    assert compile(Literal("a"), one) is compile(Literal("a"), same)
    assert compile(Literal("a"), one) is not compile(Literal("a"), toy_vocabulary(1))


def test_a_name_is_forced_though_escapes_may_spell_it() -> None:
    vocabulary = Vocabulary([bytes([byte]) for byte in range(256)] + [b""], [256])
    properties = {"né": {"const": "a\nb"}}
    schema = {"type": "object", "properties": properties, "required": ["né"], "additionalProperties": False}
    grammar = compile(JsonSchema(schema, whitespace="compact"), vocabulary)
    for spelling in ('{"n\\u00e9": "\\u0061\\nb"}', '{"né": "a\\u000ab"}'):
        assert grammar.matcher(prefix=spelling).is_complete()
    matcher = grammar.matcher()
    text = bytes(matcher.forced_tokens())
    assert text == '{"né":'.encode()
    matcher = grammar.matcher(prefix=text + b' "')
    assert bytes(matcher.forced_tokens()) == b"a\\"  # then n or u: a line feed has no raw spelling
