"""Norm, gate, rotary, writes to the pool and eight-bit floats, in the interpreter, against float64 or torch itself."""

from __future__ import annotations

import pytest
import torch

from tests.runtime.kernels.layer_cases import check_gate, check_norm, check_rotary, check_write

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [64, 200])
def test_norm(dtype: torch.dtype, width: int) -> None:
    check_norm(dtype, 3, width, offset=0.0, device="cpu")
    check_norm(dtype, 3, width, offset=1.0, device="cpu")


@pytest.mark.parametrize("dtype", DTYPES)
def test_gate(dtype: torch.dtype) -> None:
    check_gate(dtype, 3, 1100, device="cpu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "kv_heads", "dim"), [(4, 2, 32), (3, 1, 80)])
@pytest.mark.parametrize("float8", [False, True])
def test_rotary(dtype: torch.dtype, heads: int, kv_heads: int, dim: int, float8: bool) -> None:
    check_rotary(dtype, 3, heads, kv_heads, dim, float8, device="cpu")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("float8", [False, True])
def test_write(dtype: torch.dtype, float8: bool) -> None:
    check_write(dtype, 5, 2, 24, 20, float8, device="cpu")
    check_write(dtype, 2, 40, 192, 128, float8, device="cpu")
