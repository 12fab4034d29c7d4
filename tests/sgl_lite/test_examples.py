"""Every example runs as it stands, on the embedded model; each asserts what it shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.py"))


def test_there_are_examples() -> None:
    assert {"quickstart.py", "json_open_brace.py", "generate_profile.py"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(name: str) -> None:
    done = subprocess.run([sys.executable, FOLDER / name], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout
    assert name == "quickstart.py" or len((FOLDER / name).read_text().splitlines()) <= 40
