"""Choices, scored by the fake backend: byte b has log-probability -(b % 32) / 8."""

from __future__ import annotations

import math

import pytest

import sgl_lite as sgl
from runtime.api import TokenLogprob
from sgl_lite.choices import ScoredChoice, method_of, probabilities
from sgl_lite.interpreter.selection import common_prefix
from tests.sgl_lite.fake_backend import FakeBackend

CHOICES = ["zz", "aaaa", "b"]


def logprob(text: str) -> float:
    return sum(-(byte % 32) / 8 for byte in text.encode())


@pytest.mark.parametrize(
    ("method", "best"),
    [
        ("token_length_normalized", "aaaa"),
        ("greedy_token_selection", "aaaa"),
        ("probability", "b"),
        (sgl.unconditional_likelihood_normalized, None),
    ],
)
def test_methods(backend: FakeBackend, method: object, best: str | None) -> None:
    @sgl.function
    def program(s):
        s += "Q: " + sgl.select("x", CHOICES, choices_method=method) + "."

    state = program()
    meta = state.get_meta_info("x")
    assert meta is not None
    assert state["x"] == (best or CHOICES[max(range(3), key=meta["scores"].__getitem__)])
    assert state.text() == f"Q: {state['x']}."
    total = sum(math.exp(logprob(c)) for c in CHOICES)
    assert meta["probabilities"] == pytest.approx([math.exp(logprob(c)) / total for c in CHOICES])
    assert meta["normalized_prompt_logprobs"] == pytest.approx([logprob(c) / len(c) for c in CHOICES])
    assert [len(row) for row in meta["input_token_logprobs"]] == [2, 4, 1]


def test_gen_with_choices_is_a_select(backend: FakeBackend) -> None:
    state = sgl.function(lambda s: s.__iadd__("Q" + sgl.gen("x", choices=["b", "a"])))()
    assert state["x"] == "a"


def test_sampling_among_choices(backend: FakeBackend) -> None:
    @sgl.function
    def program(s, seed):
        s += "Q: " + sgl.select("x", ["a", "i"], temperature=1.0, choices_method="probability", seed=seed)

    drawn = [state["x"] for state in program.run_batch([(seed,) for seed in range(300)])]
    expected = 1 / (1 + math.exp(logprob("i") - logprob("a")))
    assert drawn.count("a") / 300 == pytest.approx(expected, abs=0.08)
    assert program(5)["x"] == program(5)["x"]


def scored(*rows: list[float]) -> list[ScoredChoice]:
    return [ScoredChoice(str(i), tuple(TokenLogprob(0, x) for x in row)) for i, row in enumerate(rows)]


def test_greedy_selection_extends_short_choices_by_their_mean() -> None:
    greedy = method_of("greedy_token_selection")
    assert greedy(scored([-1, -9], [-2, 0])).best == 0
    assert greedy(scored([-1], [-1, -0.5])).best == 1
    assert greedy(scored([-1], [-1, -2])).best == 0


def test_unconditional_gain() -> None:
    method = method_of("unconditional_likelihood_normalized")
    rows = [
        ScoredChoice("often", (TokenLogprob(0, -1.0),), (TokenLogprob(0, -1.5),)),
        ScoredChoice("rare", (TokenLogprob(0, -2.0),), (TokenLogprob(0, -8.0),)),
    ]
    assert method(rows).best == 1


def test_probabilities_of_tiny_numbers() -> None:
    assert probabilities([-2000.0, -2000.0]) == (0.5, 0.5)


def test_common_prefix() -> None:
    assert (
        common_prefix((1, 2, 3), (1, 2, 4, 5)) == 2
        and common_prefix((1,), (1, 2)) == 1
        and common_prefix((), (1,)) == 0
    )


def test_nothing_to_condition_on(backend: FakeBackend) -> None:
    with pytest.raises(sgl.ArgumentError, match="add text before"):
        sgl.function(lambda s: s.__iadd__(sgl.select("x", ["a", "b"])))()
