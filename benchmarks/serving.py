"""Servers side by side: 32 clients at once that ask for JSON under a schema, or share a long beginning.

    python -m benchmarks.serving [--peer NAME=URL] [--requests 32] [--clients 32] [--rounds 3]

The model is the one of `benchmarks/engines.py`: 134.5 million random parameters, bf16. This server is started here; a
peer runs already on this machine, serves the same folder as "model", and speaks OpenAI's completions. All run at the
same time and take turns, so that what else the machine does meets them alike. Requests a second and percentiles are of
the wall clock, with the clients on the same cores; `cpu_seconds` are of the server's processes alone. Medians over the
rounds, after one that warms up. `valid`: the share of JSON answers that satisfy the schema.
Writes benchmarks/results/serving.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import jsonschema
import psutil

from benchmarks.engines import MODEL, make_model
from benchmarks.machine import record
from sgl_lite.commands.bench import PERSON, Timed, bodies_of, run, summary
from tests.sgl_lite.server.load import served

WORKLOADS = {"json": 32, "shared": 32}
"""The most tokens of an answer."""


def process_at(url: str) -> psutil.Process:
    """The one that listens there."""
    port = urllib.parse.urlsplit(url).port
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return psutil.Process(connection.pid)
    raise SystemExit(f"nothing listens at {url}")


def cpu_seconds(server: psutil.Process) -> float:
    """Of the process and its children so far."""
    processes = [server, *server.children(recursive=True)]
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def measure(url: str, workload: str, options: argparse.Namespace, first: int) -> dict[str, Any]:
    server = process_at(url)
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
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=URL")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not (MODEL / "config.json").exists():
        make_model()
    peers = dict(peer.split("=", 1) for peer in options.peer)
    serve = ("--model", str(MODEL), "--served-model-name", "model", "--context-length", "2048")
    with served(*serve) as (_, url):
        results = measure_all({"sgl-lite": url, **peers}, options)
    medians = {w: {name: median(rounds) for name, rounds in found.items()} for w, found in results.items()}
    record("serving", 1, clients=options.clients, requests=options.requests, rounds=options.rounds, workloads=medians)


def measure_all(urls: Mapping[str, str], options: argparse.Namespace) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """By workload and server, the figures of each round."""
    results: dict[str, dict[str, list[dict[str, Any]]]] = {
        workload: {name: [] for name in urls} for workload in WORKLOADS
    }
    for round_ in range(options.rounds + 1):
        for workload, name in itertools.product(WORKLOADS, urls):
            figures = measure(urls[name], workload, options, round_ * options.requests)
            print(round_, name, workload, json.dumps(figures), flush=True)
            if round_:  # the first one warms up
                results[workload][name].append(figures)
    return results


if __name__ == "__main__":
    main()
