"""`/api/plant/...`: what is asked of the event-router, and the position that an answer has."""

import asyncio
from typing import Any

import pytest
from lineshaft_common.messaging.bus import answers
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.plant_views import (
    GetPlantEquipmentTree,
    ListPlantAlerts,
    ListPlantEquipment,
    ListPlantLots,
    ListPlantOrders,
    PlantAlertPage,
    PlantEquipmentPage,
    PlantEquipmentTree,
    PlantLotPage,
    PlantOrder,
    PlantOrderPage,
)
from lineshaft_contracts.topology import EVENT_ROUTER_ASKED
from lineshaft_gateway.keys import Scope

from .conftest import World, pointers, problem
from .streams import EPOCH, append, seen, stream

ORDER = {
    "job_order_id": "JO/1",
    "state": "started",
    "source": "/acme/north",
    "changed_at": "2026-11-25T06:00:00Z",
    "event_id": "e0",
    "event_type": "plant.production.order-started.v1",
}


class Router:
    """An event-router that knows one order, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.tenants: list[str] = []
        self.held: asyncio.Event | None = None

    async def orders(self, question: Envelope[ListPlantOrders]) -> PlantOrderPage:
        self._note(question)
        if self.held is not None:
            await self.held.wait()
        known = not question.data.ids or question.data.ids == ("JO/1",)
        orders = (PlantOrder.model_validate(ORDER),) if known else ()
        return PlantOrderPage(orders=orders, next_cursor="JO/1")

    async def lots(self, question: Envelope[ListPlantLots]) -> PlantLotPage:
        self._note(question)
        return PlantLotPage(lots=())

    async def alerts(self, question: Envelope[ListPlantAlerts]) -> PlantAlertPage:
        self._note(question)
        return PlantAlertPage(alerts=())

    async def equipment(self, question: Envelope[ListPlantEquipment]) -> PlantEquipmentPage:
        self._note(question)
        return PlantEquipmentPage(equipment=())

    async def tree(self, question: Envelope[GetPlantEquipmentTree]) -> PlantEquipmentTree:
        self._note(question)
        return PlantEquipmentTree(roots=(), truncated=False)

    def _note(self, question: Envelope[Any]) -> None:
        self.asked.append(question.data)
        self.tenants.append(question.tenant)


@pytest.fixture
async def router(world: World) -> Router:
    made = Router()
    await world.stack.enter_async_context(
        world.bus.serve(
            EVENT_ROUTER_ASKED,
            answers(ListPlantOrders, made.orders),
            answers(ListPlantLots, made.lots),
            answers(ListPlantAlerts, made.alerts),
            answers(ListPlantEquipment, made.equipment),
            answers(GetPlantEquipmentTree, made.tree),
        )
    )
    return made


async def read(world: World, path: str, **headers: str) -> Any:
    async with world.client.get(f"/api/plant/{path}", headers=world.key() | headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_the_filters_reach_the_event_router(world: World, router: Router) -> None:
    await read(
        world,
        "orders?state=started&state=held&below=/acme/north&limit=5&cursor=x"
        "&material_definition_id=ring&changed_since=2026-11-25T06:00:00Z",
    )
    await read(world, "lots?status=blocked&storage_location=a&job_order_id=JO-1")
    await read(world, "alerts?state=active&severity_min=700")
    await read(world, "equipment?state=down&state=off")
    await read(world, "equipment-tree?below=/acme")
    orders, lots, alerts, equipment, tree = router.asked
    assert (orders.states, orders.below, orders.limit, orders.cursor) == (
        ("started", "held"), "/acme/north", 5, "x",
    )  # fmt: skip
    assert (orders.material_definition_id, orders.changed_since.hour) == ("ring", 6)
    assert (lots.statuses, lots.storage_location, lots.job_order_id) == (
        ("blocked",), "a", "JO-1",
    )  # fmt: skip
    assert (alerts.states, alerts.severity_min) == (("active",), 700)
    assert (equipment.states, tree.below) == (("down", "off"), "/acme")
    assert set(router.tenants) == {"acme"}


async def test_one_is_found_by_its_escaped_id(world: World, router: Router) -> None:
    found = await read(world, "orders/JO%2F1")
    assert found["order"]["job_order_id"] == "JO/1"
    for path in ("orders/JO-2", "lots/L", "alerts/A", "equipment/acme.north"):
        response = await world.client.get(f"/api/plant/{path}", headers=world.key())
        await problem(response, 404, "plant_view_not_found")


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("orders?state=lost", "/query/state/0"),
        ("orders?below=acme", "/query/below"),
        ("lots?material_definition_id=%00", "/query/material_definition_id"),
        ("alerts?severity_min=0", "/query/severity_min"),
        ("equipment?cursor=%00", "/query/cursor"),
        ("equipment-tree?limit=1", "/query/limit"),
    ],
)
async def test_what_cannot_be_asked_is_refused(
    world: World, router: Router, path: str, pointer: str
) -> None:
    response = await world.client.get(f"/api/plant/{path}", headers=world.key())
    body = await problem(response, 422, "invalid_input")
    assert pointers(body)[0] == pointer
    assert router.asked == []


async def test_a_key_needs_the_scope(world: World, router: Router) -> None:
    response = await world.client.get(
        "/api/plant/orders", headers=world.key("acme", Scope.JOBS_READ)
    )
    assert response.status == 403


async def test_without_an_event_router_the_answer_is_503(world: World) -> None:
    response = await world.client.get("/api/plant/orders", headers=world.key())
    assert response.status == 503
    assert response.headers["Retry-After"]


async def test_an_answer_names_the_position_from_before_its_question(
    world: World, router: Router
) -> None:
    await append(world.bus, 0)
    await seen(world, 0)
    router.held = asyncio.Event()
    first = asyncio.create_task(read(world, "orders"))
    async with asyncio.timeout(30):
        while not router.asked:
            await asyncio.sleep(0.005)
    await append(world.bus, 1, 2)
    await seen(world, 2)
    # Who joins the question now must not get the position of now with the answer of then.
    second = asyncio.create_task(read(world, "orders"))
    await asyncio.sleep(0.1)
    router.held.set()
    found = [await first, await second]
    assert len(router.asked) == 1
    assert [one["as_of"] for one in found] == [f"{EPOCH}-0", f"{EPOCH}-0"]
    async with stream(world, last=found[1]["as_of"]) as deltas:
        assert await deltas.numbers(2) == [1, 2]


async def test_before_the_first_event_a_stream_can_go_on_from_the_answer(
    world: World, router: Router
) -> None:
    as_of = (await read(world, "orders"))["as_of"]
    await append(world.bus, 0, 1)
    await seen(world, 1)
    async with stream(world, f"last_event_id={as_of}") as deltas:
        assert await deltas.numbers(2) == [0, 1]
