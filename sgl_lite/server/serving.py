"""Runs the app under uvicorn, and stops it in bounded time. In: a backend and settings. Out: nothing, until it stops.

On SIGTERM or Ctrl-C no new requests are taken; what is under way has `config.stop_seconds` to end, and is then aborted,
so that every client gets its answer or is told.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time

import uvicorn

from sgl_lite.backends.local import LocalBackend
from sgl_lite.server.app import create_app
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.desk import Desk

LAST_WORDS_SECONDS = 3
"""From the abort of what still runs until its connections are cut."""
KEEP_ALIVE_SECONDS = 75
"""Idle connections are closed after it: later than clients close theirs (5 s), or a request would meet a closed one."""
LOG_LEVELS = ("debug", "info", "warning", "error")


class JsonLines(logging.Formatter):
    """One JSON object a line; a record's `fields` are keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(level: str = "info") -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name in ("sgl_lite.server", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level.upper())


class HttpServer(uvicorn.Server):
    """A uvicorn server that closes the desk first."""

    def __init__(self, config: uvicorn.Config, desk: Desk, stop_seconds: float) -> None:
        super().__init__(config)
        self._desk, self._stop_seconds = desk, stop_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._desk.close()
        abort = asyncio.get_running_loop().call_later(self._stop_seconds, self._desk.abort_all)
        await super().shutdown(sockets)
        abort.cancel()


def http_server(backend: LocalBackend, config: ServerConfig, host: str = "127.0.0.1", port: int = 8000) -> HttpServer:
    """Not yet running: `.run()`, or `await .serve()`."""
    app = create_app(backend, config)
    settings = uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_config=None,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(config.stop_seconds) + LAST_WORDS_SECONDS,
    )
    return HttpServer(settings, app.state.desk, config.stop_seconds)
