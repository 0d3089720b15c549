"""How a stream goes on where it stopped: from the ring, from the log, or told why it cannot."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from lineshaft_common.testing import MemoryBus
from lineshaft_gateway.following import CHUNK_BYTES, Follower, Resume
from lineshaft_gateway.limits import ReplayTurns
from lineshaft_gateway.live import Position
from lineshaft_gateway.stream_filter import StreamFilter

from .conftest import MakeWorld, MemoryPositions, World
from .streams import EPOCH, append, seen, stream


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
            async with asyncio.timeout(30):
                while second.comments < 2:
                    line = await second.response.content.readline()
                    second.comments += line.startswith(b": heartbeat")
            assert bus.replays == 1
            async with stream(world, key=other, last=f"{EPOCH}-40") as third:
                async with asyncio.timeout(30):
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
        async with asyncio.timeout(30), aclosing(follower.chunks(Resume(offset=0))) as chunks:
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
        (f"{EPOCH}--2", "malformed"),
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
