"""docs/server.md, docs/operations.md and the README: commands and Python run as they stand, but for the port.

The block that installs is left out, and the one that starts the server is slow: the others are run against a server in
this process.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from sgl_lite import cli
from sgl_lite.backends.local import LocalBackend
from sgl_lite.server import errors
from sgl_lite.server.app import POSTS
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.metrics import _COUNTERS, _GAUGES
from sgl_lite.server.serving import http_server
from tests.sgl_lite.server.conftest import run_in_thread

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs/server.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def blocks(kind: str, page: str = TEXT) -> list[str]:
    found = re.findall(r"^```(.*?)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return [block for name, block in found if name == kind]


@pytest.fixture(scope="module")
def port(backend: LocalBackend) -> Iterator[str]:
    """That of a server as the page's command starts it."""
    server = http_server(backend, ServerConfig(model_name="embedded"), port=0)
    thread, url = run_in_thread(server)
    yield url.rsplit(":", 1)[1]
    server.should_exit = True
    thread.join(20)


def ask(port: str) -> None:
    """The page's question, and its answer."""
    done = subprocess.run(
        ["bash", "-c", blocks("bash")[1].replace("8000", port)], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert set(json.loads(answer["choices"][0]["text"])) == {"name", "age"}


def test_the_readme_has_the_same_three_commands() -> None:
    assert [blocks(kind) for kind in ("bash install", "bash")] == [blocks(k, README) for k in ("bash install", "bash")]


@needs_curl
def test_the_first_answer(port: str) -> None:
    ask(port)


@pytest.mark.parametrize("block", blocks("python"))
def test_python(port: str, block: str) -> None:
    code = compile(block.replace("8000", port), "docs/server.md", "exec", dont_inherit=True)
    exec(code, {"__name__": "docs"})


@pytest.mark.slow
@needs_curl
def test_the_command() -> None:
    """It starts, answers, and stops when told to."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    start = blocks("bash")[0].strip().removesuffix("&").replace("8000", port).split()
    assert start[:2] == [".venv/bin/sgl-lite", "serve"]
    command = [sys.executable, "-c", "from sgl_lite.cli import main; main()", *start[1:]]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as server:
        ask(port)
        server.terminate()
        assert server.wait(20) in (0, -signal.SIGTERM)


def test_every_path_and_field_is_there() -> None:
    for path, post in POSTS.items():
        assert path in TEXT or path.removeprefix("/v1") in TEXT
        for name, field in post.body.model_fields.items():
            assert f"`{field.alias or name}`" in TEXT or f"`{name}." in TEXT, name


def test_every_setting_is_there() -> None:
    names = {parameter.name or "" for parameter in typer.main.get_command(cli.app).commands["serve"].params}  # type: ignore[attr-defined]
    assert names >= tomllib.loads(blocks("toml", OPERATIONS)[0]).keys()
    for name in names - {"help"}:
        assert f"`--{name.replace('_', '-')}`" in OPERATIONS


def test_every_metric_and_code_is_there() -> None:
    for name in (*_COUNTERS, *_GAUGES):
        assert f"`{name}`" in OPERATIONS
    for code in (*errors._BODY_CODES.values(), *(code for _, code in errors._CONSTRAINT_CODES)):
        assert f"`{code}`" in TEXT
