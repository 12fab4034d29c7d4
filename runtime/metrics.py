"""Counters and histograms of one engine. In: what the loop observes. Out: one flat dict, and the same for Prometheus.

Written by the loop's thread only; a reader may see the numbers of a step half counted, never wrong ones.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

SECONDS = tuple(base * 10.0**power for power in range(-5, 3) for base in (1.0, 2.0, 5.0))
"""Upper bounds of the buckets, 10 µs to 500 s."""


class Histogram:
    """Counts of observations up to each bound; the last bucket has none."""

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.buckets[bisect.bisect_left(self.bounds, value)] += times
        self.count += times
        self.total += value * times

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The bound of the bucket in which this share of the observations is reached; 0 without observations."""
        wanted, seen = share * self.count, 0
        for bound, count in zip(self.bounds, self.buckets, strict=False):
            seen += count
            if seen >= wanted:
                return bound if self.count else 0.0
        return float("inf")


@dataclass(slots=True)
class Metrics:
    """Counters since the start, in requests, tokens and seconds. Their names are the public ones."""

    requests: int = 0
    requests_finished: int = 0
    requests_aborted: int = 0
    requests_failed: int = 0
    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    computed_tokens: int = 0
    completion_tokens: int = 0
    forced_tokens: int = 0
    step_seconds: Histogram = field(default_factory=Histogram)
    schedule_seconds: Histogram = field(default_factory=Histogram)
    forward_seconds: Histogram = field(default_factory=Histogram)
    mask_seconds: Histogram = field(default_factory=Histogram)
    sample_seconds: Histogram = field(default_factory=Histogram)
    deliver_seconds: Histogram = field(default_factory=Histogram)
    queue_seconds: Histogram = field(default_factory=Histogram)
    first_token_seconds: Histogram = field(default_factory=Histogram)
    inter_token_seconds: Histogram = field(default_factory=Histogram)
    request_seconds: Histogram = field(default_factory=Histogram)

    def counters(self) -> Iterator[tuple[str, int]]:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, int):
                yield name, value

    def histograms(self) -> Iterator[tuple[str, Histogram]]:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, Histogram):
                yield name, value

    def as_dict(self) -> Mapping[str, float]:
        """Counters by name; of each histogram the mean, the median and the 99th percentile (its bucket's bound)."""
        values: dict[str, float] = dict(self.counters())
        for name, histogram in self.histograms():
            values[f"{name}_mean"] = histogram.mean
            values[f"{name}_p50"] = histogram.quantile(0.5)
            values[f"{name}_p99"] = histogram.quantile(0.99)
        return values
