"""Powers and rounding of 16 floats at once, against float64 and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit

from runtime.kernels import vector
from runtime.kernels.cpu_ops import array_of
from runtime.kernels.vector import LANES, exponential, load, power_of_two, power_of_two_roughly, store


def through(operation: Any, x: np.ndarray) -> np.ndarray:
    @njit
    def run(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(0, len(x), LANES):
            store(out, i, operation(load(x, i)))

    out = np.empty_like(x)
    run(x, out)
    return out


@pytest.mark.parametrize(
    ("operation", "expected", "least", "most", "error"),
    [
        (exponential, np.exp, -87, 88, 3e-7),
        (power_of_two, np.exp2, -126, 127, 3e-7),
        (power_of_two_roughly, np.exp2, -125, 127, 8e-5),
    ],
)
def test_powers(operation: Any, expected: Any, least: float, most: float, error: float) -> None:
    x = np.concatenate([np.linspace(least, most, 1 << 16), np.linspace(-1, 1, 1 << 12)]).astype(np.float32)
    np.testing.assert_allclose(through(operation, x), expected(x.astype(np.float64)), rtol=error)
    small = through(operation, np.full(LANES, -1e30, np.float32))
    assert (small >= 0).all() and (small < 2e-38).all()


@pytest.mark.parametrize("native", [vector.HAS_BFLOAT, False])
def test_bfloat16_is_rounded_as_torch_does(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    """By the processor's own instruction, and as one that has none would: compiled anew."""
    monkeypatch.setattr(vector, "HAS_BFLOAT", native)

    @njit
    def narrow(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(0, len(x), LANES):
            store(out, i, load(x, i))

    torch.manual_seed(0)
    ties = torch.arange(0x3F808000, 0x3F908000, 0x8000, dtype=torch.int32).view(torch.float32)
    x = torch.cat([torch.randn(1 << 12) * 10 ** torch.randn(1 << 12), ties, -ties, torch.full((LANES,), torch.inf)])
    assert len(x) % LANES == 0
    out = torch.empty(len(x), dtype=torch.bfloat16)
    narrow(x.numpy(), array_of(out))
    assert torch.equal(out, x.bfloat16())
