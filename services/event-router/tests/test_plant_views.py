"""The views in PostgreSQL: written with the inbox, read page by page, replayed, forgotten."""

import asyncio
import random
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
from lineshaft_common import postgres
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import Envelope, envelop
from lineshaft_contracts.inventory import LotStatus
from lineshaft_contracts.plant_views import (
    AlertCondition,
    GetPlantEquipmentTree,
    ListPlantAlerts,
    ListPlantEquipment,
    ListPlantLots,
    ListPlantOrders,
    OrderState,
)
from lineshaft_event_router.plant_answers import PlantAnswers
from lineshaft_event_router.store import Inbox, PlantViews
from pydantic import BaseModel

from .plant_facts import START, fact, order, pieces

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(postgres_url: str) -> AsyncGenerator[Pool]:
    packages = ("lineshaft_common", "lineshaft_event_router")
    async with postgres.connect(postgres_url, *packages, name="test") as made:
        yield made


@pytest.fixture
def inbox(pool: Pool) -> Inbox:
    return Inbox(pool, on_accepted=lambda: None)


@pytest.fixture
def desk(pool: Pool) -> PlantAnswers:
    return PlantAnswers(PlantViews(pool))


def ask(question: Any, tenant: str = "acme") -> Envelope[Any]:
    return envelop(question, source="/services/gateway", tenant=tenant)


def all_of(page: BaseModel) -> dict[str, Any]:
    return page.model_dump(mode="json")


async def test_pages_hold_each_order_once(inbox: Inbox, desk: PlantAnswers) -> None:
    await inbox.accept([order("started", n, job_order_id=f"JO-{n:02}") for n in range(25)])
    found, cursor = list[str](), None
    while True:
        page = await desk.list_orders(ask(ListPlantOrders(limit=10, cursor=cursor)))
        found += [one.job_order_id for one in page.orders]
        cursor = page.next_cursor
        if cursor is None:
            break
        await inbox.accept([order("held", 50, job_order_id=found[-1], reason_code="x")])
    assert found == [f"JO-{n:02}" for n in range(25)]


async def test_lists_are_filtered(inbox: Inbox, desk: PlantAnswers) -> None:
    await inbox.accept(
        [
            order("released", 0, material_definition_id="ring", quantity=pieces(1)),
            order("started", 5, job_order_id="JO-2", source="/acme/north"),
            order("started", 5, job_order_id="JO-3", source="/acme/northern"),
        ]
    )

    async def ids(**given: Any) -> list[str]:
        page = await desk.list_orders(ask(ListPlantOrders(**given)))
        return [one.job_order_id for one in page.orders]

    assert await ids(states=(OrderState.STARTED,)) == ["JO-2", "JO-3"]
    assert await ids(below="/acme/north") == ["JO-1", "JO-2"]
    assert await ids(material_definition_id="ring") == ["JO-1"]
    assert await ids(changed_since=START + timedelta(minutes=5)) == ["JO-2", "JO-3"]
    assert await ids(ids=("JO-3", "JO-9")) == ["JO-3"]
    other = await desk.list_orders(ask(ListPlantOrders(), tenant="umbrella"))
    assert other.orders == ()


