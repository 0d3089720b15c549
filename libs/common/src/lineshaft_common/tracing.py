"""Traces across every hop: tolerant extraction, spans for messages, export by OTLP.

The stock AMQP instrumentation raises on a `traceparent` that is not text, before the handler
runs, which makes a remote header a poison pill; this layer ignores what it cannot read.
Attributes follow OpenTelemetry's semantic conventions for messaging.
"""

import os
import re
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from lineshaft_contracts.envelope import Envelope
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

_TRACEPARENT = re.compile(r"^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$")
EMPTY = Context()
TRACER = trace.get_tracer("lineshaft")
"""Records nothing until `start` was called."""


@asynccontextmanager
async def start(
    service: str,
    *,
    instance: str,
    sample_ratio: float,
    attributes: dict[str, str] | None = None,
    exporter: SpanExporter | None = None,
) -> AsyncGenerator[None]:
    """Record spans inside the block and export them in the background.

    Without `exporter` they go by OTLP over HTTP to OTEL_EXPORTER_OTLP_ENDPOINT, or nowhere when
    that is not set.
    """
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
        resource=Resource(
            {"service.name": service, "service.instance.id": instance, **(attributes or {})}
        ),
        span_limits=SpanLimits(max_attributes=32, max_links=128, max_attribute_length=1024),
        shutdown_on_exit=False,
    )
    if exporter is None and os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,  # It brings requests and protobuf: only for who exports.
        )

        exporter = OTLPSpanExporter(timeout=5)
    if exporter is not None:
        provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                schedule_delay_millis=1000,
                max_queue_size=8192,
                max_export_batch_size=512,
            )
        )
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.force_flush(2000)
        provider.shutdown()


def parse(traceparent: object, tracestate: object = None) -> SpanContext | None:
    """Read a W3C trace context; None for anything that is not one, of whatever type."""
    if isinstance(traceparent, bytes):
        traceparent = traceparent.decode("ascii", "replace")
    match = _TRACEPARENT.match(traceparent) if isinstance(traceparent, str) else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    if trace_id == 0 or span_id == 0:
        return None
    state = tracestate if isinstance(tracestate, str) and len(tracestate) <= 512 else ""
    try:
        trace_state = TraceState.from_header([state]) if state else TraceState()
    except ValueError:
        trace_state = TraceState()
    return SpanContext(
        trace_id,
        span_id,
        is_remote=True,
        trace_flags=TraceFlags(int(match[4], 16) & 1),
        trace_state=trace_state,
    )


def is_recorded(traceparent: object) -> bool | None:
    """Whether the first sender decided to record this trace; None when it is no trace."""
    match = _TRACEPARENT.match(traceparent) if isinstance(traceparent, str) else None
    if match is None or match[1] != "00" or match[5]:
        return None if parse(traceparent) is None else True
    return match[4][1] in "13579bdf"


def extract(traceparent: object, tracestate: object = None) -> Context:
    """Return a context whose parent span is the sender's, or an empty one."""
    parent = parse(traceparent, tracestate)
    return EMPTY if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), EMPTY)


def traceparent_of(span: Span) -> str | None:
    """Write a span as a W3C traceparent; None when there is no trace."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def current_traceparent() -> str | None:
    """Write the trace that the caller is in."""
    return traceparent_of(trace.get_current_span())


def current_trace_id() -> str | None:
    """Return the 32 hexadecimal digits of the current trace."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Context | None = None,
    links: Sequence[Link] = (),
    attributes: dict[str, Any] | None = None,
) -> Generator[Span]:
    """Run a block as a span; an error or a cancellation in it marks the span as failed."""
    inside = otel_context.get_current() if parent is None else parent
    sender = trace.get_current_span(inside)
    if sender.get_span_context().is_valid and not sender.get_span_context().trace_flags.sampled:
        started = sender  # Nobody records this trace: it is passed on, and costs no more.
    else:
        started = TRACER.start_span(
            name, context=inside, kind=kind, links=links, attributes=attributes
        )
        inside = trace.set_span_in_context(started, inside)
    token = otel_context.attach(inside)
    try:
        yield started
    except BaseException as error:
        started.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"[:256]))
        raise
    finally:
        otel_context.detach(token)
        if started is not sender:
            started.end()


def publish(envelope: Envelope[Any], exchange: str, routing_key: str) -> Envelope[Any]:
    """Start and end the PRODUCER span of a message, and return it carrying that span.

    A message that already carries a trace keeps it as parent; one outside any trace starts none.
    A trace that is not recorded is passed on as it is.
    """
    if envelope.traceparent is not None and is_recorded(envelope.traceparent) is False:
        return envelope
    carried = parse(envelope.traceparent, envelope.tracestate)
    parent = otel_context.get_current()
    if carried is not None:
        parent = trace.set_span_in_context(NonRecordingSpan(carried))
    sender = trace.get_current_span(parent)
    if not sender.get_span_context().is_valid:
        return envelope
    if not sender.get_span_context().trace_flags.sampled:
        return envelope.model_copy(update={"traceparent": traceparent_of(sender)})
    producer = TRACER.start_span(
        f"send {exchange}",
        context=parent,
        kind=SpanKind.PRODUCER,
        attributes={
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "send",
            "messaging.destination.name": f"{exchange}:{routing_key}"[:255],
            "messaging.message.id": envelope.id,
            "cloudevents.event_type": envelope.type,
            "lineshaft.tenant": envelope.tenant,
        },
    )
    producer.end()
    return envelope.model_copy(update={"traceparent": traceparent_of(producer)})


@contextmanager
def process(
    queue: str, contexts: Sequence[Context], *, name: str = "process", messages: int = 1
) -> Generator[Span]:
    """Run a handler as a CONSUMER span: child of the sender for one message, links for more.

    Of many messages only the senders whose traces are recorded need to be given.
    """
    parent, links = EMPTY, list[Link]()
    if messages == len(contexts) == 1:
        parent = contexts[0]
    else:
        for context in contexts[:128]:
            sender = trace.get_current_span(context).get_span_context()
            if sender.is_valid:
                links.append(Link(sender))
    with span(
        f"{name} {queue}",
        kind=SpanKind.CONSUMER,
        parent=parent,
        links=links,
        attributes={
            "messaging.system": "rabbitmq",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.batch.message_count": messages,
        },
    ) as consumer:
        yield consumer
