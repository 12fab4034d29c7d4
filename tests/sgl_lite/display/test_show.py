"""What `state.show()` prints."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import sgl_lite as sgl
from sgl_lite.display.picture import picture_of
from sgl_lite.display.show import show
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


def test_forks_and_failures_are_shown(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    @sgl.function
    def program(s):
        s += "Views:"
        forks = s.fork(2)
        forks += lambda i: f" {i} " + sgl.gen("view", max_tokens=2)
        forks.join()
        s += " over " + sgl.gen("last", format="json", max_tokens=0)

    with pytest.raises(sgl.BudgetError):
        program().text()
    state = program.run_batch([{}])[0]
    state.show()
    shown = capsys.readouterr().out
    assert "program › 0" in shown and "program › 1" in shown and shown.count("view ") == 2
    assert "program · cached · template · model · forced" in shown and "BudgetError: max_tokens=0" in shown


def test_each_writer_has_its_colour(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        with s.constrain(regex="ab+"):
            s += "a" + sgl.gen("z", max_tokens=3)

    out = io.StringIO()
    state = program().sync()
    show(
        picture_of(state.interpreter, "program"),
        Console(file=out, width=80, color_system="standard", force_terminal=True),
    )
    assert f"\x1b[35ma\x1b[0m\x1b[1;32m{state['z']}\x1b[0m" in out.getvalue()
