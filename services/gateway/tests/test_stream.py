import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from lineshaft_common import tracing
from lineshaft_common.messaging.bus import Outgoing
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.envelope import PLATFORM_TENANT
from lineshaft_contracts.topology import PLATFORM_LOG
from lineshaft_gateway.following import CHUNK_BYTES, Follower, Resume
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.limits import ReplayTurns
from lineshaft_gateway.live import Position
from lineshaft_gateway.stream_filter import StreamFilter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from .conftest import MakeWorld, MemoryPositions, World, pointers, problem

TYPE = "plant.resource.state-changed.v1"
EPOCH = "0000aaaa"


async def append(bus: MemoryBus, *numbers: int, tenant: str = "acme", **given: str) -> None:
    """Append one event per number to the log."""
    for number in numbers:
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": f"/{tenant}/hamburg",
            "type": TYPE,
            "time": "2026-11-25T00:00:00Z",
            "tenant": tenant,
            "data": {"number": number},
            **given,
        }
        (error,) = await bus.publish_many(
            [
                Outgoing(
                    exchange=PLATFORM_LOG.name,
                    routing_key="any",
                    type=event["type"],
                    message_id=event["id"],
                    body=json.dumps(event).encode(),
                    headers={
                        name: event[name] for name in ("tenant", "traceparent") if name in event
                    },
                )
            ]
        )
        assert error is None


async def seen(world: World, head: int) -> None:
    """Wait until the gateway has read the log up to an offset."""
    async with asyncio.timeout(5):
        while world.live.ring.head < head:
            await asyncio.sleep(0.005)


@dataclass
class Event:
    id: str | None
    name: str
    data: dict[str, Any]


class Stream:
    """Reads server-sent events off a response."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.comments = 0

    async def next(self) -> Event | None:
        """Return the next event; None at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(5):
            async for raw in self.response.content:
                line = raw.decode().rstrip("\n")
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    return Event(fields.get("id"), fields["event"], json.loads(fields["data"]))
        return None

    async def numbers(self, count: int) -> list[int]:
        """Read so many events and give their numbers."""
        found: list[int] = []
        for _ in range(count):
            event = await self.next()
            assert event is not None
            found.append(event.data["data"]["number"])
        return found


