"""Values worth keeping, up to so many bytes, the ones used longest ago dropped first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    @property
    def num_bytes(self) -> int: ...


V = TypeVar("V", bound=Sized)


class BoundedStore(Generic[V]):
    """May be used from any thread. A value larger than all room is handed out, and not kept."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[bytes, V] = OrderedDict()
        self._making: dict[bytes, threading.Lock] = {}
        self._lock = threading.Lock()
        self.num_bytes = 0
        self.num_hits = 0

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: bytes) -> bool:
        return key in self._values

    def holds(self, num_bytes: int) -> bool:
        """Whether values of that size can be kept together."""
        return num_bytes <= self._max_bytes

    def get(self, key: bytes) -> V | None:
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self.num_hits += 1
                self._values.move_to_end(key)
            return value

    def put(self, key: bytes, value: V) -> None:
        with self._lock:
            old = self._values.pop(key, None)
            self.num_bytes -= 0 if old is None else old.num_bytes
            if value.num_bytes > self._max_bytes:
                return
            self._values[key] = value
            self.num_bytes += value.num_bytes
            while self.num_bytes > self._max_bytes:
                _, dropped = self._values.popitem(last=False)
                self.num_bytes -= dropped.num_bytes

    def get_or_make(self, key: bytes, make: Callable[[], V]) -> V:
        """Made once, however many threads ask at the same time (unless there is no room to keep it)."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        try:
            with making:
                value = self.get(key)
                if value is None:
                    value = make()
                    self.put(key, value)
                return value
        finally:
            with self._lock:
                self._making.pop(key, None)
