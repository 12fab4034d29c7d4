"""These tests need an NVIDIA GPU: `python -m pytest tests/gpu -n 8`. Without one they are skipped, with the reason.

Most of their time is the compiler's, which several processes share.
"""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("this torch sees no GPU")
