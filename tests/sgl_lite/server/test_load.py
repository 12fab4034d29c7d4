"""Many streams at once, and a server that is told to stop in the middle. SGL_LITE_LOAD_SECONDS=300 makes it long."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.sgl_lite.server.load import Seen, load, measured, served

STREAMS = 256
SECONDS = float(os.environ.get("SGL_LITE_LOAD_SECONDS", "15"))
STOP_SECONDS = 2
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + int(2 * SECONDS))]


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    with served("--max-running", "64", "--stop-seconds", str(STOP_SECONDS)) as started:
        yield started


def test_load(server: tuple[subprocess.Popen[bytes], str]) -> None:
    process, url = server
    seen, told = measured(process, url, SECONDS, STREAMS)
    print(json.dumps(told, indent=1))
    assert not seen.errors and not seen.refused and not seen.told
    assert seen.finished > 20 and seen.valid == seen.constrained > 5 and seen.aborted > 5
    pages = told["pages"]
    assert pages["pages_free"] + pages["pages_evictable"] == pages["pages"] and pages["pages_pinned"] == 0
    before, after = told["memory_kib"]
    if before is not None and after is not None:
        assert after < before * 1.15 + (64 << 10)


def test_stopping_under_load(server: tuple[subprocess.Popen[bytes], str]) -> None:
    """Every client gets its answer, is told that the server stops, or is not let in any more."""
    process, url = server
    seen = Seen()

    async def stop_in_the_middle() -> float:
        running = asyncio.ensure_future(load(url, 300, seen, STREAMS))
        while seen.finished < 20:
            await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        await asyncio.to_thread(process.wait, 60)
        seconds = time.monotonic() - begun
        await running
        return seconds

    seconds = asyncio.run(stop_in_the_middle())
    print(f"stopped in {seconds:.1f} s; {seen.finished} finished, {seen.told} told, {seen.refused} not let in")
    assert seconds < STOP_SECONDS + 3 + 8
    assert process.returncode in (0, -signal.SIGTERM)
    assert not seen.errors, seen.errors[:3]
    assert seen.refused + seen.told > 0
