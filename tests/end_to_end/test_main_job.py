"""The two programs of the README on the embedded model: valid at every budget, temperature and seed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import product

import pytest

import sgl_lite as sgl
from grammars.errors import BudgetError

pytestmark = pytest.mark.usefixtures("embedded_engine")
PROMPT = "Generate a person profile:"


@sgl.function
def generate_json(s, prompt):
    s += prompt
    s += "{\n"
    with s.constrain(format="json"):
        s += sgl.gen("content", max_tokens=200)
    s += "\n}"


@sgl.function
def generate_profile(s, name):
    s += f"Generate profile for {name}:"
    with s.constrain(format="json"):
        s += sgl.gen("profile", max_tokens=200)


@sgl.function
def open_brace(s, budget, temperature, seed):
    s += PROMPT
    s += "{\n"
    with s.constrain(format="json"):
        s += sgl.gen("content", max_tokens=budget, temperature=temperature, seed=seed)
    s += "\n}"


@sgl.function
def whole_value(s, budget, temperature, seed):
    s += "Generate profile for Ada:"
    with s.constrain(format="json"):
        s += sgl.gen("profile", max_tokens=budget, temperature=temperature, seed=seed)


def grid(budgets: Iterable[int], seeds: int) -> list[dict[str, object]]:
    combinations = product(budgets, (0.0, 1.0, 2.0), range(seeds))
    return [{"budget": b, "temperature": t, "seed": s} for b, t, s in combinations]


def check(cases: list[dict[str, object]]) -> None:
    """Each answer is JSON, the opened one an object, and within its budget."""
    for case, opened, whole in zip(cases, open_brace.run_batch(cases), whole_value.run_batch(cases), strict=True):
        assert isinstance(json.loads(opened.text()[len(PROMPT) :]), dict)
        json.loads(whole["profile"])
        for state, name in ((opened, "content"), (whole, "profile")):
            assert state.get_meta_info(name)["completion_tokens"] <= case["budget"]


def test_the_programs_as_they_stand() -> None:
    result = generate_json(PROMPT)
    assert isinstance(json.loads(result.text()[len(PROMPT) :]), dict)
    json.loads(generate_profile("Ada")["profile"])


def test_valid_at_small_budgets() -> None:
    check(grid((1, 2, 3, 5, 8, 9, 15, 17, 22, 29, 36, 40, 43, 50, 57, 64), seeds=2))


def test_no_budget_at_all_is_an_error() -> None:
    with pytest.raises(BudgetError, match="max_tokens"):
        whole_value(0, 0.0, 0)["profile"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_valid_at_every_budget() -> None:
    check(grid(range(1, 65), seeds=20))
