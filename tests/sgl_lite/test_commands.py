"""`chat`, `bench`, `models` and `grammar show`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import sgl_lite as sgl
from grammars.front_ends import automaton_of
from grammars.spec import Choice, JsonSchema, Regex
from sgl_lite import cli
from sgl_lite.backends.base import Capabilities
from sgl_lite.commands.bench import Timed, percentile, summary
from sgl_lite.commands.chat import converse
from sgl_lite.commands.grammar import explore
from sgl_lite.commands.plot import cumulative_svg
from tests.sgl_lite.fake_backend import FakeBackend


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    return ended.value.code if isinstance(ended.value.code, int) else 0


@pytest.mark.parametrize("command", ["chat", "bench", "build", "models", "generate", "demo", "version", "serve"])
def test_help_is_a_screen_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert len(shown.splitlines()) <= 60
    assert "Example: sgl-lite" in shown or command in ("demo", "version")


class TestChat:
    def talk(self, backend: FakeBackend, lines: list[str], **given: Any) -> tuple[sgl.ProgramState, str]:
        written: list[str] = []
        said: Iterator[str] = iter([*lines, ""])
        options = {"system": None, "images": [], "answer": {"max_tokens": 20}, **given}
        state = converse(lambda: next(said), written.append, backend=backend, **options)
        return state, "".join(written)

    def test_a_conversation(self) -> None:
        state, written = self.talk(FakeBackend(), ["Hello", "Again"], system="Be kind.")
        assert written == "an answer\nan answer\n"
        assert [m["content"] for m in state.messages()] == ["Be kind.", "Hello", "an answer", "Again", "an answer"]

    def test_a_constraint_and_pictures(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        PIL.Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
        eyes = FakeBackend("12", capabilities=Capabilities(images=True))
        state, written = self.talk(
            eyes, ["One?", f"/image {path}", "Two?"], images=[str(path)], answer={"max_tokens": 9, "regex": "[0-9]+"}
        )
        assert written == "12\n12\n" and [len(r.images) for r in eyes.requests] == [1, 2]
        assert state.messages()[0]["content"][0]["type"] == "image_url"

    def test_an_error_ends_it(self) -> None:
        def fail(request: Any) -> str:
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            self.talk(FakeBackend(fail), ["Hello"])


class TestShow:
    def accepts(self, edges: Any, accepting: set[int], text: str) -> bool:
        """The drawn automaton, read as a person would."""
        state: int | None = 0
        for byte in text.encode():
            for label, target in edges[state]:
                if any(self.within(byte, part) for part in label.split(" ")):
                    state = target
                    break
            else:
                return False
        return state in accepting

    def within(self, byte: int, part: str) -> bool:
        ends = re.fullmatch(r"(space|\\x..|.)(?:-(space|\\x..|.))?", part)
        assert ends is not None, part
        values = [self.value(end) for end in ends.groups() if end is not None]
        return values[0] <= byte <= values[-1]

    def value(self, name: str) -> int:
        return 0x20 if name == "space" else int(name[2:], 16) if len(name) == 4 else ord(name)

    def test_the_drawing_is_the_constraint(self) -> None:
        for pattern in ("[a-c]+(-[0-9]{2})?", "(ab|a c)*d", "é|ö"):
            edges, accepting, more = explore(automaton_of(Regex(pattern)), 100)
            assert not more
            for text in ("a", "abc-12", "ab-1", "aba cd", "d", "é", "ö", "x", ""):
                assert self.accepts(edges, accepting, text) == bool(re.fullmatch(pattern, text)), (pattern, text)

    def test_it_stops_drawing(self) -> None:
        edges, _, more = explore(automaton_of(JsonSchema({"type": "object"})), 20)
        assert len(edges) == 20 and more
        edges, accepting, more = explore(automaton_of(Choice(["yes", "no"])), 20)
        assert not more and len(accepting) >= 1

    def test_the_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("grammar", "show", "--regex", "ab?") == 0
        assert "goes to" in capsys.readouterr().out
        assert call("grammar", "show", "--dot", '{"const": 5}') == 0
        assert capsys.readouterr().out.startswith("digraph constraint {")
        assert call("grammar", "show", "--regex", "(") == 1
        assert call("grammar", "show") == 2


class TestBench:
    def test_percentiles(self) -> None:
        values = [float(x) for x in range(1, 101)]
        assert [percentile(values, share) for share in (50, 90, 99)] == [50.0, 90.0, 99.0]
        assert percentile([3.0], 50) == 3.0 and percentile([], 50) is None

    def test_summary(self) -> None:
        figures = summary([Timed(1.0, 2.0, [0.5, 0.5], 3), Timed(error="no")], 4.0)
        assert figures["failed"] == 1 and figures["requests_per_second"] == 0.25
        assert figures["tokens_per_second"] == 0.75 and figures["between_tokens"]["p99"] == 0.5

    def test_the_plot_is_a_picture(self) -> None:
        root = ElementTree.fromstring(cumulative_svg({"first <a>": [1.0, 2.0, 3.0], "b": [2.0]}, "seconds", "share"))
        lines = root.findall("{http://www.w3.org/2000/svg}polyline")
        assert [len(line.attrib["points"].split()) for line in lines] == [3, 1]

    def test_nobody_answers(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert call("bench", "--url", "http://127.0.0.1:9", "--requests", "2") == 1
        assert "cannot be reached" in capsys.readouterr().out.replace("\n", " ")
        assert call("bench", "--dataset", "no/such/file") == 2


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("models") == 0
    assert "embedded" in capsys.readouterr().out


@pytest.mark.slow
def test_models_that_do_not_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert call("models", str(tmp_path)) == 1
    assert "does not run" in capsys.readouterr().out


@pytest.mark.slow
def test_bench_of_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot, output, lines = tmp_path / "a.svg", tmp_path / "a.json", tmp_path / "a.jsonl"
    lines.write_text('{"prompt": "Ada", "temperature": 0}\n{"prompt": "Bob", "regex": "[a-z]{3}"}\n')
    with sgl.Runtime() as runtime:
        for dataset in ("text", "json", "shared", str(lines)):
            arguments = ["--url", runtime.url, "--requests", "6", "--concurrency", "3", "--dataset", dataset]
            assert call("bench", *arguments, "--plot", str(plot), "--output", str(output), "--rate", "50") == 0
            figures = json.loads(output.read_text())
            assert figures["requests"] == 6 and figures["failed"] == 0 and figures["whole_answer"]["p99"] > 0
            ElementTree.parse(plot)


@pytest.mark.slow
def test_build_keeps_what_it_compiles(tmp_path: Path) -> None:
    """In an empty cache; a second time everything is there."""
    command = [sys.executable, "-c", "from sgl_lite.cli import main; main()", "build"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "COLUMNS": "100", "CUDA_VISIBLE_DEVICES": ""}

    def kept() -> dict[str, float]:
        return {str(path): path.stat().st_mtime for path in tmp_path.rglob("*.nb*")}

    first = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    compiled = kept()
    assert "a constraint" in first and any("dense_token" in path for path in compiled)
    subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert kept() == compiled
