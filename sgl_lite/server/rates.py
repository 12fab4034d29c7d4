"""How many requests each client may send. In: who asks, and when. Out: how long to wait, if at all."""

from __future__ import annotations

import math
from collections import OrderedDict

MAX_CLIENTS = 10_000
"""Remembered at a time; the one that was silent longest is forgotten first, and then begins anew."""


class Rates:
    """A bucket for each client, that holds a minute's requests and is filled steadily."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._clients: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def take(self, client: bytes, now: float) -> int:
        """0 if the request may pass; else after how many seconds the next one may. now: seconds, rising."""
        left, before = self._clients.pop(client, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - before) * self._per_minute / 60)
        wait = 0 if left >= 1 else math.ceil((1 - left) * 60 / self._per_minute)
        self._clients[client] = (left if wait else left - 1, now)
        if len(self._clients) > MAX_CLIENTS:
            self._clients.popitem(last=False)
        return wait
