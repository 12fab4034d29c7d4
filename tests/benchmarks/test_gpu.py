"""The GPU benchmark without a GPU: every line of it runs, so that time on a GPU is spent on measuring."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="triton is for Linux")

from benchmarks.machine import at_most

ROOT = Path(__file__).parents[2]
MEASURED = [
    "roof", "runner", "decode step, 1 x 20", "decode step, 2 x 20", "prefill, 2 x 6", "2 requests sharing 32",
    "the same without overlap", "engine, 2 x 20 + 3, tokens/s", "constrained decode, 2", "first token of 20, ms",
    "attention of a layer, 1 x 20", "attention of a layer, 2 x 20", "attention of a layer, 2 x 32",
    "sampling 2 rows, greedy", "sampling 2 rows, greedy, masked", "sampling 2 rows, random",
    "sampling 2 rows, top-k, top-p", "four layers, 1 x 10, ms", "four layers, 2 x 10, ms",
    "transformers continuous batching", "engine over transformers",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_part_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--dry", "--results", str(tmp_path / "gpu.json")]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads((tmp_path / "gpu.json").read_text())
    failed = {name for name in results if name.endswith("failed")}
    if find_spec("psutil") is None:  # transformers asks it for memory where there is no GPU
        assert failed == {"transformers: failed"}
    else:
        assert not failed, done.stderr[-4000:]
    missing = [name for name in MEASURED if name not in results]
    assert missing == (["transformers continuous batching", "engine over transformers"] if failed else [])
    assert set(results["four layers, 2 x 10, ms"]) == {"fused", "fused, compiled", "plain", "plain, compiled"}


def test_a_part_ends_in_its_time() -> None:
    with pytest.raises(TimeoutError, match="not done after"), at_most(0.05):
        time.sleep(20)
    with at_most(0.01):
        pass
    time.sleep(0.02)