async def test_lots_alerts_and_equipment_are_found_by_what_they_are(
    inbox: Inbox, desk: PlantAnswers
) -> None:
    lot = {"material_lot_id": "L/1", "material_definition_id": "ring", "quantity": pieces(5)}
    alert = {"alert_id": "A", "condition_name": "c", "severity": 700, "message": "m"}
    await inbox.accept(
        [
            fact("inventory.lot-created", 0, {**lot, "storage_location": "store-a"}),
            fact("quality.alert-raised", 0, {**alert, "job_order_id": "JO-1"}),
            fact("resource.state-changed", 0, {"state": "down"}),
        ]
    )
    lots = ListPlantLots(statuses=(LotStatus.AVAILABLE,), storage_location="store-a")
    assert [one.material_lot_id for one in (await desk.list_lots(ask(lots))).lots] == ["L/1"]
    none = ListPlantLots(storage_location="store-b")
    assert (await desk.list_lots(ask(none))).lots == ()
    alerts = ListPlantAlerts(
        states=(AlertCondition.ACTIVE,), severity_min=700, job_order_id="JO-1"
    )
    assert len((await desk.list_alerts(ask(alerts))).alerts) == 1
    assert (await desk.list_alerts(ask(ListPlantAlerts(severity_min=701)))).alerts == ()
    equipment = await desk.list_equipment(ask(ListPlantEquipment(below="/acme/north/")))
    assert [one.state.value for one in equipment.equipment] == ["down"]
    tree = await desk.get_tree(ask(GetPlantEquipmentTree()))
    assert tree.roots[0].by_state == {"down": 1}
    assert not tree.truncated


async def test_a_failed_acceptance_leaves_no_view_behind(
    pool: Pool, inbox: Inbox, desk: PlantAnswers
) -> None:
    await pool.execute("ALTER TABLE event_counts ADD CONSTRAINT never CHECK (accepted < 0)")
    with pytest.raises(Exception, match="never"):
        await inbox.accept([order("started", 0)])
    assert (await desk.list_orders(ask(ListPlantOrders()))).orders == ()


async def test_replicas_that_write_the_same_views_at_once_agree(
    pool: Pool, desk: PlantAnswers
) -> None:
    shuffler = random.Random(11)
    events = [
        made
        for number in range(20)
        for made in (
            order("released", 0, job_order_id=f"JO-{number}", material_definition_id="ring",
                  quantity=pieces(number)),
            order("started", 1, job_order_id=f"JO-{number}"),
            order("progressed", 2, job_order_id=f"JO-{number}", quantity={"good": pieces(1)}),
            order("completed", 3, job_order_id=f"JO-{number}", quantity={"good": pieces(9)}),
        )
    ]  # fmt: skip
    shuffler.shuffle(events)
    inboxes = [Inbox(pool, on_accepted=lambda: None) for _ in range(4)]
    await asyncio.gather(*(one.accept(events[n::4]) for n, one in enumerate(inboxes)))
    page = await desk.list_orders(ask(ListPlantOrders()))
    assert len(page.orders) == 20
    assert {one.state.value for one in page.orders} == {"completed"}
    assert all(one.material_definition_id == "ring" for one in page.orders)


async def test_replaying_what_is_there_changes_nothing(
    pool: Pool, inbox: Inbox, desk: PlantAnswers
) -> None:
    views = PlantViews(pool)
    old, new = order("started", 0), order("held", 1, reason_code="x")
    await inbox.accept([new])
    await views.replay([old, new, old], next_offset=3)
    before = all_of(await desk.list_orders(ask(ListPlantOrders())))
    await views.replay([old, new], next_offset=2)
    assert all_of(await desk.list_orders(ask(ListPlantOrders()))) == before
    assert before["orders"][0]["actual_start_time"] == "2026-11-25T06:00:00Z"
    assert await views.replay_from() == 3
    await views.end_replay()
    assert await views.replay_from() is None


async def test_what_finished_is_forgotten_before_what_did_not(
    pool: Pool, inbox: Inbox, desk: PlantAnswers
) -> None:
    done = order("completed", 0, job_order_id="done", quantity={"good": pieces(1)})
    await inbox.accept([done, order("started", 0, job_order_id="open")])
    views = PlantViews(pool)
    assert await views.forget(older_than=timedelta(days=1)) == 0
    await pool.execute("UPDATE plant_views SET heard_at = now() - interval '2 days'")
    assert await views.forget(older_than=timedelta(days=1)) == 1
    left = (await desk.list_orders(ask(ListPlantOrders()))).orders
    assert [one.job_order_id for one in left] == ["open"]
    await pool.execute("UPDATE plant_views SET heard_at = now() - interval '11 days'")
    assert await views.forget(older_than=timedelta(days=1)) == 1
