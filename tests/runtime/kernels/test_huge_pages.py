"""Memory that the system gives: when it does, and that nothing in it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from runtime.kernels import huge_pages

MEBIBYTES = 48


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="how much is in memory is read from Linux's /proc")
def test_memory_is_taken_when_it_is_populated_and_keeps_what_is_in_it() -> None:
    before = resident()
    tensor = huge_pages.zeros((MEBIBYTES << 18,), torch.float32)
    assert resident() - before < MEBIBYTES << 19
    tensor[7], tensor[-1] = 3.0, 4.0
    huge_pages.populate(tensor)
    if resident() - before < MEBIBYTES << 19:
        pytest.skip("this system does not populate memory (Linux before 5.14)")
    assert resident() - before > (MEBIBYTES << 20) - (4 << 20)
    assert tensor.sum() == 7.0 and tensor[7] == 3.0 and tensor[-1] == 4.0


def test_small_tensors_may_be_populated_too() -> None:
    tensor = torch.arange(3000)
    huge_pages.populate(tensor[1:])
    assert torch.equal(tensor, torch.arange(3000))
