"""The files for containers, monitoring and the documentation site: read, and held against what is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

ROOT = Path(__file__).parents[3]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_dockerfile() -> None:
    steps = instructions()
    known = {"FROM", "ARG", "WORKDIR", "RUN", "ENV", "COPY", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK",
             "ENTRYPOINT"}  # fmt: skip
    assert {name for name, _ in steps} <= known
    last = steps[[i for i, (name, _) in enumerate(steps) if name == "FROM"][-1] :]
    names = [name for name, _ in last]
    assert names.index("USER") < names.index("ENTRYPOINT") and dict(last)["USER"] not in ("root", "0")
    assert "HEALTHCHECK" in names and dict(last)["VOLUME"] == "/models"
    assert json.loads(dict(last)["ENTRYPOINT"]) == ["sgl-lite", "serve"]
    for name, rest in steps:
        if name == "FROM":
            assert re.match(r"python:3\.\d+-slim-\w+( AS build)?$", rest), "a tag that names its version"
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
        if name == "RUN":
            assert "sudo" not in rest and "curl" not in rest
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = {s for n, r in steps if n == "COPY" and not r.startswith("--from") for s in r.split()[:-1]}
    assert ignored[0] == "*" and copied <= {line[1:] for line in ignored if line.startswith("!")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_without_an_engine(tmp_path: Path) -> None:
    """What the image copies is installed alone, started as the image starts it, and found healthy by its own check.

    Dependencies are those of this environment.
    """
    steps = instructions()
    source, site, home = (tmp_path / name for name in ("src", "site", "home"))
    source.mkdir(), home.mkdir()
    for name, rest in steps:
        if name == "COPY" and not rest.startswith("--from"):
            for path in rest.split()[:-1]:
                copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
                copy(ROOT / path, source / path)
    install = ["pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site), str(source)]
    subprocess.run([sys.executable, "-m", *install], check=True, timeout=300)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    said = dict(pair.split("=", 1) for name, rest in steps if name == "ENV" for pair in rest.split() if "=" in pair)
    of_server = {name: value for name, value in said.items() if name.startswith("SGL_LITE")}
    environment = os.environ | of_server | {"SGL_LITE_SERVE_PORT": port, "PYTHONPATH": str(site)}
    environment |= {"NUMBA_CACHE_DIR": str(home / "numba"), "HF_HOME": str(home), "SGL_LITE_API_KEY": "secret"}
    main = "import sgl_lite.cli as c, sys; assert c.__file__.startswith(sys.argv[1]); c.main(sys.argv[2:])"
    check = json.loads(dict(steps)["HEALTHCHECK"].partition("CMD ")[2])
    check = [sys.executable, *(word.replace("8000", port) for word in check[1:])]
    with subprocess.Popen([sys.executable, "-c", main, str(site), "serve"], env=environment, cwd=home) as server:
        try:
            until = time.monotonic() + 500
            while subprocess.run(check, capture_output=True, timeout=60).returncode:
                assert server.poll() is None and time.monotonic() < until
                time.sleep(1)
        finally:
            server.terminate()
    assert server.returncode in (0, -signal.SIGTERM)


def test_it_installs_the_pinned_torch() -> None:
    assert re.search(r"^torch==[0-9.]+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def test_compose() -> None:
    services = load("compose.yaml")["services"]
    assert set(services) == {"server", "prometheus", "grafana"}
    for service in services.values():
        assert not re.search(r":latest$|^[^:]+$", service.get("image", "x:1"))
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (ROOT / source).is_file(), source
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), "open to this machine only"
    (job,) = load("docs/monitoring/prometheus.yml")["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["server:8000"]
    assert load("docs/monitoring/datasource.yml")["datasources"][0]["url"] == "http://prometheus:9090"


def test_the_dashboard_shows_what_the_server_tells(raw: TestClient) -> None:
    board = json.loads((ROOT / "docs/monitoring/dashboard.json").read_text(encoding="utf-8"))
    told = set(re.findall(r"^(sgl_lite_\w+)", raw.get("/metrics").text, re.MULTILINE))
    told |= {"sgl_lite_http_requests_total"}
    asked = {
        name for panel in board["panels"] for t in panel["targets"] for name in re.findall(r"sgl_lite_\w+", t["expr"])
    }
    assert asked and asked <= told, asked - told
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
    assert len(set(places)) == len(places)


def test_the_site_has_its_pages_and_their_links_lead_somewhere() -> None:
    site = load("mkdocs.yml")
    pages = [page for entry in site["nav"] for page in entry.values()]
    assert len(pages) == len(set(pages)) and all((ROOT / "docs" / page).is_file() for page in pages)
    for page in pages:
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
            assert link.startswith("http") or (ROOT / "docs" / link).exists(), f"{page}: {link}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mkdocs") is None, reason="needs the extra docs")
def test_the_site_builds(tmp_path: Path) -> None:
    command = ["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "operations" / "index.html").is_file()


def test_every_benchmark_is_told() -> None:
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    scripts = {path.name for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")}
    assert scripts and all(f"`{name}`" in page for name in scripts), scripts


def test_extras_are_told() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in extras)
