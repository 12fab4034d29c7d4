"""Many streams at once: a third ends early, a third is constrained. SGL_LITE_LOAD_SECONDS=300 makes it long."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

STREAMS = 256
SECONDS = float(os.environ.get("SGL_LITE_LOAD_SECONDS", "15"))
STOP_SECONDS = 2
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + int(SECONDS))]


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from sgl_lite.cli import main; main()", "serve", "--port", str(port)]
    command += ["--log-level", "error", "--max-running", "64", "--stop-seconds", str(STOP_SECONDS)]
    with subprocess.Popen(command) as process:
        url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 120
        while not is_ready(url):
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.1)
        yield process, url
        process.kill()


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@dataclass
class Seen:
    """What the clients met."""

    finished: int = 0
    constrained: int = 0
    aborted: int = 0
    told: int = 0
    refused: int = 0
    errors: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)


async def one(client: httpx.AsyncClient, rng: random.Random, seen: Seen) -> None:
    kind = rng.choice(("plain", "constrained", "aborted"))
    body: dict[str, Any] = {"model": "embedded", "prompt": f"Generate profile for {rng.randrange(99)}:", "stream": True}
    body |= {"max_tokens": 48, "seed": rng.randrange(1000)}
    if kind == "constrained":
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}
    begun, text, answered, ended = time.monotonic(), "", False, False
    try:
        async with asyncio.timeout(rng.random() * 3 if kind == "aborted" else 300):
            async with client.stream("POST", "/v1/completions", json=body) as response:
                answered = True
                if response.status_code != 200:
                    raw = (await response.aread()).decode()
                    if response.status_code == 503:
                        seen.told += 1
                    else:
                        seen.errors.append(f"{response.status_code} {raw}")
                    return
                async for line in response.aiter_lines():
                    if line == "data: [DONE]":
                        ended = True
                    elif line.startswith("data: "):
                        event = json.loads(line[6:])
                        if "error" in event:
                            seen.told += event["error"]["code"] == "server_stopping"
                            if event["error"]["code"] != "server_stopping":
                                seen.errors.append(line)
                            return
                        if not text:
                            seen.first.append(time.monotonic() - begun)
                        text += event["choices"][0]["text"]
    except TimeoutError:
        seen.aborted += 1
        if kind != "aborted":
            seen.errors.append(f"a {kind} answer took more than 300 s")
        return
    except httpx.HTTPError as error:
        if answered:
            seen.errors.append(repr(error))
        else:  # not let in, or on a connection that was just closed because it was idle
            seen.refused += 1
        return
    if not ended:
        seen.errors.append("a stream ended without its end")
    seen.finished += 1
    if kind == "constrained":
        seen.constrained += 1
        person = json.loads(text)
        assert set(person) == {"name", "age"} and 0 <= person["age"] <= 99 and len(person["name"]) <= 8


async def load(url: str, seconds: float, seen: Seen) -> None:
    until = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=STREAMS, max_keepalive_connections=STREAMS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=None) as client:

        async def stream(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < until and not seen.refused:
                await one(client, rng, seen)

        await asyncio.gather(*(stream(number) for number in range(STREAMS)))


def memory(process: subprocess.Popen[bytes]) -> int | None:
    """Resident, in KiB; None where the system does not tell."""
    path = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmRSS:\s+(\d+)", path.read_text()) if path.exists() else None
    return int(found[1]) if found else None


def test_load(server: tuple[subprocess.Popen[bytes], str]) -> None:
    process, url = server
    alone = Seen()
    asyncio.run(one_alone(url, alone))
    seen = Seen()
    asyncio.run(load(url, SECONDS / 3, seen))
    before = memory(process)
    asyncio.run(load(url, SECONDS * 2 / 3, seen))
    after = memory(process)
    assert not seen.errors and not seen.refused and not seen.told, (seen.errors[:3], seen.refused, seen.told)
    assert seen.finished > 20 and seen.constrained > 5 and seen.aborted > 5
    info: dict[str, Any] = {}
    until = time.monotonic() + 20
    while not info or info["running"] or info["waiting"]:
        assert time.monotonic() < until, info
        info = httpx.get(f"{url}/server_info").json()
    assert info["pages_free"] + info["pages_evictable"] == info["pages"] and info["pages_pinned"] == 0
    if before is not None and after is not None:
        assert after < before * 1.15 + (64 << 10), (before, after)
    first = sorted(seen.first)
    print(
        f"\n{seen.finished} finished, {seen.constrained} of them constrained, {seen.aborted} aborted; first token "
        f"p50 {first[len(first) // 2]:.3f} s, p99 {first[len(first) * 99 // 100]:.3f} s, alone {alone.first[0]:.3f} s; "
        f"memory {before} -> {after} KiB"
    )


async def one_alone(url: str, seen: Seen) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        while not seen.first:
            await one(client, random.Random(1), seen)


def test_stopping_under_load(server: tuple[subprocess.Popen[bytes], str]) -> None:
    """Every client gets its answer, is told that the server stops, or is not let in any more."""
    process, url = server
    seen = Seen()

    async def stop_in_the_middle() -> float:
        running = asyncio.ensure_future(load(url, 120, seen))
        await asyncio.sleep(3)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        await asyncio.to_thread(process.wait, 60)
        seconds = time.monotonic() - begun
        await running
        return seconds

    seconds = asyncio.run(stop_in_the_middle())
    assert seconds < STOP_SECONDS + 3 + 8
    assert process.returncode in (0, -signal.SIGTERM)
    assert not seen.errors, seen.errors[:3]
    assert seen.refused + seen.told > 0
