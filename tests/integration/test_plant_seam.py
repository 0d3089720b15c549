"""Snapshot, then deltas: nothing is missing between them while the plant keeps on sending."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from lineshaft_common import messaging, postgres
from lineshaft_common.health import Health
from lineshaft_common.messaging import Bus, Outgoing
from lineshaft_event_router.__main__ import route
from lineshaft_event_router.settings import Settings
from lineshaft_gateway.keys import ALL_SCOPES, make
from lineshaft_gateway.live import LiveLog
from lineshaft_gateway.routes import create_app
from lineshaft_gateway.settings import GatewaySettings
from lineshaft_gateway.store import PostgresKeyStore, PostgresPositionStore
from pydantic_core import to_json

pytestmark = pytest.mark.integration

ORDERS = 25
ROUNDS = 60
READERS = 6
LAST = ROUNDS - 1


@pytest.fixture
async def plant(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path
) -> AsyncGenerator[tuple[Bus, TestClient[Any, Any]]]:
    """Run an event-router and a gateway, and give a bus and a client with a key."""
    given = {"amqp_url": fresh_amqp_url, "postgres_url": postgres_url}
    packages = ("lineshaft_common", "lineshaft_event_router", "lineshaft_gateway")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        pool = await enter(postgres.connect(postgres_url, *packages, name="test"))
        bus = await enter(messaging.connect(fresh_amqp_url, name="test"))
        await enter(route(Settings.model_validate(given), pool, bus))
        settings = GatewaySettings.model_validate({**given, "object_store_url": tmp_path.as_uri()})
        live = await enter(LiveLog(bus, PostgresPositionStore(pool), settings.ring()))
        keys = PostgresKeyStore(pool)
        key, text = make(tenant="acme", name="test", scopes=frozenset(ALL_SCOPES))
        await keys.add(key)
        app = create_app(settings, bus=bus, live=live, keys=keys, health=Health({}))
        headers = {"Authorization": f"Bearer {text}"}
        yield bus, await enter(TestClient(TestServer(app), headers=headers))


def progressed(order: int, number: int) -> Outgoing:
    body = {
        "specversion": "1.0",
        "id": f"{order}/{number}",
        "source": "/acme/north/stamping/line-1/press-1",
        "type": "plant.production.order-progressed.v1",
        "time": datetime.now(UTC).isoformat(),
        "tenant": "acme",
        "data": {
            "job_order_id": f"JO-{order}",
            "quantity": {"good": {"value": str(number), "uom": "pcs"}},
        },
    }
    return Outgoing(
        exchange="plant.ingress",
        routing_key="normal",
        type="plant.production.order-progressed.v1",
        message_id=str(body["id"]),
        body=to_json(body),
        headers={},
    )


async def send(bus: Bus) -> None:
    for number in range(ROUNDS):
        outcomes = await bus.publish_many([progressed(order, number) for order in range(ORDERS)])
        assert outcomes == [None] * ORDERS
        await asyncio.sleep(0.02)


async def snapshot(client: TestClient[Any, Any]) -> tuple[dict[str, int], str]:
    """Read all pages: the last event's number by order, and the position of the first page."""
    found, cursor, position = dict[str, int](), "", ""
    while True:
        query = {"limit": "10"} | ({"cursor": cursor} if cursor else {})
        async with client.get("/api/plant/orders", params=query) as response:
            assert response.status == 200, await response.text()
            page = await response.json()
        position = position or page["as_of"]
        for one in page["orders"]:
            found[one["job_order_id"]] = int(one["event_id"].split("/")[1])
        cursor = page["next_cursor"]
        if cursor is None:
            return found, position


async def missing(client: TestClient[Any, Any], delay: float) -> tuple[list[str], int]:
    """Follow from a snapshot to the end; what neither had, and how many events were in both."""
    await asyncio.sleep(delay)
    shown, position = await snapshot(client)
    streamed = defaultdict[str, set[int]](set)
    ended = {order for order, number in shown.items() if number == LAST}
    async with client.get(
        "/api/events/stream", params={"last_event_id": position, "type": "plant.production.*"}
    ) as response:
        while len(ended) < ORDERS:
            line = (await response.content.readline()).decode()
            assert line, "the stream ended"
            assert line != "event: reset\n"
            if line.startswith("data: "):
                event = json.loads(line[6:])
                number = int(event["id"].split("/")[1])
                streamed[event["data"]["job_order_id"]].add(number)
                if number == LAST:
                    ended.add(event["data"]["job_order_id"])
    orders = [f"JO-{order}" for order in range(ORDERS)]
    gaps = [
        f"{order} {number}"
        for order in orders
        for number in range(shown.get(order, -1) + 1, ROUNDS)
        if number not in streamed[order]
    ]
    both = sum(number <= shown.get(order, -1) for order in orders for number in streamed[order])
    return gaps, both


async def test_no_event_is_missing_between_a_snapshot_and_its_stream(
    plant: tuple[Bus, TestClient[Any, Any]],
) -> None:
    bus, client = plant
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(send(bus))
        readers = [group.create_task(missing(client, 0.3 * number)) for number in range(READERS)]
    results = [reader.result() for reader in readers]
    assert [gaps for gaps, _ in results] == [[]] * READERS
    final, _ = await snapshot(client)
    assert final == {f"JO-{order}": LAST for order in range(ORDERS)}
