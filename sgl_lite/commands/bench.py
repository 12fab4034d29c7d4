"""`sgl-lite bench`: asks a running server as many clients would, and says how long it took.

In: a URL, a load, requests. Out: counts, percentiles, and a plot. Speaks OpenAI's streamed completions, so that any
server can be measured.
"""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sgl_lite.commands.plot import cumulative_svg
from sgl_lite.progress import progress

console = Console()
PERCENTILES = (50, 90, 99)
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
_SHARED = "These are the rules of the game, which everyone has to read before the first turn. " * 12


@dataclass(slots=True)
class Timed:
    """One request: its answer, seconds to its first piece and to its end, between pieces, and what went wrong."""

    first: float = 0.0
    total: float = 0.0
    gaps: list[float] = field(default_factory=list)
    tokens: int = 0
    text: str = ""
    error: str | None = None


def bench(
    url: Annotated[str, typer.Option(help="The server.")] = "http://127.0.0.1:8000",
    model: Annotated[str, typer.Option(help="What the server calls its model.")] = "embedded",
    requests: Annotated[int, typer.Option(help="How many, all in all.", min=1)] = 64,
    concurrency: Annotated[int, typer.Option(help="Clients at the same time.", min=1)] = 8,
    rate: Annotated[float | None, typer.Option(help="Requests a second, at random moments. Default: at once.")] = None,
    dataset: Annotated[
        str, typer.Option(help="text, json, shared, or a file of JSON lines, each the fields of a completion.")
    ] = "text",
    max_tokens: Annotated[int, typer.Option(help="Length of an answer, in tokens.", min=1)] = 32,
    api_key: Annotated[str | None, typer.Option(envvar="SGL_LITE_API_KEY", help="If the server needs one.")] = None,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Write latencies as a picture (.svg).")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the figures as JSON.")] = None,
) -> None:
    """Measure a running server: requests a second, time to the first token, between tokens, and to the end.

    Example: [bold]sgl-lite bench --requests 200 --concurrency 32 --dataset json[/bold]
    """
    bodies = list(bodies_of(dataset, requests, model, max_tokens))
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
    begun = time.perf_counter()
    timed = run(f"{url.rstrip('/')}/v1/completions", headers, bodies, concurrency, rate, random.Random(seed))
    seconds = time.perf_counter() - begun
    figures = summary(timed, seconds)
    _print(figures)
    if output is not None:
        output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    good = [one for one in timed if one.error is None]
    if plot is not None and good:
        lines = {"first token": [one.first for one in good], "whole answer": [one.total for one in good]}
        plot.write_text(cumulative_svg(lines, "seconds", "share of requests"), encoding="utf-8")
    failed = [one.error for one in timed if one.error is not None]
    if failed:
        console.print(f"[red]{len(failed)} failed[/red], the first: {failed[0]}")
        raise typer.Exit(1)


def bodies_of(dataset: str, count: int, model: str, max_tokens: int, first: int = 0) -> Iterator[dict[str, Any]]:
    """A file's lines again and again, or one of the built-in loads. first: another one, other prompts."""
    common = {"model": model, "max_tokens": max_tokens, "stream": True, "stream_options": {"include_usage": True}}
    if dataset not in ("text", "json", "shared"):
        try:
            lines = [json.loads(line) for line in Path(dataset).read_text(encoding="utf-8").splitlines() if line]
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"{dataset}: {error}") from None
        if not lines or not all(isinstance(line, dict) for line in lines):
            raise typer.BadParameter(f"{dataset} must hold JSON objects, one a line")
        for index in range(count):
            yield {**common, **lines[index % len(lines)]}
        return
    schema = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    for index in range(first, first + count):
        match dataset:
            case "json":
                yield {**common, "prompt": f"Generate profile for person {index}:", "response_format": schema}
            case "shared":
                yield {**common, "prompt": f"{_SHARED}Player {index} says:", "ignore_eos": True}
            case _:
                yield {**common, "prompt": f"{index} reasons to go on:", "ignore_eos": True}


def run(
    url: str,
    headers: Mapping[str, str],
    bodies: Sequence[dict[str, Any]],
    concurrency: int,
    rate: float | None,
    rng: random.Random,
) -> list[Timed]:
    """Send them all; rate: at exponentially distributed distances, else as soon as a client is free."""
    timed = [Timed() for _ in bodies]
    with progress("bench", len(bodies)) as advance, ThreadPoolExecutor(concurrency) as pool:

        def one(index: int) -> None:
            _ask(url, headers, bodies[index], timed[index])
            advance()

        for index in range(len(bodies)):
            pool.submit(one, index)
            if rate is not None:
                threading.Event().wait(rng.expovariate(rate))
    return timed


def _ask(url: str, headers: Mapping[str, str], body: dict[str, Any], timed: Timed) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), dict(headers))
    begun = last = time.perf_counter()
    try:
        with urllib.request.urlopen(request) as response:
            for line in response:
                event = line.decode().strip().removeprefix("data:").strip()
                if not event or event == "[DONE]":
                    continue
                answer = json.loads(event)
                if "error" in answer:
                    timed.error = str(answer["error"].get("message"))
                    return
                if answer.get("usage"):
                    timed.tokens = answer["usage"]["completion_tokens"]
                if piece := "".join(choice.get("text") or "" for choice in answer.get("choices", ())):
                    timed.text += piece
                    now = time.perf_counter()
                    if timed.first:
                        timed.gaps.append(now - last)
                    else:
                        timed.first = now - begun
                    last = now
        timed.total = time.perf_counter() - begun
        timed.first = timed.first or timed.total
    except urllib.error.HTTPError as error:
        timed.error = f"{error.code}: {error.read().decode(errors='replace')[:200]}"
    except OSError as error:
        timed.error = f"{url} cannot be reached: {error}"


def summary(timed: Sequence[Timed], seconds: float) -> dict[str, Any]:
    """Requests and tokens a second, and percentiles in seconds."""
    good = [one for one in timed if one.error is None]
    columns = {
        "first_token": [one.first for one in good],
        "between_tokens": [gap for one in good for gap in one.gaps],
        "whole_answer": [one.total for one in good],
    }
    return {
        "requests": len(timed),
        "failed": len(timed) - len(good),
        "seconds": seconds,
        "requests_per_second": len(good) / seconds,
        "tokens_per_second": sum(one.tokens for one in good) / seconds,
        **{name: {f"p{p}": percentile(values, p) for p in PERCENTILES} for name, values in columns.items()},
    }


def percentile(values: Sequence[float], share: int) -> float | None:
    """The smallest value that at least `share` percent do not exceed; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, -(-len(values) * share // 100) - 1)]


def _print(figures: Mapping[str, Any]) -> None:
    console.print(
        f"{figures['requests']} requests in {figures['seconds']:.2f} s: "
        f"{figures['requests_per_second']:.1f} requests/s, {figures['tokens_per_second']:.0f} tokens/s"
    )
    table = Table("ms", *(f"p{share}" for share in PERCENTILES))
    for name in ("first_token", "between_tokens", "whole_answer"):
        values = figures[name].values()
        table.add_row(name.replace("_", " "), *("-" if v is None else f"{v * 1000:.1f}" for v in values))
    console.print(table)
