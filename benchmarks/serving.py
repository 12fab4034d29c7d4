"""Servers side by side on a CPU: 32 clients at once that ask for JSON under a schema, or share a long beginning.

    python -m benchmarks.serving [--vllm VENV] [--requests 64] [--clients 32] [--rounds 3] [--threads 1]

The model is the one of `benchmarks/engines.py`: 134.5 million random parameters, bf16. All servers run at the same time
and take turns, so that what else the machine does meets them alike. Requests a second and percentiles are of the wall
clock, with the clients on the same cores; `cpu_seconds` are of the server's processes alone. Medians over the rounds.
`valid`: the share of JSON answers that satisfy the schema. VENV: a virtual environment with vLLM's CPU build.
Writes benchmarks/results/serving.json.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import jsonschema
import psutil

from benchmarks.engines import MODEL, make_model
from benchmarks.machine import record
from sgl_lite.commands.bench import PERSON, Timed, bodies_of, run, summary

WORKLOADS = {"json": 64, "shared": 32}
"""The most tokens of an answer."""
START_SECONDS = 900


def commands(vllm: str | None) -> dict[str, list[str]]:
    """What starts each server, but for its port."""
    ours = [sys.executable, "-c", "from sgl_lite.cli import main; main()", "serve", "--model", str(MODEL)]
    found = {"sgl-lite": [*ours, "--served-model-name", "model", "--context-length", "2048", "--log-level", "error"]}
    if vllm is not None:
        theirs = [f"{vllm}/bin/python", "-m", "vllm.entrypoints.openai.api_server", "--model", str(MODEL)]
        limits = ["--max-model-len", "2048", "--max-num-seqs", "64", "--max-num-batched-tokens", "2048"]
        found["vllm"] = [*theirs, "--served-model-name", "model", "--dtype", "bfloat16", *limits]
    return found


@contextmanager
def served(command: list[str], threads: int) -> Iterator[tuple[psutil.Process, str]]:
    """The server's process and address, once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    more = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    more |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    with subprocess.Popen([*command, "--port", str(port)], env=os.environ | more) as process:
        try:
            _wait_until_ready(process, f"http://127.0.0.1:{port}")
            yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError):
            assert process.poll() is None and time.monotonic() < until, f"{process.args} does not start"
            time.sleep(0.5)


def cpu_seconds(server: psutil.Process) -> float:
    """Of the process and its children so far."""
    processes = [server, *server.children(recursive=True)]
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def measure(server: psutil.Process, url: str, workload: str, options: argparse.Namespace, first: int) -> dict[str, Any]:
    bodies = list(bodies_of(workload, options.requests, "model", WORKLOADS[workload], first))
    used, begun = cpu_seconds(server), time.perf_counter()
    headers = {"Content-Type": "application/json"}
    timed = run(f"{url}/v1/completions", headers, bodies, options.clients, None, random.Random(0))
    figures = summary(timed, time.perf_counter() - begun)
    errors = [one.error for one in timed if one.error is not None]
    assert not errors, errors[0]
    figures["cpu_seconds"] = cpu_seconds(server) - used
    if workload == "json":
        figures["valid"] = sum(_is_valid(one) for one in timed) / len(timed)
    return figures


def _is_valid(one: Timed) -> bool:
    try:
        return jsonschema.Draft202012Validator(PERSON).is_valid(json.loads(one.text))
    except ValueError:
        return False


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each figure; those in groups too."""
    return {
        name: median([one[name] for one in rounds])
        if isinstance(value, Mapping)
        else statistics.median(one[name] for one in rounds)
        for name, value in rounds[0].items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vllm")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if not (MODEL / "config.json").exists():
        make_model()
    results: dict[str, dict[str, list[dict[str, Any]]]] = {}
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(served(command, options.threads))
            for name, command in commands(options.vllm).items()
        }
        for round_ in range(-1, options.rounds):  # the first one warms up
            for workload in WORKLOADS:
                for name, (server, url) in servers.items():
                    figures = measure(server, url, workload, options, (round_ + 1) * options.requests)
                    print(round_, name, workload, json.dumps(figures), flush=True)
                    if round_ >= 0:
                        results.setdefault(workload, {}).setdefault(name, []).append(figures)
    medians = {w: {name: median(rounds) for name, rounds in found.items()} for w, found in results.items()}
    record("serving", options.threads, clients=options.clients, rounds=options.rounds, workloads=medians)


if __name__ == "__main__":
    main()
