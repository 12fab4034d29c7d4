"""How threads and event loops learn that something changed. Knows nothing of what it is that changes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable


class Changes:
    """A lock, and those who wait for what changes under it.

    `ready` functions are called by whoever waits, without the lock; they must not wait.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []

    def notify(self, also: Iterable[Callable[[], None]] = ()) -> None:
        """Something changed. `also`: called once, after those who wait were told."""
        for call in (*self._listeners, *also):
            call()

    def wait(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Until `ready()`, or False after `timeout` seconds."""
        if ready():
            return True
        end = None if timeout is None else time.monotonic() + timeout
        changed = threading.Event()
        remove = self.listen(changed.set)
        try:
            while not ready():
                if not changed.wait(None if end is None else end - time.monotonic()):
                    return ready()
                changed.clear()
            return True
        finally:
            remove()

    async def wait_async(self, ready: Callable[[], bool]) -> None:
        """Until `ready()`, without blocking the event loop."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(changed.set)

        remove = self.listen(wake)
        try:
            while not ready():
                await changed.wait()
                changed.clear()
        finally:
            remove()

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener`, from any thread, after every change. Returns what ends that."""
        with self.lock:
            self._listeners.append(listener)

        def remove() -> None:
            with self.lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return remove
