"""The receiver of traces, with a real exporter of OpenTelemetry in front of it."""

import asyncio
import gzip
import threading
from collections.abc import AsyncIterator, Sequence

import aiohttp
import pytest
from lineshaft_common import http
from lineshaft_common.health import Health
from lineshaft_monitor import routes
from lineshaft_monitor import spans as spans_module
from lineshaft_monitor.routes import BODY_BYTES_MAX, create_app
from lineshaft_monitor.spans import OtlpError, Span, SpanBuffer, decode
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode
from prometheus_client import REGISTRY


class MemorySpanStore:
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.unavailable = False

    async def add(self, spans: Sequence[Span]) -> None:
        if self.unavailable:
            raise ConnectionError("the database is away")
        self.spans += spans


@pytest.fixture
def store() -> MemorySpanStore:
    return MemorySpanStore()


@pytest.fixture
def buffer(store: MemorySpanStore) -> SpanBuffer:
    return SpanBuffer(store)


@pytest.fixture
async def url(buffer: SpanBuffer) -> AsyncIterator[str]:
    async with http.serve(create_app(Health(), buffer), host="127.0.0.1", port=0) as port:
        yield f"http://127.0.0.1:{port}/v1/traces"


def export(url: str, compression: Compression) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "press"}))
    exporter = OTLPSpanExporter(endpoint=url, compression=compression, timeout=5)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("strike", kind=SpanKind.SERVER) as span:
        span.set_attribute("force", 12.5)
        span.set_attribute("tools", ["a", "b"])
        span.set_attribute("dry", value=False)
        with tracer.start_as_current_span("cool") as inner:
            inner.set_status(Status(StatusCode.ERROR, "too hot"))
    provider.shutdown()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
async def test_spans_of_a_real_exporter_arrive_whole(
    url: str, buffer: SpanBuffer, store: MemorySpanStore, compression: Compression
) -> None:
    await asyncio.to_thread(export, url, compression)
    await buffer.flush()
    cool, strike = store.spans
    assert (strike.service, strike.name, strike.kind, strike.status) == (
        *("press", "strike", "server"),
        "unset",
    )
    assert strike.attributes == {"force": "12.5", "tools": "[a, b]", "dry": "false"}
    assert strike.parent_id is None
    assert (cool.parent_id, cool.trace_id) == (strike.span_id, strike.trace_id)
    assert cool.status == "error"
    assert cool.attributes == {"status.message": "too hot"}
    assert strike.started_at <= cool.started_at
    assert 0 <= cool.seconds <= strike.seconds


def request(count: int, *, usable: bool = True, service: str = "") -> bytes:
    message = ExportTraceServiceRequest()
    resource_spans = message.resource_spans.add()
    if service:
        name = resource_spans.resource.attributes.add()
        name.key, name.value.string_value = "service.name", service
    scope = resource_spans.scope_spans.add()
    for number in range(count):
        span = scope.spans.add()
        span.trace_id = b"t" * 16 if usable else b""
        span.span_id = number.to_bytes(8, "big")
        span.name = "n\x00me"
        span.start_time_unix_nano = 1_000_000_000
        span.end_time_unix_nano = 1_500_000_000
    return message.SerializeToString()


async def post(
    url: str, body: bytes, content_type: str = "application/x-protobuf", **headers: str
) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers={"Content-Type": content_type, **headers}) as answer,
    ):
        return answer.status, await answer.read()


async def test_spans_that_cannot_be_taken_are_counted_in_the_answer(
    url: str, buffer: SpanBuffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans_module, "SPANS_PER_SENDER_MAX", 3)
    status, body = await post(url, request(5))
    answer = ExportTraceServiceResponse.FromString(body)
    assert status == 200
    assert answer.partial_success.rejected_spans == 2
    status, body = await post(url, request(2, usable=False))
    assert ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans == 2


async def test_a_sender_of_too_many_spans_crowds_out_nobody(
    buffer: SpanBuffer, store: MemorySpanStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans_module, "SPANS_PER_SENDER_MAX", 3)

    def send(count: int, service: str) -> int:
        return buffer.take(decode(request(count, service=service))[0])

    assert send(5, "gateway") == 2
    assert send(2, "made-up-1") == 0
    assert send(2, "made-up-2") == 1  # Names that are not known share one quota.
    assert send(3, "job-runner") == 0
    await buffer.flush()
    assert len(store.spans) == 9
    assert send(3, "gateway") == 0


async def test_spans_of_unknown_services_are_counted_apart(buffer: SpanBuffer) -> None:
    def counted(outcome: str) -> float:
        return (
            REGISTRY.get_sample_value("lineshaft_monitor_spans_total", {"outcome": outcome}) or 0
        )

    accepted, others = counted("accepted"), counted("accepted_of_others")
    buffer.take(decode(request(2, service="press") + request(1, service="gateway"))[0])
    assert counted("accepted") - accepted == 1
    assert counted("accepted_of_others") - others == 2


async def test_a_big_post_is_decoded_beside_the_event_loop(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def decode_and_tell(body: bytes) -> tuple[list[Span], int]:
        threads.append(threading.get_ident())
        return decode(body)

    monkeypatch.setattr(routes, "decode", decode_and_tell)
    assert (await post(url, request(1)))[0] == 200
    assert threads != [threading.get_ident()]


async def test_what_is_no_request_for_traces_is_refused(url: str) -> None:
    assert (await post(url, b"\xff\xff\xff"))[0] == 400
    assert (await post(url, b"{}", "application/json"))[0] == 415


async def test_a_body_that_inflates_beyond_the_limit_is_refused(url: str) -> None:
    bomb = gzip.compress(bytes(BODY_BYTES_MAX * 4))
    status, _ = await post(url, bomb, **{"Content-Encoding": "gzip"})
    assert status in {400, 413}


async def test_spans_wait_while_the_database_is_away(
    buffer: SpanBuffer, store: MemorySpanStore
) -> None:
    store.unavailable = True
    spans, _ = decode(request(3))
    buffer.take(spans)
    with pytest.raises(ConnectionError):
        await buffer.flush()
    store.unavailable = False
    await buffer.flush()
    assert store.spans == spans


def test_what_postgresql_does_not_take_is_cleaned() -> None:
    (span,), refused = decode(request(1))
    assert (span.name, span.seconds, refused) == ("nme", 0.5, 0)
    with pytest.raises(OtlpError):
        decode(b"\x0a\xff")
