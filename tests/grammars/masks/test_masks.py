"""Masks against the brute-force oracle, with and without slices, and the memo."""

from __future__ import annotations

import random
import threading
from itertools import product

import numpy as np
import pytest

from grammars import apply_masks, likeliest_allowed
from grammars.automaton import ByteAutomaton, pack
from grammars.compose.texts import TextsAutomaton
from grammars.limits import DEFAULT_LIMITS
from grammars.masks import slices
from grammars.masks.row_memo import RowMemo
from grammars.masks.token_mask import TokenMasks
from grammars.masks.token_trie import TokenTrie
from grammars.masks.trie_walk import TrieWalk
from grammars.vocabulary import Vocabulary
from tests.grammars.toy import BEGIN, STRING, Stepper, ToyLists, allowed_by_trying, bits_of


def toy_vocabulary(seed: int = 0, every_byte: bool = True) -> Vocabulary:
    """Tokens that lists are made of, tokens that split characters or hold no text, and one text twice."""
    rng = random.Random(seed)
    pieces = ['"', "[", "]", ",", "a", "bc", "é", "ö", " ", "x" * 40]
    tokens = {"".join(rng.choice(pieces) for _ in range(rng.randint(1, 5))).encode() for _ in range(300)}
    texts = [*sorted(tokens), b'["', b'["', b"\xc3", b'\xa9"', b"a\xc3", b"\xff\xfe", b""]
    if every_byte:
        texts += [bytes([byte]) for byte in range(256)]
    return Vocabulary([b"<s>", b"</s>", *texts, b"<pad>"], eos_ids=[1, 3], special_ids=[0, len(texts) + 2])


def reachable_states(automaton: ByteAutomaton, vocabulary: Vocabulary, count: int, seed: int = 0) -> list[int]:
    """States on random walks over tokens."""
    rng = random.Random(seed)
    stepper = Stepper(automaton)
    found = [automaton.start]
    state = automaton.start
    while len(found) < count:
        choices = sorted(allowed_by_trying(automaton, vocabulary, state) - set(vocabulary.eos_ids))
        state = stepper.advance(state, vocabulary.tokens[rng.choice(choices)]) if choices else automaton.start
        found.append(state)
    return found


@pytest.mark.parametrize("wide", [0, 40, 400, 2_000])
def test_mask_is_what_trying_every_token_gives(wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "grammars.masks.trie_walk._WIDE", wide
    )  # 0: every local becomes a slice; 400: some are walked apart
    vocabulary = toy_vocabulary()
    for automaton in (ToyLists(), ToyLists(2), TextsAutomaton(["bcbc", 'a"', "aé", "a", "x" * 90])):
        masks = TokenMasks(automaton, vocabulary, DEFAULT_LIMITS)
        states = reachable_states(automaton, vocabulary, 40)
        if isinstance(automaton, ToyLists):
            states += [pack(context, local) for context in range(3) for local in (STRING, BEGIN)]
        for state in states:
            expected = allowed_by_trying(automaton, vocabulary, state)
            assert bits_of(masks.row(state), len(vocabulary)) == expected
            assert {t for t in range(len(vocabulary)) if masks.advance(state, t) >= 0} == expected - {1, 3}
        if wide == 400 and isinstance(automaton, ToyLists):
            assert masks._walk._near[BEGIN].local == masks._walk._near[STRING].local == STRING


def test_landings_are_where_the_tokens_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grammars.masks.trie_walk._WIDE", 0)
    vocabulary, automaton = toy_vocabulary(), ToyLists()
    masks = TokenMasks(automaton, vocabulary, DEFAULT_LIMITS)
    walk, stepper = TrieWalk(masks.transitions, vocabulary), Stepper(automaton)
    for state in reachable_states(automaton, vocabulary, 30) * 2:
        walk.mask(state, np.zeros(vocabulary.mask_width, np.int32))
        tokens = allowed_by_trying(automaton, vocabulary, state) - set(vocabulary.eos_ids)
        expected = {token: stepper.advance(state, vocabulary.tokens[token]) for token in tokens}
        keys, landing = walk.landing_of_tokens(state)
        assert {t: keys[landing[t]] for t in range(len(vocabulary)) if landing[t] >= 0} == expected
        assert set(walk.landings(state).tolist()) == set(expected.values())


