"""Where programs run that name no backend, and the few global settings."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Mapping
from typing import Any

from sgl_lite.backends.base import Backend
from sgl_lite.errors import ArgumentError


class GlobalConfig:
    """SGLang's global settings that mean something here.

    default_backend: where programs run that name none; None: the embedded model, started when first needed.
    """

    __slots__ = ("_lock", "default_backend", "embedded")

    def __init__(self) -> None:
        self.default_backend: Backend | None = None
        self.embedded: Backend | None = None
        self._lock = threading.Lock()

    def embedded_backend(self) -> Backend:
        """The embedded model's engine, one a process, shut down at exit."""
        with self._lock:
            if self.embedded is None:
                from sgl_lite.backends.local import LocalBackend  # the engine: torch and all

                self.embedded = LocalBackend.embedded()
                atexit.register(self.embedded.shutdown)
            return self.embedded


global_config = GlobalConfig()


def as_backend(value: Any) -> Backend:
    """A backend, or an engine, which becomes one. Errors: `ArgumentError`."""
    if hasattr(value, "generate") and hasattr(value, "capabilities"):
        backend: Backend = value
        return backend
    if hasattr(value, "endpoint"):  # SGLang's Runtime: a server, and the backend that asks it
        return as_backend(value.endpoint)
    if hasattr(value, "submit"):
        from sgl_lite.backends.local import LocalBackend  # whoever has an engine has torch

        return LocalBackend.of(value)
    raise ArgumentError(f"{value!r} is no backend; give a sgl_lite.Engine, or a backend of sgl_lite.backends")


def backend_of(value: Any = None) -> Backend:
    """The backend to run on: `value`, else the default, else the embedded model."""
    if value is not None:
        return as_backend(value)
    return global_config.default_backend or global_config.embedded_backend()


def set_default_backend(backend: Any) -> None:
    """Where programs run from now on that name no backend. None: the embedded model."""
    global_config.default_backend = None if backend is None else as_backend(backend)


def flush_cache(backend: Any = None) -> None:
    """Forget all computed prefixes."""
    backend_of(backend).flush_cache()


def get_server_info(backend: Any = None) -> Mapping[str, Any]:
    """What the backend says of itself."""
    return backend_of(backend).server_info()
