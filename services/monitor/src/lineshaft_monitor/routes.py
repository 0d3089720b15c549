"""The monitor's own HTTP interface: health, metrics, and the receiver of traces (OTLP/HTTP)."""

import asyncio
from typing import Any

from aiohttp import web
from lineshaft_common import http
from lineshaft_common.health import Health
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from lineshaft_monitor.spans import OtlpError, SpanBuffer, decode

BODY_BYTES_MAX = 4 * 1024 * 1024
"""Of a request for traces, after decompression."""
PROTOBUF = "application/x-protobuf"
SPANS = web.AppKey("SPANS", SpanBuffer)


async def receive_traces(request: web.Request) -> web.Response:
    """Take spans; those that cannot be taken are counted in `partial_success`."""
    if request.content_type != PROTOBUF:
        raise web.HTTPUnsupportedMediaType(text=f"send {PROTOBUF}")
    try:
        # In a thread: a body at its limit takes longer than the event loop may be held up.
        spans, refused = await asyncio.to_thread(decode, await request.read())
    except OtlpError as error:
        raise web.HTTPBadRequest(text=f"not an OTLP trace request: {error}") from None
    dropped = request.app[SPANS].take(spans)
    response: Any = ExportTraceServiceResponse()
    if refused or dropped:
        response.partial_success.rejected_spans = refused + dropped
        response.partial_success.error_message = (
            f"{refused} spans without usable ids or times, {dropped} beyond the sender's limit"
        )
    return web.Response(body=response.SerializeToString(), content_type=PROTOBUF)


def create_app(health: Health, spans: SpanBuffer) -> web.Application:
    """Make the application."""
    app = http.create_app(health, body_bytes_max=BODY_BYTES_MAX)
    app[SPANS] = spans
    app.router.add_post("/v1/traces", receive_traces)
    return app
