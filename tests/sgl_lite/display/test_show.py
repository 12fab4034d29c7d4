"""What `state.show()` prints."""

from __future__ import annotations

import pytest

import sgl_lite as sgl
from tests.sgl_lite.fake_backend import FakeBackend


def test_show(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    @sgl.function
    def program(s):
        s += "Hello " + sgl.gen("x", max_tokens=2) + sgl.select("y", ["a", "b"])
        with s.constrain(regex="ab+"):
            s += "a" + sgl.gen("z", max_tokens=3)

    program().show()
    shown = capsys.readouterr().out
    assert "Hello ana" in shown and shown.startswith("╭─ program")
    rows = [line.strip("│ ").split() for line in shown.splitlines() if line.strip("│ ")]
    assert [row[0] for row in rows if row[0] in "xyz"] == ["x", "y", "z"]
