"""Random walks over token masks. For tests only."""

from __future__ import annotations

import random

import numpy as np

from grammars import CompiledGrammar


def allowed_tokens(row: np.ndarray, size: int) -> np.ndarray:
    """Ids of the bits set in a mask row, int32 [ceil(size / 32)]."""
    return np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")[:size])


def random_walk(grammar: CompiledGrammar, rng: random.Random, budget: int | None) -> bytes:
    """Tokens drawn uniformly from the masks until the text ends, or nothing can follow, or the budget is spent."""
    vocabulary = grammar.vocabulary
    matcher = grammar.matcher(budget=budget)
    row = np.empty((vocabulary.size + 31) // 32, np.int32)
    text = b""
    left = 10_000 if budget is None else budget
    while left and not matcher.is_complete():
        matcher.fill_mask(row)
        token = int(rng.choice(allowed_tokens(row, vocabulary.size)))
        if token in vocabulary.eos_ids:
            break
        assert matcher.advance(token)
        text += vocabulary.tokens[token]
        left -= 1
    assert matcher.is_accepting(), f"not complete: {text!r}"
    return text
