"""The command `serve`: its help is one screen with an example, and what cannot work is said in a line."""

from __future__ import annotations

import re

import pytest

from sgl_lite import cli


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", *arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    assert call("--help") == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "Example: sgl-lite serve --model" in shown and len(shown.splitlines()) <= 40


@pytest.mark.parametrize("wrong", [("--port", "99999"), ("--log-level", "loud"), ("--max-running", "x")])
def test_wrong_options(capsys: pytest.CaptureFixture[str], wrong: tuple[str, str]) -> None:
    assert call(*wrong) == 2
    assert wrong[0] in capsys.readouterr().err


def test_no_such_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--model", "/no/such/model") == 1
    assert capsys.readouterr().err.startswith("ModelLoadError")