@asynccontextmanager
async def stream(
    world: World,
    query: str = "",
    *,
    key: dict[str, str] | None = None,
    last: str | None = None,
) -> AsyncGenerator[Stream]:
    headers = key or world.key()
    if last is not None:
        headers = {**headers, "Last-Event-ID": last}
    async with world.client.get(f"/api/events/stream?{query}", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["X-Request-Id"]
        yield Stream(response)


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
        async with asyncio.timeout(3):
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


async def test_another_tenants_position_shows_nothing_of_it(world: World) -> None:
    await append(world.bus, 0, 1, 2, tenant="globex")
    await append(world.bus, 3)
    await seen(world, 3)
    async with stream(world, last=f"{EPOCH}-0") as events:
        assert await events.numbers(1) == [3]


async def test_a_stream_goes_on_where_it_stopped(world: World) -> None:
    await append(world.bus, *range(10))
    await seen(world, 9)
    async with (
        stream(world, last=f"{EPOCH}-4") as by_field,
        stream(world, f"last_event_id={EPOCH}-4") as by_query,
    ):
        for events in (by_field, by_query):
            assert await events.numbers(5) == [5, 6, 7, 8, 9]
        await append(world.bus, 10)
        for events in (by_field, by_query):
            assert await events.numbers(1) == [10]


async def test_a_stream_that_missed_nothing_gets_nothing_twice(world: World) -> None:
    await append(world.bus, 0, 1)
    await seen(world, 1)
    async with stream(world, last=f"{EPOCH}-1") as events:
        await append(world.bus, 2)
        assert await events.numbers(1) == [2]


async def test_what_the_ring_no_longer_has_is_read_from_the_log(make_world: MakeWorld) -> None:
    async with make_world(ring_frames_max=5) as world:
        await append(world.bus, *range(200))
        await seen(world, 199)
        assert not world.live.ring.covers(10)
        async with stream(world, last=f"{EPOCH}-10") as events:
            assert await events.numbers(189) == list(range(11, 200))
            await append(world.bus, 200, 201)
            assert await events.numbers(2) == [200, 201]


async def test_events_that_come_during_a_replay_are_not_lost(make_world: MakeWorld) -> None:
    async with make_world(ring_frames_max=50) as world:
        await append(world.bus, *range(300))
        await seen(world, 299)

        async def publish() -> None:
            for number in range(300, 600):
                await append(world.bus, number)
                await asyncio.sleep(0)

        publishing = asyncio.create_task(publish())
        async with stream(world, last=f"{EPOCH}-0") as events:
            assert await events.numbers(599) == list(range(1, 600))
        await publishing


async def test_a_replayed_stream_that_is_live_holds_no_place(make_world: MakeWorld) -> None:
    async with make_world(ring_frames_max=5, replays_max=1) as world:
        await append(world.bus, *range(50))
        await seen(world, 49)
        async with stream(world, last=f"{EPOCH}-10") as one:
            assert await one.numbers(39) == list(range(11, 50))
            await append(world.bus, 50)
            assert await one.numbers(1) == [50]
            async with stream(world, last=f"{EPOCH}-10") as two:
                assert await two.numbers(40) == list(range(11, 51))


class HeldLog(MemoryBus):
    """Replays begin only when they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()
        self.replays = 0

    @asynccontextmanager
    async def read_log(self, queue: Any, start: Any) -> AsyncGenerator[Any]:
        if isinstance(start, int) and start > 0:
            self.replays += 1
            await self.released.wait()
        async with super().read_log(queue, start) as records:
            yield records


async def test_replays_above_a_tenants_share_wait_and_leave_room_for_others(
    make_world: MakeWorld,
) -> None:
    bus = HeldLog()
    settings = {"ring_frames_max": 5, "replays_max": 2, "replays_per_tenant_max": 1}
    async with make_world(bus=bus, **settings) as world:
        await append(bus, *range(50))
        await append(bus, 50, tenant="globex")
        await append(bus, *range(51, 60))
        await seen(world, 59)
        acme, other = world.key("acme"), world.key("globex")
        async with (
            stream(world, key=acme, last=f"{EPOCH}-10"),
            stream(world, key=acme, last=f"{EPOCH}-48") as second,
        ):
            async with asyncio.timeout(5):
                while second.comments < 2:
                    line = await second.response.content.readline()
                    second.comments += line.startswith(b": heartbeat")
            assert bus.replays == 1
            async with stream(world, key=other, last=f"{EPOCH}-40") as third:
                async with asyncio.timeout(5):
                    while bus.replays < 2:
                        await asyncio.sleep(0.005)
                bus.released.set()
                assert await third.numbers(1) == [50]
                assert await second.numbers(2) == [49, 51]


@pytest.mark.parametrize("ring_frames_max", [20_000, 5])
async def test_no_write_is_larger_than_its_limit(
    make_world: MakeWorld, ring_frames_max: int
) -> None:
    """From the ring, from the log, and from the queue of a stream that is live."""
    async with make_world(ring_frames_max=ring_frames_max) as world:
        await append(world.bus, *range(100), dataref="x" * 10_000)
        await seen(world, 99)
        follower = Follower(
            world.live,
            world.bus,
            StreamFilter(tenants=frozenset({"acme"})),
            replays=ReplayTurns(total_max=1, per_tenant_max=1),
            tenant="acme",
            heartbeat_seconds=0.2,
        )
        found, longest, more = 0, 0, True
        async with asyncio.timeout(10), aclosing(follower.chunks(Resume(offset=0))) as chunks:
            async for chunk in chunks:
                found += chunk.count(b"id: ")
                longest = max(longest, len(chunk))
                if found == 99 and more and chunk.startswith(b": heartbeat"):
                    more = False
                    await append(world.bus, *range(100, 150), dataref="x" * 10_000)
                    await seen(world, 149)
                if found == 149:
                    break
        assert longest <= CHUNK_BYTES + 1000


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        ("garbage", "malformed"),
        (f"{EPOCH}-", "malformed"),
        (f"{EPOCH}--1", "malformed"),
        (f"{EPOCH}-99999999999999999999", "malformed"),
        ("1", "malformed"),
        ("0000bbbb-1", "unknown_epoch"),
        (f"{EPOCH}-999999", "ahead"),
    ],
)
async def test_a_stream_that_cannot_go_on_is_told_why(
    world: World, last: str, reason: str
) -> None:
    await append(world.bus, 0, 1)
    await seen(world, 1)
    async with stream(world, last=last) as events:
        reset = await events.next()
        assert reset is not None
        assert (reset.name, reset.data, reset.id) == ("reset", {"reason": reason}, f"{EPOCH}-1")
        await append(world.bus, 2)
        assert await events.numbers(1) == [2]


class ShortLog(MemoryBus):
    """Has dropped what is before offset 50, as retention does."""

    @asynccontextmanager
    async def read_log(self, queue: Any, start: Any) -> AsyncGenerator[Any]:
        start = max(50, start) if isinstance(start, int) else start
        async with super().read_log(queue, start) as records:
            yield records


async def test_a_position_that_has_expired_is_reset(make_world: MakeWorld) -> None:
    async with make_world(bus=ShortLog(), ring_frames_max=5) as world:
        await append(world.bus, *range(100))
        await seen(world, 99)
        async with stream(world, last=f"{EPOCH}-10") as events:
            reset = await events.next()
            assert reset is not None
            assert (reset.name, reset.data) == ("reset", {"reason": "expired"})
            await append(world.bus, 100)
            assert await events.numbers(1) == [100]
        async with stream(world, last=f"{EPOCH}-60") as events:
            assert await events.numbers(3) == [61, 62, 63]


async def test_a_restart_keeps_the_epoch_of_the_same_log(make_world: MakeWorld) -> None:
    bus, positions = MemoryBus(), MemoryPositions()
    async with make_world(bus=bus, positions=positions) as world:
        await append(bus, 0, 1, 2)
        await seen(world, 2)
    assert positions.position == Position(epoch=EPOCH, offset=2, event_id="e2")
    await append(bus, 3)
    async with make_world(bus=bus, positions=positions) as world:
        assert world.live.epoch == EPOCH
        async with stream(world, last=f"{EPOCH}-1") as events:
            assert await events.numbers(2) == [2, 3]


@pytest.mark.parametrize("numbers", [(), (7,), (7, 8, 9, 10)])
async def test_a_log_made_anew_begins_a_new_epoch(
    make_world: MakeWorld, numbers: tuple[int, ...]
) -> None:
    positions = MemoryPositions(Position(epoch=EPOCH, offset=3, event_id="e3"))
    bus = MemoryBus()
    await append(bus, *numbers)
    async with make_world(bus=bus, positions=positions) as world:
        assert world.live.epoch != EPOCH
        async with stream(world, last=f"{EPOCH}-3") as events:
            reset = await events.next()
            assert reset is not None
            assert reset.data == {"reason": "unknown_epoch"}


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
        patch.setattr(tracing, "tracer", lambda: provider.get_tracer("test"))
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
