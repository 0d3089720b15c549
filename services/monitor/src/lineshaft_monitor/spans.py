"""Spans: decoded from OTLP, held in a bounded buffer, stored in batches."""

import asyncio
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import structlog
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import Counter, Gauge

log = structlog.get_logger(__name__)

SENDERS = frozenset({"gateway", "job-runner", "event-router", "monitor", "cdn-edge"})
"""Names of services that are known; all others share what one of these has."""
OTHERS = "others"
SPANS_PER_SENDER_MAX = 4_000
"""Waiting at once; the buffer holds so many for each sender, so that none crowds out another."""
BATCH_SPANS_MAX = 2_000
SPANS_PER_TRACE_MAX = 5_000
ATTRIBUTES_MAX = 32
TEXT_LENGTH_MAX = 512

SPANS = Counter("lineshaft_monitor_spans_total", "Spans received by outcome", ["outcome"])
WAITING = Gauge("lineshaft_monitor_spans_waiting", "Spans received and not stored yet")

KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("unset", "ok", "error")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OtlpError(ValueError):
    """The body is no OTLP trace request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One span of a trace."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    service: str
    name: str
    kind: str
    started_at: datetime
    seconds: float
    status: str
    attributes: dict[str, str]


class SpanStore(Protocol):
    """Where spans are kept."""

    async def add(self, spans: Sequence[Span]) -> None:
        """Store a batch."""
        ...


def decode(body: bytes) -> tuple[list[Span], int]:
    """Read an ExportTraceServiceRequest; return its spans and how many were not usable.

    Raises OtlpError when the body is no such message.
    """
    request: Any = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except DecodeError as error:
        raise OtlpError(str(error)) from None
    spans: list[Span] = []
    refused = 0
    for service, span in _each(request):
        if len(span.trace_id) == 16 and len(span.span_id) == 8 and span.start_time_unix_nano:
            spans.append(_span(service, span))
        else:
            refused += 1
    return spans, refused


def _each(request: Any) -> Iterator[tuple[str, Any]]:
    for resource_spans in request.resource_spans:
        attributes = _attributes(resource_spans.resource.attributes)
        service = attributes.get("service.name", "unknown")
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield service, span


def _span(service: str, span: Any) -> Span:
    start, kind, status = int(span.start_time_unix_nano), int(span.kind), int(span.status.code)
    return Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id or None,
        service=_clean(service),
        name=_clean(span.name),
        kind=KINDS[kind] if 0 <= kind < len(KINDS) else KINDS[0],
        # Far beyond any clock a number still has to fit into a timestamp.
        started_at=EPOCH + timedelta(microseconds=min(start // 1_000, 4_102_444_800_000_000)),
        seconds=max(0, span.end_time_unix_nano - start) / 1e9,
        status=STATUSES[status] if 0 <= status < len(STATUSES) else STATUSES[0],
        attributes=_attributes(span.attributes, message=span.status.message),
    )


def _attributes(pairs: Iterable[Any], *, message: str = "") -> dict[str, str]:
    attributes: dict[str, str] = {}
    for pair in pairs:
        if len(attributes) >= ATTRIBUTES_MAX:
            break
        attributes[_clean(pair.key)] = _clean(_text(pair.value))
    if message:
        attributes["status.message"] = _clean(message)
    return attributes


def _text(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    found = getattr(value, kind)
    if kind == "array_value":
        return "[" + ", ".join(_text(item) for item in found.values[:32]) + "]"
    if kind == "bytes_value":
        return found.hex()
    return str(found).lower() if kind == "bool_value" else str(found)


def _clean(text: str) -> str:
    """Cut what is too long, and NUL, which PostgreSQL does not take."""
    return text[:TEXT_LENGTH_MAX].replace("\x00", "")


def _sender(span: Span) -> str:
    return span.service if span.service in SENDERS else OTHERS


class SpanBuffer:
    """Takes spans at any rate; what does not fit is dropped and counted."""

    def __init__(self, store: SpanStore) -> None:
        self._store = store
        self._waiting: deque[Span] = deque()
        self._per_sender: Tally[str] = Tally()
        self._lock = asyncio.Lock()

    def take(self, spans: Sequence[Span]) -> int:
        """Accept spans; return how many had to be dropped."""
        outcomes: Tally[str] = Tally()
        for span in spans:
            sender = _sender(span)
            if self._per_sender[sender] >= SPANS_PER_SENDER_MAX:
                outcomes["dropped"] += 1
                continue
            self._per_sender[sender] += 1
            self._waiting.append(span)
            outcomes["accepted_of_others" if sender == OTHERS else "accepted"] += 1
        for outcome, count in outcomes.items():
            SPANS.labels(outcome).inc(count)
        WAITING.set(len(self._waiting))
        return outcomes["dropped"]

    async def flush(self) -> None:
        """Store what waits; on failure it keeps waiting."""
        async with self._lock:
            while self._waiting:
                count = min(len(self._waiting), BATCH_SPANS_MAX)
                batch = [self._waiting[index] for index in range(count)]
                await self._store.add(batch)
                for span in batch:
                    self._waiting.popleft()
                    self._per_sender[_sender(span)] -= 1
                WAITING.set(len(self._waiting))
