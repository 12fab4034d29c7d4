"""A layer's keys and values may be more than 2^31 elements, as on a GPU they soon are: offsets are 64 bits wide.

Most of this pool is never touched, so that the system gives no memory for it.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runtime.execution.triton_backend import TritonBackend
from runtime.kernels.contract import AttentionLayer, RaggedBatch

DIM, PAGE = 16, 16
LAYER = AttentionLayer(0, "layer", 2, 1, DIM, DIM, 0.25)


@pytest.mark.parametrize("merged", [False, True])
def test_the_far_end_of_a_pool(merged: bool) -> None:
    """merged: written by the kernel that rotates, too."""
    slots = (1 << 31) // (2 * DIM) + PAGE
    pool = torch.empty(slots, 2, DIM, dtype=torch.uint8).view(torch.float8_e4m3fn)
    keys, values = pool[:, :1], pool[:, 1:]
    pages = np.array([slots // PAGE - 1], np.int32)
    backend = TritonBackend([LAYER], torch.float32, torch.device("cpu"))
    rows = torch.randn(PAGE, 4, DIM, generator=torch.Generator().manual_seed(0))
    at = torch.arange(slots - PAGE, slots, dtype=torch.int32)  # as in graphs
    if merged:
        still = torch.ones(PAGE, DIM), torch.zeros(PAGE, DIM)
        backend.ops.rotate_and_write(rows.flatten(1), *still, at, keys, values)
    else:
        backend.write(keys, values, at, rows[:, 2:3], rows[:, 3:])
    held = rows[:, 2:].to(torch.float8_e4m3fn)
    assert torch.equal(pool[-PAGE:].view(torch.uint8), held.view(torch.uint8))
    ragged = RaggedBatch(np.zeros(1, np.int64), np.array([PAGE]), (pages,), PAGE)
    found = backend.attention(ragged).attend(LAYER, rows[:, :2], keys, values, None)
    scores = torch.einsum("thd,sd->hts", rows[:, :2], held[:, 0].float()) * LAYER.scaling
    seen = scores.masked_fill(torch.ones(PAGE, PAGE, dtype=torch.bool).triu(1), float("-inf")).softmax(-1)
    torch.testing.assert_close(found, torch.einsum("hts,sd->thd", seen, held[:, 1].float()), atol=1e-5, rtol=1e-5)
