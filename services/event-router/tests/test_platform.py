"""The platform's own events on their way into the log."""

from collections.abc import AsyncGenerator, Sequence

import pytest
from lineshaft_common import tracing
from lineshaft_common.messaging import Outgoing, PublishError, UnavailableError, outgoing
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.envelope import Envelope, envelop, uuid7
from lineshaft_contracts.job_events import JobQueued
from lineshaft_contracts.topology import (
    DEAD_LETTERS,
    EVENT_ROUTER_PLATFORM,
    EVENTS_LOG,
    PLATFORM_LOG,
)
from lineshaft_event_router.platform import PlatformRelay
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Failing:
    """A publisher whose first calls do not get through."""

    def __init__(self, bus: MemoryBus, failures: int) -> None:
        self._bus = bus
        self.failures = failures

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[PublishError | None]:
        if self.failures:
            self.failures -= 1
            return [*([None] * (len(messages) - 1)), UnavailableError("away")]
        return await self._bus.publish_many(messages)


@pytest.fixture
async def bus() -> AsyncGenerator[MemoryBus]:
    made = MemoryBus()
    async with made.subscribe_batch(EVENT_ROUTER_PLATFORM, PlatformRelay(made).relay):
        yield made


def queued() -> Envelope[JobQueued]:
    data = JobQueued(job_id=uuid7(), job_type="report.generate", attempt=1)
    return envelop(data, source="/services/job-runner", tenant="acme")


def relayed(bus: MemoryBus) -> list[Outgoing]:
    return [message for message in bus.published if message.exchange == PLATFORM_LOG.name]


async def test_an_event_is_passed_on_as_it_is(bus: MemoryBus) -> None:
    event = queued()
    await bus.publish(event)
    (copy,) = relayed(bus)
    original = outgoing(event)
    assert copy.body == original.body
    assert copy.routing_key == original.routing_key == "acme.report.generate.queued"
    assert (copy.type, copy.message_id) == (event.type, event.id)
    assert copy.headers["tenant"] == "acme"
    async with bus.read_log(EVENTS_LOG, "first") as records:
        assert (await anext(records)).body == original.body


async def test_the_trace_goes_on() -> None:
    bus, event = MemoryBus(), queued().model_copy(update={"traceparent": TRACEPARENT})
    async with bus.subscribe_batch(EVENT_ROUTER_PLATFORM, PlatformRelay(bus).relay):
        await bus.publish(event)
    (copy,) = relayed(bus)
    context = tracing.extract(copy.headers["traceparent"])
    found = trace.get_current_span(context).get_span_context()
    assert f"{found.trace_id:032x}" == TRACEPARENT.split("-")[1]


async def test_a_recorded_trace_gets_a_span_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(tracing, "TRACER", provider.get_tracer("test"))
    bus, event = MemoryBus(), queued().model_copy(update={"traceparent": TRACEPARENT})
    async with bus.subscribe_batch(EVENT_ROUTER_PLATFORM, PlatformRelay(bus).relay):
        await bus.publish(event)
    (copy,) = relayed(bus)
    _, trace_id, span_id, _ = str(copy.headers["traceparent"]).split("-")
    assert trace_id == TRACEPARENT.split("-")[1]
    assert span_id != TRACEPARENT.split("-")[2]


async def test_a_type_that_nobody_knows_is_dead_lettered_and_the_next_goes_on(
    bus: MemoryBus,
) -> None:
    strange = Outgoing(
        exchange="jobs.events",
        routing_key="acme.a.b.c",
        type="lineshaft.jobs.teleported.v1",
        message_id="1",
        body=b"{}",
    )
    await bus.publish_many([strange, queued()])
    (letter,) = bus.waiting(DEAD_LETTERS)
    assert letter.headers["lineshaft-reason"] == "unknown_type"
    assert len(relayed(bus)) == 1


async def test_a_batch_that_did_not_get_through_comes_again() -> None:
    bus = MemoryBus()
    failing = Failing(bus, failures=2)
    async with bus.subscribe_batch(EVENT_ROUTER_PLATFORM, PlatformRelay(failing).relay):
        await bus.publish_many([queued(), queued()])
    assert failing.failures == 0
    assert len(relayed(bus)) == 2
