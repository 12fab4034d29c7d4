"""These tests need an NVIDIA GPU: `python -m pytest tests/gpu`. Without one they are skipped, with the reason."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this torch sees no GPU")