def test_equal_rows_are_stored_once_and_memory_is_bounded() -> None:
    vocabulary, automaton = toy_vocabulary(), ToyLists(10_000)
    masks = TokenMasks(automaton, vocabulary, DEFAULT_LIMITS)
    masks._memo = RowMemo(vocabulary.mask_width, memory_bytes=1)
    inside = [masks.transitions.step(context << 32, ord('"')) for context in range(1, 1000)]
    rows = [masks.row(state) for state in inside]
    assert len({id(row) for row in rows[50:60]}) == 1
    assert len(masks._memo.rows) < 200
    assert all(np.array_equal(row, rows[20]) for row in rows[20:])


def test_grammars_of_a_vocabulary_share_a_bound_but_no_masks_within_a_budget() -> None:
    vocabulary = toy_vocabulary()
    automata = [ToyLists(1), ToyLists(2), ToyLists(3), TextsAutomaton(["bcbc", 'a"', "aé"]), TextsAutomaton(["bca"])]
    together = [TokenMasks(automaton, vocabulary, DEFAULT_LIMITS) for automaton in automata]
    alone = [TokenMasks(automaton, toy_vocabulary(), DEFAULT_LIMITS) for automaton in automata]
    tight = 0
    for budget in range(1, 9):
        for place in range(12):  # in turns, so that equal states of other grammars come between
            for one, other, automaton in zip(together, alone, automata, strict=True):
                state = reachable_states(automaton, vocabulary, 12)[place]
                within = one.row_within(state, budget)
                assert np.array_equal(within, other.row_within(state, budget))
                tight += not np.array_equal(within, one.row(state))
    assert tight > 50
    assert len(vocabulary.slices.landings._values) <= slices._LANDINGS_KEPT


def test_many_threads_get_the_same_masks() -> None:
    vocabulary, automaton = toy_vocabulary(), ToyLists()
    masks = TokenMasks(automaton, vocabulary, DEFAULT_LIMITS)
    states = reachable_states(ToyLists(), vocabulary, 60)
    wrong: list[int] = []

    def ask(seed: int) -> None:
        order = random.Random(seed).sample(states, len(states))
        wrong.extend(state for state in order if bits_of(masks.row(state), len(vocabulary)) != expected[state])

    expected = {state: allowed_by_trying(ToyLists(), vocabulary, state) for state in states}
    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_trie_holds_every_text_once_in_order() -> None:
    texts = [b"ab", b"a", b"", b"ab", b"\xff", b"abc", b"b"]
    trie = TokenTrie.build(texts, range(7))
    found, path = [], bytearray()
    for node in range(len(trie)):
        del path[int(trie.depth[node]) - 1 :]
        path.append(int(trie.byte[node]))
        found += [(bytes(path), int(t)) for t in trie.tokens[trie.first[node] : trie.first[node + 1]]]
        subtree = range(node + 1, int(trie.end[node]))
        assert all(trie.depth[below] > trie.depth[node] for below in subtree)
    assert found == sorted((text, token) for token, text in enumerate(texts) if text)
    assert trie.max_depth == 3


def test_apply_masks() -> None:
    rng = np.random.default_rng(0)
    for tokens, density in product([1, 31, 32, 100, 4096], [0.0, 0.01, 0.5, 0.99, 1.0]):
        allowed = rng.random((3, tokens)) < density
        width = (tokens + 31) // 32
        packed = np.zeros((3, 4 * width), np.uint8)
        bits = np.packbits(allowed, axis=1, bitorder="little")
        packed[:, : bits.shape[1]] = bits
        logits = rng.standard_normal((3, tokens)).astype(np.float32)
        logits[0, :20] = logits.max() + 1  # several are the largest
        expected = np.where(allowed, logits, -np.inf)
        found = likeliest_allowed(logits, packed.view(np.int32), logits.argmax(1))
        assert found.tolist() == np.where(allowed.any(1), expected.argmax(1), logits.argmax(1)).tolist()
        apply_masks(logits, packed.view(np.int32))
        assert np.array_equal(logits, expected)
    with pytest.raises(ValueError, match="need masks"):
        apply_masks(np.zeros((2, 64), np.float32), np.zeros((2, 1), np.int32))
