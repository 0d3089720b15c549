"""What a stream gets while it is open: which events, in which order, and when it ends."""

import asyncio

import pytest
from lineshaft_common import tracing
from lineshaft_common.messaging.outgoing import Outgoing
from lineshaft_contracts.envelope import PLATFORM_TENANT
from lineshaft_contracts.topology import PLATFORM_LOG
from lineshaft_gateway.keys import Scope
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from .conftest import MakeWorld, World, pointers, problem
from .streams import EPOCH, TYPE, append, seen, stream


async def test_events_come_live_in_order_with_their_place(world: World) -> None:
    await append(world.bus, 0)
    await seen(world, 0)
    async with stream(world) as events:
        await append(world.bus, 1, 2)
        first = await events.next()
        assert first is not None
        assert (first.id, first.name) == (f"{EPOCH}-1", TYPE)
        assert first.data["data"] == {"number": 1}
        assert first.data["specversion"] == "1.0"
        assert await events.numbers(1) == [2]


async def test_a_quiet_stream_is_kept_alive(world: World) -> None:
    async with stream(world) as events:
        async with asyncio.timeout(30):
            while events.comments < 2:
                line = await events.response.content.readline()
                events.comments += line.startswith(b": heartbeat")


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [0, 1, 2, 3, 4]),
        ("type=plant.resource.state-changed.v1", [0, 3]),
        ("type=plant.quality.*", [1]),
        ("type=plant.quality.*&type=lineshaft.jobs.*", [1, 2]),
        ("type=*", [0, 1, 2, 3, 4]),
        ("source=/acme/hamburg", [0, 1, 2, 3]),
        ("source=/acme/ham", []),
        ("source=/acme/", [0, 1, 2, 3, 4]),
        ("subject=order-7", [2]),
        ("type=plant.*&source=/acme/hamburg/line-1", [3]),
    ],
)
async def test_a_stream_gets_what_it_asks_for(
    world: World, query: str, numbers: list[int]
) -> None:
    async with stream(world, query) as live:
        await append(world.bus, 0)
        await append(world.bus, 1, type="plant.quality.alert-raised.v1")
        await append(world.bus, 2, type="lineshaft.jobs.succeeded.v1", subject="order-7")
        await append(world.bus, 3, source="/acme/hamburg/line-1")
        await append(world.bus, 4, type="plant.inventory.lot-moved.v1", source="/acme/bremen")
        await append(world.bus, 9, type="plant.quality.end.v1", source="/acme", subject="end")
        await seen(world, 5)
        assert await live.numbers(len(numbers)) == numbers
    # What was missed is filtered in the same way as what comes.
    async with stream(world, query, last=f"{EPOCH}-0") as resumed:
        missed = [number for number in numbers if number > 0]
        assert await resumed.numbers(len(missed)) == missed


@pytest.mark.parametrize(
    ("scopes", "expected"),
    [((Scope.EVENTS_READ,), [1, 4]), ((Scope.EVENTS_READ, Scope.SYSTEM_READ), [1, 3, 4])],
)
async def test_a_stream_sees_its_own_tenant_and_with_a_scope_the_platform(
    world: World, scopes: tuple[Scope, ...], expected: list[int]
) -> None:
    key = world.key("acme", *scopes)
    async with stream(world, key=key) as live:
        await append(world.bus, 1)
        await append(world.bus, 2, tenant="globex")
        await append(world.bus, 3, tenant=PLATFORM_TENANT)
        await append(world.bus, 4)
        assert await live.numbers(len(expected)) == expected
    await append(world.bus, 5)
    await seen(world, 4)
    async with stream(world, key=key, last=f"{EPOCH}-0") as resumed:
        assert await resumed.numbers(len(expected)) == [*expected[1:], 5]


async def test_a_reader_that_is_too_slow_is_let_go(world: World) -> None:
    text = "x" * 50_000
    async with stream(world) as events:
        await append(world.bus, 0)
        latest = last = await events.next()
        for number in range(1, 600):
            await append(world.bus, number, dataref=text)
            await asyncio.sleep(0)
        await seen(world, 599)
        while last is not None and last.name == TYPE:
            latest, last = last, await events.next()
        assert last is not None
        assert latest is not None
        assert last.name == "too-slow"
        assert latest.id == last.id
        assert await events.next() is None
    # It goes on where it was, by itself.
    async with stream(world, last=last.id) as events:
        assert (await events.numbers(1))[0] == latest.data["data"]["number"] + 1


async def test_streams_are_limited_by_tenant_and_in_all(make_world: MakeWorld) -> None:
    async with make_world(streams_max=3, streams_per_tenant_max=2) as world:
        acme, other = world.key("acme"), world.key("globex")
        async with stream(world, key=acme), stream(world, key=acme):
            third = await world.client.get("/api/events/stream", headers=acme)
            await problem(third, 429, "too_many_streams")
            assert third.headers["Retry-After"]
            async with stream(world, key=other):
                fourth = await world.client.get("/api/events/stream", headers=other)
                await problem(fourth, 429, "too_many_streams")


async def test_streams_end_when_the_process_stops(world: World) -> None:
    async with stream(world) as events:
        world.live.close()
        assert await events.next() is None


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("type=has%20space", "/query/type/0"),
        ("type=a*b", "/query/type/0"),
        ("colour=red", "/query/colour"),
        (f"source={'x' * 300}", "/query/source"),
        ("last_event_id=" + "x" * 65, "/query/last_event_id"),
    ],
)
async def test_a_bad_filter_is_told_where_it_is_wrong(
    world: World, query: str, pointer: str
) -> None:
    response = await world.client.get(f"/api/events/stream?{query}", headers=world.key())
    assert pointers(await problem(response, 422, "invalid_input")) == [pointer]


async def test_a_record_that_is_no_event_is_passed_over(world: World) -> None:
    async with stream(world) as events:
        await append(world.bus, 0)
        message = Outgoing(
            exchange=PLATFORM_LOG.name,
            routing_key="any",
            type="broken",
            message_id="1",
            body=b"{",
            headers={"tenant": "acme"},
        )
        await world.bus.publish_many([message])
        await append(world.bus, 2)
        assert await events.numbers(2) == [0, 2]


async def test_the_hop_to_the_streams_is_in_the_trace_of_the_sender(world: World) -> None:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "TRACER", provider.get_tracer("test"))
        async with stream(world):
            await append(world.bus, 0, traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")
            await append(world.bus, 1)
            await seen(world, 1)
    (hop,) = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.CONSUMER]
    assert hop.name == "deliver events.log"
    assert hop.parent is not None
    assert (hop.parent.trace_id, hop.parent.span_id) == (int("ab" * 16, 16), int("cd" * 8, 16))
    assert hop.attributes is not None
    assert hop.attributes["lineshaft.streams"] == 1
    assert hop.attributes["messaging.message.id"] == "e0"
