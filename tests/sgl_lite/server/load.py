"""Many streams against a server at once: a third of them go away early, a third are constrained. In: a server's process
and address. Out: what the clients met, and what it cost. `test_load.py` judges it; `benchmarks/load.py` records it.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jsonschema

from sgl_lite.commands.bench import percentile

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
KINDS = ("plain", "constrained", "aborted")


@contextmanager
def served(*options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`sgl-lite serve` in a process of its own, ready, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from sgl_lite.cli import main; main()", "serve", "--port", str(port)]
    with subprocess.Popen([*command, "--log-level", "error", *options]) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 300
            while not _is_ready(url):
                assert time.monotonic() < until and process.poll() is None
                time.sleep(0.1)
            yield process, url
        finally:
            process.kill()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@dataclass
class Seen:
    """What the clients met. first: seconds to a first piece; gaps: between pieces."""

    finished: int = 0
    constrained: int = 0
    valid: int = 0
    aborted: int = 0
    told: int = 0
    refused: int = 0
    errors: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)


async def one(client: httpx.AsyncClient, rng: random.Random, seen: Seen, kinds: Sequence[str] = KINDS) -> None:
    kind = rng.choice(kinds)
    body: dict[str, Any] = {"model": "embedded", "prompt": f"Generate profile for {rng.randrange(99)}:", "stream": True}
    body |= {"max_tokens": 48, "seed": rng.randrange(1000)}
    if kind == "constrained":
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}}
    last = time.monotonic()
    text, answered, ended = "", False, False
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
                        now = time.monotonic()
                        (seen.gaps if text else seen.first).append(now - last)
                        text, last = text + event["choices"][0]["text"], now
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
        return
    seen.finished += 1
    if kind == "constrained":
        seen.constrained += 1
        seen.valid += jsonschema.Draft202012Validator(SCHEMA).is_valid(json.loads(text))


async def load(url: str, seconds: float, seen: Seen, streams: int, kinds: Sequence[str] = KINDS) -> None:
    """So many at any time; each begins anew when it has ended, until the time is over or the server lets nobody in."""
    until = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=streams, max_keepalive_connections=streams)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=None) as client:

        async def stream(number: int) -> None:
            rng = random.Random(number)
            while time.monotonic() < until and not seen.refused:
                await one(client, rng, seen, kinds)

        await asyncio.gather(*(stream(number) for number in range(streams)))


def memory(process: subprocess.Popen[bytes]) -> int | None:
    """Resident, in KiB; None where the system does not tell."""
    path = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmRSS:\s+(\d+)", path.read_text()) if path.exists() else None
    return int(found[1]) if found else None


def idle(url: str) -> dict[str, Any]:
    """What the server says of itself once nothing is under way."""
    until = time.monotonic() + 20
    while True:
        info: dict[str, Any] = httpx.get(f"{url}/server_info").json()
        if not info["running"] and not info["waiting"]:
            return info
        assert time.monotonic() < until, info


def times(seen: Seen, info: Mapping[str, Any]) -> dict[str, float | None]:
    """Seconds, of clients; in the queue: of the server, by the bounds of its histogram."""
    return {
        **{f"first_token_p{p}": percentile(seen.first, p) for p in (50, 99)},
        **{f"between_tokens_p{p}": percentile(seen.gaps, p) for p in (50, 99)},
        **{f"queue_p{p}": info[f"queue_seconds_p{p}"] for p in (50, 99)},
    }


def measured(process: subprocess.Popen[bytes], url: str, seconds: float, streams: int) -> tuple[Seen, dict[str, Any]]:
    """A tenth of the time one client alone, then the load. Memory: after a third of the load, and at its end."""
    alone, seen = Seen(), Seen()
    asyncio.run(load(url, seconds / 10, alone, 1, ("plain", "constrained")))
    unloaded = times(alone, idle(url))
    asyncio.run(load(url, seconds / 3, seen, streams))
    before = memory(process)
    asyncio.run(load(url, seconds * 2 / 3, seen, streams))
    after, info = memory(process), idle(url)
    return seen, {
        "streams": streams,
        "seconds": seconds,
        **{name: getattr(seen, name) for name in ("finished", "constrained", "valid", "aborted", "told", "refused")},
        "errors": seen.errors[:5],
        "unloaded": unloaded,
        "loaded": times(seen, info),
        "memory_kib": [before, after],
        "pages": {name: info[name] for name in ("pages", "pages_free", "pages_evictable", "pages_pinned")},
    }
