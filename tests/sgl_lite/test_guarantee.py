"""The two programs of the design at every budget and temperature, on the embedded model: valid, always."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import sgl_lite as sgl

LONGEST = 64


@sgl.function
def generate_json(s: Any, prompt: str, budget: int) -> None:
    s += prompt
    s += "{\n"
    with s.constrain(format="json"):
        s += sgl.gen("content", max_tokens=budget)
    s += "\n}"


@sgl.function
def generate_profile(s: Any, name: str, budget: int) -> None:
    s += f"Generate profile for {name}:"
    with s.constrain(format="json"):
        s += sgl.gen("profile", max_tokens=budget)


@pytest.fixture(scope="module", autouse=True)
def engine() -> Iterator[None]:
    with sgl.Engine() as engine:
        sgl.set_default_backend(engine)
        yield
        sgl.set_default_backend(None)


def all_valid(budgets: range, seeds: range, temperatures: tuple[float, ...]) -> int:
    """How many answers were read; each that is no JSON, or takes more than its budget, fails."""
    prompt = "Generate a person profile:"
    count = 0
    for temperature in temperatures:
        for seed in seeds if temperature else seeds[:1]:  # without a temperature the seed changes nothing
            drawn: dict[str, Any] = {"temperature": temperature, "seed": seed}
            opened = generate_json.run_batch([{"prompt": prompt, "budget": b} for b in budgets], **drawn)
            whole = generate_profile.run_batch([{"name": "Ada", "budget": b} for b in budgets], **drawn)
            for budget, one, other in zip(budgets, opened, whole, strict=True):
                assert isinstance(json.loads(one.text().removeprefix(prompt)), dict)
                json.loads(other["profile"])
                for state, name in ((one, "content"), (other, "profile")):
                    assert state.get_meta_info(name)["completion_tokens"] <= budget
                count += 2
    return count


def least() -> int:
    """The smallest budget that either program takes; below it is an error, before the first token."""
    for budget in range(LONGEST):
        try:
            generate_json("Generate a person profile:", budget).sync()
            generate_profile("Ada", budget).sync()
        except sgl.BudgetError as error:
            assert "max_tokens" in str(error)
        else:
            return budget
    raise AssertionError("no budget is large enough")


def test_some_budgets() -> None:
    assert all_valid(range(least(), LONGEST + 1, 7), range(2), (0.0, 1.0, 2.0)) > 80


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_budget_and_many_seeds() -> None:
    first = least()
    assert all_valid(range(first, LONGEST + 1), range(20), (0.0, 1.0, 2.0)) == (LONGEST + 1 - first) * 41 * 2
