"""Server-sent events. In: an async iterator of JSON values. Out: an HTTP response that is a stream of events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sgl_lite.server.errors import as_api_error


def to_json(value: Any) -> bytes:
    """JSON text; raises ValueError for NaN and infinity, which JSON has not."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class EventStream(Response):
    """Each value is one event; `[DONE]` ends them. An error after the beginning is an event too, and the last one.

    `param`: the field that an error about the constraint is about. `done`: whether `[DONE]` ends them.
    """

    media_type = "text/event-stream"

    def __init__(self, values: AsyncIterator[Any], param: str | None = None, *, done: bool = True) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._values, self._param, self._done = values, param, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for event in self._events():
            await send({"type": "http.response.body", "body": b"data: " + event + b"\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            async for value in self._values:
                yield to_json(value)
        except Exception as error:
            yield to_json(as_api_error(error, self._param).body())
        if self._done:
            yield b"[DONE]"
