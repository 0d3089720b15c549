"""Live events over a WebSocket: the stream of the server-sent events in other clothes."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from lineshaft_gateway import following
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.routes import streaming

from .conftest import MakeWorld, World, problem
from .streams import EPOCH, TYPE, append, seen, stream

PATH = "/api/events/ws"


class Live:
    """Reads events off a WebSocket."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self._lines: list[str] = []

    async def next(self) -> dict[str, Any] | None:
        """Return the next event; None at the end."""
        while not self._lines:
            async with asyncio.timeout(30):
                message = await self.socket.receive()
            if message.type is not WSMsgType.TEXT:
                return None
            self._lines = message.data.splitlines()
        return json.loads(self._lines.pop(0))

    async def numbers(self, count: int) -> list[int]:
        """Read so many events and give their numbers."""
        found: list[int] = []
        for _ in range(count):
            event = await self.next()
            assert event is not None
            found.append(event["data"]["data"]["number"])
        return found

    async def close_code(self) -> int | None:
        """Read to the end."""
        while await self.next() is not None:
            pass
        return self.socket.close_code


@asynccontextmanager
async def connected(
    world: World, query: str = "", *, key: dict[str, str] | None = None, **given: Any
) -> AsyncGenerator[Live]:
    headers = (world.key() if key is None else key) | given.pop("headers", {})
    client: Any = world.client
    socket: ClientWebSocketResponse = await client.ws_connect(
        f"{PATH}?{query}", headers=headers, **given
    )
    async with socket:
        yield Live(socket)


async def test_it_carries_what_the_server_sent_events_carry(world: World) -> None:
    query = "type=plant.resource.*&source=/acme/hamburg"
    async with connected(world, query) as live, stream(world, query) as events:
        await append(world.bus, 0)
        await append(world.bus, 1, source="/acme/bremen")
        await append(world.bus, 2, dataref='a\u2028b\n"c')
        one: dict[str, Any] | None = None
        for _ in range(2):
            one, other = await live.next(), await events.next()
            assert one is not None
            assert other is not None
            assert (one["id"], one["event"], one["data"]) == (other.id, other.name, other.data)
        assert one is not None
        assert (one["id"], one["event"]) == (f"{EPOCH}-2", TYPE)


async def test_it_goes_on_where_it_stopped(make_world: MakeWorld) -> None:
    async with make_world(ring_frames_max=3) as world:
        await append(world.bus, *range(10))
        await seen(world, 9)
        async with connected(world, f"last_event_id={EPOCH}-1") as from_log:
            assert await from_log.numbers(8) == list(range(2, 10))
            await append(world.bus, 10)
            assert await from_log.numbers(1) == [10]
        header = {"Last-Event-ID": f"{EPOCH}-8"}
        async with connected(world, headers=header) as from_ring:
            assert await from_ring.numbers(2) == [9, 10]
        async with connected(world, "last_event_id=0000bbbb-1") as other:
            reset = {"event": "reset", "data": {"reason": "unknown_epoch"}, "id": f"{EPOCH}-10"}
            assert await other.next() == reset


async def test_a_browser_sends_its_key_as_a_subprotocol(world: World) -> None:
    key = world.key()["Authorization"].removeprefix("Bearer ")
    offered = ("lineshaft.events.v1", f"lineshaft.key.{key}")
    origin = {"Origin": str(world.client.make_url("/").origin())}
    async with connected(world, key={}, protocols=offered, headers=origin) as live:
        assert live.socket.protocol == "lineshaft.events.v1"
        await append(world.bus, 0)
        assert await live.numbers(1) == [0]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"key": {}}, 401),
        ({"key": {}, "protocols": ("lineshaft.events.v1", "lineshaft.key.lsk_no_no")}, 401),
        ({"protocols": ("other",)}, 400),
        ({"headers": {"Origin": "https://evil.example"}}, 403),
        ({"headers": {"Origin": "null"}}, 403),
        ({"query": "type=A B"}, 422),
    ],
)
async def test_who_may_not_connect_is_told_before_it_opens(
    world: World, change: dict[str, Any], status: int
) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        async with connected(world, **change):
            pass
    assert refused.value.status == status


async def test_a_key_needs_the_scope_and_an_allowed_origin_gets_in(make_world: MakeWorld) -> None:
    async with make_world(websocket_origins=["https://mes.example"]) as world:
        with pytest.raises(WSServerHandshakeError) as refused:
            async with connected(world, key=world.key("acme", Scope.JOBS_READ)):
                pass
        assert refused.value.status == 403
        async with connected(world, headers={"Origin": "https://mes.example"}):
            pass


async def test_a_plain_request_is_refused_as_a_problem(world: World) -> None:
    response = await world.client.get(PATH, headers=world.key())
    await problem(response, 400, "bad_request")


async def test_a_tenant_sees_its_own_events(world: World) -> None:
    async with connected(world, key=world.key("umbrella", Scope.EVENTS_READ)) as live:
        await append(world.bus, 0)
        await append(world.bus, 1, tenant="umbrella")
        assert await live.numbers(1) == [1]


async def test_both_kinds_of_streams_count_against_one_limit(make_world: MakeWorld) -> None:
    async with make_world(streams_per_tenant_max=1) as world:
        async with stream(world):
            with pytest.raises(WSServerHandshakeError) as refused:
                async with connected(world):
                    pass
            assert refused.value.status == 429
        async with asyncio.timeout(30):
            while True:
                try:
                    async with connected(world):
                        break
                except WSServerHandshakeError:
                    await asyncio.sleep(0.02)


async def test_a_slow_reader_is_told_and_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "QUEUE_FRAMES_MAX", 5)
    async with connected(world) as live:
        await append(world.bus, *range(500), dataref="x" * 10_000)
        await seen(world, 499)
        names = list[str]()
        while (event := await live.next()) is not None:
            names.append(event["event"])
        assert names[-1] == "too-slow"
        assert live.socket.close_code == 4008


async def test_a_revoked_key_ends_the_stream(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "KEY_CHECK_SECONDS", 0.0)
    async with connected(world) as live:
        for prefix in list(world.key_store.kept):
            await world.key_store.revoke(prefix, "acme")
        event = await live.next()
        assert event is not None
        assert event["event"] == "key-revoked"
        assert await live.close_code() == 4001


async def test_a_client_that_sends_is_let_go(world: World) -> None:
    async with connected(world) as live:
        await live.socket.send_str("hello")
        assert await live.close_code() == 1003
    async with connected(world) as live:
        await live.socket.send_bytes(b"x" * 5000)
        assert await live.close_code() == 1009


async def test_a_stopping_gateway_says_so(world: World) -> None:
    async with connected(world) as live:
        world.live.close()
        assert await live.close_code() == 1001


async def test_a_client_that_answers_no_ping_is_cut_off(make_world: MakeWorld) -> None:
    async with make_world(heartbeat_seconds=0.2) as world:
        async with connected(world, autoping=False) as live:
            async with asyncio.timeout(30):
                assert (await live.socket.receive()).type is WSMsgType.PING
                while (await live.socket.receive()).type is WSMsgType.PING:
                    pass
        async with stream(world):  # Its place is free again.
            pass
