"""One engine for all tests of the server, and one live server on a loopback port in front of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import openai
import pytest
from starlette.testclient import TestClient

from sgl_lite.backends.local import Engine, LocalBackend
from sgl_lite.server.app import create_app
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.serving import HttpServer, http_server

MODEL, KEY = "embedded", "a-key-of-the-tests"
CONFIG = ServerConfig(model_name=MODEL, revision="r1", api_keys=("another-key", KEY), stop_seconds=5)


@pytest.fixture(scope="session")
def backend() -> Iterator[LocalBackend]:
    """The embedded model."""
    with Engine(kv_cache_bytes=64 << 20, num_threads=1) as engine:
        yield LocalBackend.of(engine)


def run_in_thread(server: HttpServer) -> tuple[threading.Thread, str]:
    """The thread, and the server's address."""
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < until and thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return thread, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def address(backend: LocalBackend) -> Iterator[str]:
    server = http_server(backend, CONFIG, port=0)
    thread, url = run_in_thread(server)
    yield url
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="session")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0, timeout=60) as one:
        yield one


@pytest.fixture(scope="session")
def raw(backend: LocalBackend) -> Iterator[TestClient]:
    """The app without a network; its errors reach the test."""
    with TestClient(create_app(backend, CONFIG), headers={"Authorization": f"Bearer {KEY}"}) as one:
        yield one


@pytest.fixture(autouse=True)
def nothing_leaks(backend: LocalBackend) -> Iterator[None]:
    """After each test the engine is idle, soon, and its pages add up."""
    yield
    until = time.monotonic() + 10
    while (stats := backend.engine.stats())["running"] or stats["waiting"]:
        assert time.monotonic() < until, stats
        time.sleep(0.01)
    backend.engine.check_invariants()
