"""The ops as torch sees them: what they change is declared, and their fakes say the same shapes, so they are traced."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from runtime.kernels.triton.attend import attend_items
from runtime.kernels.triton.draw_tokens import draw_tokens
from runtime.kernels.triton.edit_logits import edit_logits
from runtime.kernels.triton.merge_parts import merge_parts
from runtime.kernels.triton.rms_norm import rms_norm
from runtime.kernels.triton.rotate_and_write import rotate_and_write
from runtime.kernels.triton.silu_multiply import silu_multiply
from runtime.kernels.triton.write_kv import write_kv


def ints(*values: int, dtype: torch.dtype = torch.int32) -> torch.Tensor:
    return torch.tensor(values, dtype=dtype)


POOL = (torch.zeros(8, 1, 16), torch.zeros(8, 1, 16))
ITEM = ints(0, 0, 2, 0, 0, 3, 0, 0)[None]
CALLS: list[tuple[Any, tuple[Any, ...]]] = [
    (rms_norm, (torch.randn(2, 16), torch.ones(16), 1e-5, 0.0)),
    (silu_multiply, (torch.randn(2, 32),)),
    (rotate_and_write, (torch.randn(2, 64), torch.ones(2, 16), torch.zeros(2, 16), ints(3, 5), *POOL)),
    (write_kv, (*POOL, ints(3, 5), torch.randn(2, 1, 16), torch.randn(2, 1, 16))),
    (
        attend_items,
        (
            torch.empty(1, 2, 16), None, torch.randn(1, 2, 16), *POOL, None, ITEM, ints(0), ints(0), ints(2), ints(1),
            16, 4, 0.25, 0.0, False,
        ),
    ),
    (
        merge_parts,
        (torch.empty(1, 2, 16), torch.randn(2, 2, 16), torch.randn(2, 2), torch.randn(2), ints(0, 1), ints(0, 2)),
    ),
    (draw_tokens, (torch.randn(3, 50), *[None] * 7)),
    (edit_logits, (torch.randn(3, 50), ints(4, dtype=torch.int64), *[torch.ones(1)] * 3)),
]  # fmt: skip


@pytest.mark.parametrize(("op", "arguments"), CALLS, ids=[str(op._name) for op, _ in CALLS])
def test_ops(op: Any, arguments: tuple[Any, ...]) -> None:
    torch.library.opcheck(op, arguments, test_utils=("test_schema", "test_faketensor"))
