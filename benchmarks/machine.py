"""What benchmarks share: where and with what one ran, which is part of every file in `results/`, and a time limit."""

from __future__ import annotations

import json
import os
import platform
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine(threads: int) -> dict[str, Any]:
    return {"chip": chip(), "cores": os.cpu_count(), "threads": threads, "load": os.getloadavg()[0]}


def versions() -> dict[str, str]:
    return {package: version(package) for package in ("torch", "transformers", "numba", "numpy")}


def chip() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def record(name: str, threads: int, **results: Any) -> None:
    """Write `results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine(threads), "versions": versions(), **results}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


@contextmanager
def at_most(limit: float) -> Iterator[None]:
    """TimeoutError in what takes longer, in seconds. Main thread only."""

    def expire(*_: object) -> None:
        raise TimeoutError(f"not done after {limit:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
