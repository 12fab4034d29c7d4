"""The HTTP application: which path goes where. In: a local backend and settings. Out: an ASGI app.

The engine is the caller's; the app ends with the desk closed and what was under way aborted.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sgl_lite.backends.local import LocalBackend
from sgl_lite.server import protocol
from sgl_lite.server.chat import chat_completions
from sgl_lite.server.completions import completions
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.desk import Desk
from sgl_lite.server.embeddings import embeddings
from sgl_lite.server.errors import ApiError, as_api_error, invalid_body
from sgl_lite.server.gate import Call, Gate, call_of
from sgl_lite.server.metrics import ServerMetrics
from sgl_lite.server.native import generate, generate_stream, tgi
from sgl_lite.server.openapi import describe
from sgl_lite.server.playground import playground
from sgl_lite.server.service import Service
from sgl_lite.server.status import Status
from sgl_lite.server.tokens import detokenize, tokenize
from sgl_lite.server.traces import Traces, tracing

B = TypeVar("B", bound=protocol.Body)


@dataclass(frozen=True, slots=True)
class Post:
    """What answers a POST: the shape of its body, and the handler."""

    body: type[protocol.Body]
    handler: Callable[[Service, Call, Any], Awaitable[Response]]


POSTS = {
    "/v1/chat/completions": Post(protocol.ChatBody, chat_completions),
    "/v1/completions": Post(protocol.CompletionBody, completions),
    "/v1/embeddings": Post(protocol.EmbeddingBody, embeddings),
    "/generate": Post(protocol.NativeBody, generate),
    "/generate_stream": Post(protocol.NativeBody, generate_stream),
    "/": Post(protocol.NativeBody, tgi),
    "/tokenize": Post(protocol.TokenizeBody, tokenize),
    "/v1/tokenize": Post(protocol.TokenizeBody, tokenize),
    "/detokenize": Post(protocol.DetokenizeBody, detokenize),
    "/v1/detokenize": Post(protocol.DetokenizeBody, detokenize),
}


def create_app(backend: LocalBackend, config: ServerConfig) -> Starlette:
    """`app.state.desk` is the desk: who stops the server closes it."""
    desk = Desk(backend, config)
    service = Service(backend, desk, config, int(time.time()))
    status = Status(service)
    gets = status.routes()
    metrics = ServerMetrics(backend.engine, desk, [*POSTS, *gets, "/metrics", "/flush_cache", "/openapi.json"])
    document = describe({path: post.body for path, post in POSTS.items()}, [*gets, "/metrics"], config.model_name)

    async def show_metrics(request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def show_document(request: Request) -> Response:
        return JSONResponse(document)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        desk.shutdown()

    app = Starlette(
        routes=[
            *(Route(path, _guarded(_post(service, post)), methods=["POST"]) for path, post in POSTS.items()),
            *(Route(path, _guarded(handler), methods=["GET"]) for path, handler in gets.items()),
            Route("/", playground, methods=["GET"]),
            Route("/flush_cache", _guarded(status.flush_cache), methods=["GET", "POST"]),
            Route("/metrics", _guarded(show_metrics), methods=["GET"]),
            Route("/openapi.json", _guarded(show_document), methods=["GET"]),
        ],
        middleware=[*_around(config), Middleware(Gate, config=config, observe=metrics.observe)],
        exception_handlers={HTTPException: _no_route},
        lifespan=lifespan,
    )
    app.state.desk = desk
    return app


def _around(config: ServerConfig) -> list[Middleware]:
    """What stands before the gate: browsers ask whether they may ask, without a key."""
    around = [Middleware(Traces, **tracing())] if config.traces else []
    if config.cors_origins:
        headers = ["authorization", "content-type", "x-request-id"]
        told = ["x-request-id", "retry-after"]
        around.append(
            Middleware(
                CORSMiddleware,
                allow_origins=config.cors_origins,
                allow_methods=["GET", "POST"],
                allow_headers=headers,
                expose_headers=told,
            )
        )
    return around


def _post(service: Service, post: Post) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        text = await request.body()
        try:
            body = post.body.model_validate_json(text)
        except ValidationError as error:
            raise invalid_body(error, text) from None
        return await post.handler(service, call_of(request.scope), body)

    return answer


def _guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Errors as OpenAI's API has them."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as error:
            return as_api_error(error).response()

    return guarded


async def _no_route(request: Request, error: Exception) -> Response:
    """404 and 405."""
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    message = f"{where}: {error.detail}; /openapi.json lists what there is"
    response = ApiError(error.status_code, message, code=error.detail.lower().replace(" ", "_")).response()
    response.headers.update(error.headers or {})
    return response
