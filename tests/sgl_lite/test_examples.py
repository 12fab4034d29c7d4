"""Every example runs as it stands, on the embedded model; each asserts what it shows."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("embedded_engine")  # one engine for all: each example takes a moment only
FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.py"))


def test_there_are_examples() -> None:
    assert {"quickstart.py", "json_open_brace.py", "generate_profile.py"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert capsys.readouterr().out
    assert name == "quickstart.py" or len((FOLDER / name).read_text().splitlines()) <= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_as_a_command(name: str) -> None:
    done = subprocess.run([sys.executable, FOLDER / name], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
