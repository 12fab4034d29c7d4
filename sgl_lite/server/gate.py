"""What every HTTP request passes first: an id, a key, a bounded body, and somebody who sees the client go.

ASGI middleware. The body is read here, whole, so that from then on one task can wait for the client to disconnect: the
handler is cancelled at once, and what it registered with `Call.at_end` runs, however it ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sgl_lite.server.config import ServerConfig
from sgl_lite.server.errors import ApiError
from sgl_lite.server.rates import Rates

log = logging.getLogger("sgl_lite.server")

OPEN = frozenset({("GET", "/health"), ("GET", "/ready"), ("GET", "/"), ("HEAD", "/")})
"""What needs no key: health, and the playground's page, which asks for one."""
CLIENT_GONE = 499
"""The status that is logged and counted when nobody is left to be told one."""
_REQUEST_ID = re.compile(r"[\w.:\-]{1,128}", re.ASCII)


@dataclass(slots=True)
class Call:
    """One HTTP request. at_end: called when it is over. figures: what its log line says besides."""

    request_id: str
    at_end: ExitStack = field(default_factory=ExitStack)
    figures: dict[str, Any] = field(default_factory=dict)


def call_of(scope: Scope) -> Call:
    call: Call = scope["sgl_lite.call"]
    return call


class Gate:
    """observe: told method, path, status and seconds of every request that is over."""

    def __init__(self, app: ASGIApp, config: ServerConfig, observe: Callable[[str, str, int, float], None]) -> None:
        self._app = app
        self._config = config
        self._keys = [_digest(key) for key in config.api_keys]
        self._rates = None if config.requests_per_minute is None else Rates(config.requests_per_minute)
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, begun, status = Headers(scope=scope), time.monotonic(), CLIENT_GONE
        given = headers.get("x-request-id", "")
        call = Call(given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex)
        scope["sgl_lite.call"] = call

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = call.request_id
            await send(message)

        try:
            with call.at_end:
                await self._pass(scope, receive, send_named, headers)
        finally:
            seconds = time.monotonic() - begun
            self._observe(scope["method"], scope["path"], status, seconds)
            figures = {"method": scope["method"], "path": scope["path"], "status": status, "seconds": round(seconds, 4)}
            log.info("request", extra={"fields": {"request_id": call.request_id, **figures, **call.figures}})

    async def _pass(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        try:
            self._check_key((scope["method"], scope["path"]), headers.get("authorization", ""))
            self._check_rate(scope, headers.get("authorization", ""))
            body = await self._read(receive, headers)
        except ApiError as error:
            await error.response()(scope, receive, send)
            return
        if body is None:
            return
        handler = asyncio.ensure_future(self._app(scope, _once(body), send))
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            await asyncio.wait({handler, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (handler, gone):
                task.cancel()
            await asyncio.wait({handler, gone})
        if not handler.cancelled():
            handler.result()

    def _check_key(self, asked: tuple[str, str], authorization: str) -> None:
        """Every key is compared, in a time that does not depend on where they differ."""
        if not self._keys or asked in OPEN:
            return
        scheme, _, key = authorization.partition(" ")
        given = _digest(key.strip())
        matches = [hmac.compare_digest(given, known) for known in self._keys]
        if scheme.lower() != "bearer" or not any(matches):
            message = "this server needs an API key: send the header 'Authorization: Bearer KEY'"
            raise ApiError(401, message, code="invalid_api_key")

    def _check_rate(self, scope: Scope, authorization: str) -> None:
        """Of what costs something: POSTs, by key, or by address where there are no keys."""
        if self._rates is None or scope["method"] != "POST":
            return
        client = authorization.partition(" ")[2].strip() if self._keys else (scope.get("client") or ("",))[0]
        wait = self._rates.take(_digest(client), time.monotonic())
        if wait:
            most = self._config.requests_per_minute
            message = f"more than {most} requests a minute; try again in {wait} s"
            raise ApiError(429, message, code="rate_limit_exceeded", retry_after=wait)

    async def _read(self, receive: Receive, headers: Headers) -> bytes | None:
        """The whole body; None if the client went before its end."""
        most = self._config.max_body_bytes
        too_large = ApiError(413, f"the body is larger than {most} bytes", code="body_too_large")
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._config.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            told = f"the body did not arrive within {self._config.body_seconds} s"
            raise ApiError(408, told, code="body_too_slow") from None


def _digest(key: str) -> bytes:
    """Of one length for all keys, so that comparing tells no length."""
    return hashlib.sha256(key.encode()).digest()


def _once(body: bytes) -> Receive:
    """Gives the body once; what comes after it, the gate waits for itself."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets this event")

    return receive


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
