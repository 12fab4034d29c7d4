"""OpenTelemetry, for who wants it: a span for each request, with its token counts. In: ASGI calls. Out: spans.

Needs `pip install 'sgl-lite[traces]'`; where spans go is said by OpenTelemetry's own environment variables
(OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, ...).
"""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sgl_lite.errors import ArgumentError


class Traces:
    """ASGI middleware. tracer: of OpenTelemetry; extract: headers -> the context in which the caller's span is."""

    def __init__(self, app: ASGIApp, tracer: Any, extract: Any) -> None:
        self._app, self._tracer, self._extract = app, tracer, extract

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = self._extract(dict(Headers(scope=scope)))
        name = f"{scope['method']} {scope['path']}"
        with self._tracer.start_as_current_span(name[:200], context=context) as span:
            span.set_attribute("http.request.method", scope["method"])
            span.set_attribute("url.path", scope["path"])

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    span.set_attribute("sgl_lite.request_id", scope["sgl_lite.call"].request_id)
                await send(message)

            try:
                await self._app(scope, receive, watched)
            finally:
                call = scope.get("sgl_lite.call")
                for figure, value in (call.figures if call is not None else {}).items():
                    span.set_attribute(f"sgl_lite.{figure}", value)


def tracing() -> dict[str, Any]:
    """What `Traces` needs, exporting by OTLP. Errors: `ArgumentError` if the packages are missing."""
    try:
        from opentelemetry import propagate, trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:  # an extra
        raise ArgumentError(f"traces need {error.name}; pip install 'sgl-lite[traces]'") from error
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return {"tracer": trace.get_tracer("sgl_lite"), "extract": propagate.extract}
