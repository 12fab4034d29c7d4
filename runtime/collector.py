"""Python's collector leaves alone what libraries have made, and what is there when an engine becomes ready, until no
engine is left.

A full collection goes through the million objects that torch, transformers and a model have made, none of which ever
becomes garbage, and holds every request up for a third of a second. What is made later is collected as ever; what was
made before is freed when nobody refers to it, and only its cycles have to wait.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_engines = 0
_frozen_here = False


@contextmanager
def paused() -> Iterator[None]:
    """While an engine's libraries are imported: it would go through the half a million objects that they make."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        with _lock:
            _freeze()
    finally:
        if enabled:
            gc.enable()


def leave_alone() -> None:
    """An engine is ready."""
    global _engines
    with _lock:
        _engines += 1
        if _engines == 1:
            _freeze()


def take_up() -> None:
    """That engine has ended."""
    global _engines, _frozen_here
    with _lock:
        _engines -= 1
        if _engines == 0 and _frozen_here:
            gc.unfreeze()
            _frozen_here = False


def _freeze() -> None:
    global _frozen_here
    if _frozen_here or gc.get_freeze_count() == 0:  # else the program sees to it itself
        gc.freeze()
        _frozen_here = True
