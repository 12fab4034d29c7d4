"""Starts the tests of Triton kernels in a process of their own: see `tests/runtime/kernels/triton/conftest.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is for Linux")
ROOT = Path(__file__).parents[3]


def run_interpreted(selection: str) -> None:
    """Runs the tests that the marker expression selects; their report is the error's text."""
    command = [sys.executable, "-m", "pytest", "tests/runtime/kernels/triton", "-x", "-m", selection, "--timeout=600"]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.timeout(900)
def test_in_the_interpreter() -> None:
    run_interpreted("not slow and not gpu")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_more_in_the_interpreter() -> None:
    run_interpreted("slow and not gpu")
