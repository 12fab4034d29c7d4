"""What every test of the runtime has in common."""

from __future__ import annotations

import pytest

from runtime.kernels import cpu_attention


@pytest.fixture(autouse=True)
def much_is_worth_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models in tests are tiny: what is worth a segment or a block is made as much smaller, or there would be none."""
    monkeypatch.setattr(cpu_attention, "MIN_SAVED_BYTES", 4096)
