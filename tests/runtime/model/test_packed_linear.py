"""Linear layers, packed and plain, against float64."""

from __future__ import annotations

import pytest
import torch

from runtime.model.packed_linear import PackedLinear, can_pack


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize("rows", [0, 1, 5, 300])
@pytest.mark.parametrize(("has_bias", "adds"), [(False, False), (False, True), (True, False), (True, True)])
def test_the_product_and_its_sum(dtype: torch.dtype, pack: bool, rows: int, has_bias: bool, adds: bool) -> None:
    generator = torch.Generator().manual_seed(rows)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    weight, bias, x, residual = numbers(48, 32), numbers(48) if has_bias else None, numbers(rows, 32), numbers(rows, 48)
    if pack and not can_pack(weight):
        pytest.skip("oneDNN has no packed product for this here")
    expected = x.double() @ weight.double().t()
    expected += 0 if bias is None else bias.double()
    expected += residual.double() if adds else 0
    with torch.inference_mode():
        found = PackedLinear(weight, bias, pack).forward(x, residual.clone() if adds else None)
    precise = dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, atol=1e-4 if precise else 0.1, rtol=1e-5 if precise else 0.02)
