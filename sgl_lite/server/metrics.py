"""`GET /metrics`. In: the engine's counters and what the gate observes. Out: Prometheus' text.

Every name begins with `sgl_lite_`. Those of the engine are `runtime.metrics.Metrics`' own; docs/server.md lists all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sgl_lite.server.desk import Desk

PREFIX = "sgl_lite_"
_GAUGES = {
    "running": "Answers that are being generated.",
    "waiting": "Answers that wait for room.",
    "pages": "Pages of the KV pool.",
    "pages_free": "Pages that hold nothing.",
    "pages_evictable": "Cached pages that nobody uses now.",
    "pages_pinned": "Cached pages that stay.",
    "pages_cached": "Pages in the radix tree.",
    "radix_nodes": "Nodes of the radix tree.",
}
_COUNTERS = {
    "preemptions": "Answers that gave up their pages to others.",
    "evicted_pages": "Cached pages that were given up.",
    "cache_queried_tokens": "Prompt tokens looked up in the radix tree.",
    "cache_hit_tokens": "Of these, found there.",
}


class EngineCollector(Collector):
    """Reads the engine when Prometheus asks. engine: has `metrics` and `stats()` as `runtime.engine.Engine`."""

    def __init__(self, engine: Any, desk: Desk) -> None:
        self._engine, self._desk = engine, desk

    def collect(self) -> Iterator[Metric]:
        metrics, stats = self._engine.metrics, self._engine.stats()
        for name, count in metrics.counters():
            yield CounterMetricFamily(PREFIX + name, f"{name.replace('_', ' ')} since the start.", value=count)
        for name, help_text in _COUNTERS.items():
            yield CounterMetricFamily(PREFIX + name, help_text, value=stats[name])
        for name, help_text in _GAUGES.items():
            yield GaugeMetricFamily(PREFIX + name, help_text, value=stats[name])
        yield GaugeMetricFamily(PREFIX + "under_way", "Answers admitted and not ended.", value=self._desk.under_way)
        yield CounterMetricFamily(PREFIX + "rejected", "Calls told that the server is full.", value=self._desk.rejected)
        for name, histogram in metrics.histograms():
            help_text = f"{name.removesuffix('_seconds').replace('_', ' ')}, in seconds."
            yield HistogramMetricFamily(PREFIX + name, help_text, _buckets(histogram), sum_value=histogram.total)


def _buckets(histogram: Any) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them."""
    total, buckets = 0, []
    for bound, count in zip([*histogram.bounds, float("inf")], list(histogram.buckets), strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else repr(bound), float(total)))
    return buckets


class ServerMetrics:
    """Counts HTTP requests, and shows them with the engine's numbers. paths: all others are counted as one."""

    def __init__(self, engine: Any, desk: Desk, paths: Iterable[str]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(EngineCollector(engine, desk))
        self._paths = frozenset(paths)
        labels = ("method", "path", "status")
        self._requests = Counter(
            PREFIX + "http_requests", "HTTP requests that are over.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            PREFIX + "http_request_seconds", "From the first byte to the last.", ("path",), registry=self._registry
        )

    def observe(self, method: str, path: str, status: int, seconds: float) -> None:
        path = path if path in self._paths else "other"
        method = method if method in ("GET", "POST") else "other"
        self._requests.labels(method, path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)
