"""A trace goes along with its messages, and costs nothing more where nobody records it."""

from typing import Any

import pytest
from lineshaft_common import tracing
from lineshaft_common.messaging import Delivery, on, traced
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.envelope import Envelope, envelop, uuid7
from lineshaft_contracts.job_events import JobQueued
from lineshaft_contracts.topology import EVENT_ROUTER_PLATFORM
from opentelemetry import trace

RECORDED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNRECORDED = RECORDED[:-2] + "00"


def queued(traceparent: str | None) -> Envelope[JobQueued]:
    data = JobQueued(job_id=uuid7(), job_type="trial.wait", attempt=1)
    return envelop(data, source="/services/test", tenant="acme", traceparent=traceparent)


async def test_a_trace_that_nobody_records_is_passed_on_as_it_is() -> None:
    event, bus = queued(UNRECORDED), MemoryBus()
    seen: list[tuple[Delivery[Any], trace.Span]] = []

    async def take(delivery: Delivery[JobQueued]) -> None:
        seen.append((delivery, trace.get_current_span()))
        if len(seen) == 1:
            await bus.publish(queued(tracing.current_traceparent()))

    assert tracing.publish(event, "jobs.events", "key") is event
    async with bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, take)):
        await bus.publish(event)
    delivery, span = seen[0]
    assert (delivery.traceparent, delivery.is_recorded) == (UNRECORDED, False)
    assert delivery.envelope == event
    assert not span.is_recording()
    assert bus.published[1].headers["traceparent"] == UNRECORDED


def test_inside_a_trace_that_nobody_records_messages_carry_it() -> None:
    with tracing.span("request", parent=tracing.extract(UNRECORDED)) as span:
        assert not span.is_recording()
        assert traced(queued(None)).headers["traceparent"] == UNRECORDED
    assert "traceparent" not in traced(queued(None)).headers


@pytest.mark.parametrize(
    ("traceparent", "expected"),
    [(RECORDED, True), (UNRECORDED, False), (None, None), ("00-zz", None), (17, None)],
)
def test_whether_a_trace_is_recorded(traceparent: object, expected: bool | None) -> None:
    assert tracing.is_recorded(traceparent) is expected
