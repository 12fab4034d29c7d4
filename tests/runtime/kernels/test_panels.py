"""Products in panels against float64's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runtime.kernels import panels, words
from runtime.kernels.cpu_ops import array_of
from runtime.model.panel_linear import PanelLinear, from_panels, panels_shape, to_panels

ROWS = [1, 2, 3, 4, 5, 8, 9, 12, 13, 17, 31, 257, 300]


def layout_of(weight: torch.Tensor) -> torch.Tensor:
    layout = torch.empty(panels_shape(*weight.shape, weight.dtype), dtype=weight.dtype)
    to_panels(weight, layout)
    return layout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_layout_holds_the_same_weight(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight = torch.randn(96, 70).to(dtype)
    assert torch.equal(from_panels(layout_of(weight)), weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("outputs", [96, 80])
@pytest.mark.parametrize("extras", [False, True])
def test_products(dtype: torch.dtype, rows: int, outputs: int, extras: bool) -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(outputs, 70).to(dtype), torch.randn(rows, 70).to(dtype)
    bias, residual = torch.randn(outputs).to(dtype), torch.randn(rows, outputs).to(dtype)
    bias, residual = (bias, residual) if extras else (None, None)
    expected = torch.nn.functional.linear(x.double(), weight.double(), None if bias is None else bias.double())
    expected += 0 if residual is None else residual.double()
    found = PanelLinear(layout_of(weight), bias).forward(x, residual)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(found.double(), expected, atol=10 * tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", ROWS)
def test_gated_products(dtype: torch.dtype, rows: int) -> None:
    torch.manual_seed(0)
    gate, up = torch.randn(2, 48, 70).to(dtype)
    x = torch.randn(rows, 70).to(dtype)
    layout = torch.empty(panels_shape(96, 70, dtype), dtype=dtype)
    to_panels(gate, layout[::2])
    to_panels(up, layout[1::2])
    expected = torch.nn.functional.silu(x.double() @ gate.double().t()) * (x.double() @ up.double().t())
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    found = PanelLinear(layout, None).gate(x)
    torch.testing.assert_close(found.double(), expected, atol=10 * tolerance, rtol=tolerance)


def test_sums_that_are_kept_in_float32() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(96, 70).bfloat16(), torch.randn(5, 70).bfloat16()
    found = PanelLinear(layout_of(weight), None, dtype=torch.float32).forward(x)
    torch.testing.assert_close(found.double(), x.double() @ weight.double().t(), atol=1e-4, rtol=1e-5)


def test_a_last_panel_that_is_not_full() -> None:
    torch.manual_seed(0)
    weight, x = torch.randn(83, 70), torch.randn(5, 70)
    found = PanelLinear(layout_of(weight), None, outputs=83).forward(x)
    assert found.is_contiguous()
    torch.testing.assert_close(found, x @ weight.t(), atol=1e-5, rtol=1e-5)
    assert torch.equal(from_panels(layout_of(weight))[:83], weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_row_is_the_same_in_any_company(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    linear = PanelLinear(layout_of(torch.randn(80, 200).to(dtype)), None)
    x = torch.randn(max(ROWS), 200).to(dtype)
    whole = linear.forward(x)
    for rows in ROWS:
        assert torch.equal(linear.forward(x[-rows:].contiguous()), whole[-rows:])


def test_processors_without_products_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 by float32 products: compiled anew, as such a processor would."""
    monkeypatch.setattr(words, "HAS_BFLOAT", False)
    block = panels._block(4, 2)

    @panels.njit
    def four_rows(x: np.ndarray, weights: np.ndarray, lines: int, sums: np.ndarray) -> None:
        block(x, 0, x.shape[1], weights, 0, lines, lines, sums, 0, sums.shape[1])

    torch.manual_seed(0)
    weight, x = torch.randn(32, 70).to(torch.bfloat16), torch.randn(4, 70).to(torch.bfloat16)
    sums = np.empty((4, 32), np.float32)
    four_rows(array_of(x), array_of(layout_of(weight)), 35, sums)
    expected = x.double() @ weight.double().t()
    torch.testing.assert_close(torch.from_numpy(sums).double(), expected, atol=1e-4, rtol=1e-5)
