"""The nodes of one state that are still to be carried out, and all who wait for that.

Event driven: a node that asks the model sends its request and returns; the engine's answer takes the queue on
(`resume`). Nodes that need no model are carried out where they are added, in the program's thread. No thread belongs to
a state, so thousands can be under way. Knows of a node only whether it waits; all waiting is done by whoever reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from sgl_lite.interpreter.changes import Changes
from sgl_lite.interpreter.run import advancing
from sgl_lite.interpreter.spans import Placed


class NodeQueue:
    """carry_out: does what a node says; returns whether the state now waits for the model.
    failed:    told of what `carry_out` raised.
    held:      whether nothing is carried out before the first `resume`.
    error:     why the queue stopped, None while it goes on. broken: the program's own code failed, so that not even
               what was there before can be read.
    """

    def __init__(
        self,
        carry_out: Callable[[Placed], bool],
        failed: Callable[[Exception, Placed], None],
        held: bool = False,
    ) -> None:
        self.changes = Changes()
        self.error: BaseException | None = None
        self.broken = False
        self._traceback: Any = None
        self._carry_out, self._failed = carry_out, failed
        self._waiting: deque[Placed] = deque()
        self._when_idle: list[Callable[[], None]] = []
        self._busy = held

    def put(self, placed: list[Placed]) -> None:
        """Carry these out, when those before them are done."""
        if placed:
            with self.changes.lock:
                if self.error is None:
                    self._waiting.extend(placed)
            self._advance()

    def resume(self) -> None:
        """The node that waited is done; the next one is sent from another thread than the engine's."""
        with self.changes.lock:
            self._busy = False
            more = bool(self._waiting)
        self.notify()
        if more:
            advancing().submit(self._advance)

    def stop(self, error: BaseException, broken: bool) -> list[Placed]:
        """Nothing more is carried out. Returns what was left; nothing if the queue had stopped before."""
        with self.changes.lock:
            if self.error is not None:
                return []
            self.error, self._traceback, self.broken = error, error.__traceback__, broken
            left, self._waiting = list(self._waiting), deque()
            self._busy = False
        self.notify()
        return left

    def _advance(self) -> None:
        """Carry out nodes until one waits for the model, or none is left. Whoever finds the state busy leaves it be."""
        while True:
            with self.changes.lock:
                if self._busy or not self._waiting or self.error is not None:
                    return
                self._busy = True  # first, so that nobody who looks without the lock takes it for idle
                placed = self._waiting.popleft()
            try:
                waits = self._carry_out(placed)
            except Exception as error:
                self._failed(error, placed)
                return
            if waits:
                return
            with self.changes.lock:
                self._busy = False
                last = not self._waiting
            if last:
                self.notify()

    # ------------------------------------------------------------------ waiting

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do."""
        return self.error is not None or not (self._busy or self._waiting)

    def raise_error(self) -> None:
        """Raise what stopped the queue, if it stopped."""
        if self.error is not None:
            raise self.error.with_traceback(self._traceback)

    def wait_for(self, ready: Callable[[], bool], timeout: float | None = None) -> bool:
        """Until `ready()`, or False after `timeout` seconds. Errors: what stopped the queue before."""
        in_time = self.changes.wait(lambda: ready() or self.error is not None, timeout)
        if in_time and not ready():
            self.raise_error()
        return in_time

    async def wait_async(self, ready: Callable[[], bool]) -> None:
        """As `wait_for`, without blocking the event loop."""
        await self.changes.wait_async(lambda: ready() or self.error is not None)
        if not ready():
            self.raise_error()

    def when_idle(self, call: Callable[[], None]) -> None:
        """Call once, from any thread, when nothing is left to do; at once if that is so already."""
        with self.changes.lock:
            if not self.idle:
                self._when_idle.append(call)
                return
        call()

    def notify(self) -> None:
        """Tell all who wait that something changed."""
        told: list[Callable[[], None]] = []
        if self._when_idle:
            with self.changes.lock:
                if self.idle:
                    told, self._when_idle = self._when_idle, told
        self.changes.notify(told)
