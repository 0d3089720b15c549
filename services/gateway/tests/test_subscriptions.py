"""Subscriptions over HTTP, with an event-router that keeps them in memory."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import pytest
from lineshaft_common.messaging.bus import answers
from lineshaft_contracts import subscription_reports as reports
from lineshaft_contracts import subscriptions as contract
from lineshaft_contracts.envelope import Envelope, uuid7
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.topology import EVENT_ROUTER_ASKED
from lineshaft_gateway.keys import Scope

from .conftest import World, pointers, problem

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = {"protocol": "HTTP", "sink": "https://mes.example.com/hooks"}


class Router:
    """Keeps subscriptions by tenant and id, and every command."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], contract.SubscriptionView] = {}
        self.commands: list[Any] = []

    def _own(self, envelope: Envelope[Any]) -> contract.SubscriptionFound:
        found = self.kept.get((envelope.tenant, envelope.data.id))
        if found is None:
            missing = Problem(code="subscription_not_found", title="None", status=404)
            raise ProblemError(missing)
        return contract.SubscriptionFound(subscription=found)

    async def set(self, envelope: Envelope[Any]) -> contract.SubscriptionFound:
        command = envelope.data
        self.commands.append(command)
        self.kept[envelope.tenant, command.id] = contract.SubscriptionView(
            id=command.id,
            subscription=command.subscription,
            state=contract.SubscriptionState.ACTIVE,
            secrets=1,
            position=0,
            lag_messages=0,
            lag_seconds=0,
            waiting=0,
            parked=0,
            missed=0,
            created_at=NOW,
            updated_at=NOW,
        )
        found = self._own(envelope)
        secret = None if command.sinkcredential else SECRET
        return found.model_copy(update={"generated_secret": secret})

    async def ordered(self, envelope: Envelope[Any]) -> contract.SubscriptionFound:
        self.commands.append(envelope.data)
        return self._own(envelope)

    async def get(self, envelope: Envelope[Any]) -> contract.SubscriptionFound:
        return self._own(envelope)

    async def list_page(self, envelope: Envelope[Any]) -> contract.SubscriptionPage:
        own = [one for (tenant, _), one in self.kept.items() if tenant == envelope.tenant]
        return contract.SubscriptionPage(subscriptions=tuple(own))

    async def delete(self, envelope: Envelope[Any]) -> contract.SubscriptionDeleted:
        self._own(envelope)
        del self.kept[envelope.tenant, envelope.data.id]
        return contract.SubscriptionDeleted(id=envelope.data.id)

    async def deliveries(self, envelope: Envelope[Any]) -> reports.DeliveryPage:
        self.commands.append(envelope.data)
        return reports.DeliveryPage(deliveries=())

    async def parked(self, envelope: Envelope[Any]) -> reports.ParkedPage:
        self.commands.append(envelope.data)
        return reports.ParkedPage(events=())

    async def redrive(self, envelope: Envelope[Any]) -> reports.ParkedRedriven:
        self.commands.append(envelope.data)
        return reports.ParkedRedriven(id=uuid7(), keys=3, events=9, redriven=0)

    async def audit(self, envelope: Envelope[Any]) -> reports.SubscriptionAudit:
        return reports.SubscriptionAudit(entries=())


@pytest.fixture
async def router(world: World) -> AsyncGenerator[Router]:
    one = Router()
    served = world.bus.serve(
        EVENT_ROUTER_ASKED,
        answers(contract.SetSubscription, one.set),
        answers(contract.GetSubscription, one.get),
        answers(contract.ListSubscriptions, one.list_page),
        answers(contract.DeleteSubscription, one.delete),
        answers(contract.SetSubscriptionState, one.ordered),
        answers(contract.ReplaySubscription, one.ordered),
        answers(reports.ListDeliveries, one.deliveries),
        answers(reports.ListParked, one.parked),
        answers(reports.RedriveSubscription, one.redrive),
        answers(reports.ListSubscriptionAudit, one.audit),
    )
    async with served:
        yield one


async def ask(world: World, method: str, path: str, key: dict[str, str], body: Any = None) -> Any:
    url = f"/api/subscriptions{path}"
    return await world.client.request(method, url, json=body, headers=key)


async def test_a_subscription_is_made_read_listed_and_removed(
    world: World, router: Router
) -> None:
    key = world.key()
    made = await ask(world, "PUT", "/mes", key, BODY)
    body = await made.json()
    assert (made.status, body["generated_secret"]) == (200, SECRET)
    assert made.headers["Cache-Control"] == "no-store"
    assert body["subscription"]["subscription"]["sink"] == BODY["sink"]
    read = await (await ask(world, "GET", "/mes", key)).json()
    assert (read["subscription"]["id"], read["generated_secret"]) == ("mes", None)
    listed = await (await ask(world, "GET", "", key)).json()
    assert [one["id"] for one in listed["subscriptions"]] == ["mes"]
    other = world.key("globex")
    assert (await (await ask(world, "GET", "", other)).json())["subscriptions"] == []
    await problem(await ask(world, "GET", "/mes", other), 404, "subscription_not_found")
    await problem(await ask(world, "DELETE", "/mes", other), 404, "subscription_not_found")
    assert (await ask(world, "DELETE", "/mes", key)).status == 204
    await problem(await ask(world, "GET", "/mes", key), 404, "subscription_not_found")


async def test_orders_reach_the_router_under_the_key(world: World, router: Router) -> None:
    key = world.key()
    credential = {"secrets": [SECRET]}
    await ask(world, "PUT", "/mes", key, {**BODY, "sinkcredential": credential})
    for path, body in (
        ("/mes/pause", None),
        ("/mes/resume", None),
        ("/mes/replay", {"offset": 5}),
        ("/mes/parked/redrive", {"key": "order-7", "dry_run": True}),
    ):
        response = await ask(world, "POST", path, key, body)
        assert response.status == 200, await response.text()
    told, pause, resume, replay, redrive = router.commands
    prefix = key["Authorization"].split("_")[1]
    assert {one.actor for one in router.commands} == {prefix}
    assert told.sinkcredential.secrets == (SECRET,)
    assert (pause.paused, resume.paused, replay.start.offset) == (True, False, 5)
    assert (redrive.redrive.key, redrive.redrive.dry_run) == ("order-7", True)
    await ask(world, "GET", "/mes/deliveries?failed_only=true&limit=7", key)
    await ask(world, "GET", "/mes/parked?key=order-7", key)
    deliveries, parked = router.commands[-2:]
    assert (deliveries.failed_only, deliveries.limit, parked.key) == (True, 7, "order-7")
    audit = await world.client.get("/api/subscriptions-audit", headers=key)
    assert (await audit.json())["entries"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"protocol": "HTTP"}, ""),
        ({**BODY, "protocol": "AMQP"}, ""),
        ({**BODY, "protocol": "MQTT"}, "/protocol"),
        ({**BODY, "sink": "ftp://example.com/"}, "/sink"),
        ({**BODY, "colour": 1}, "/colour"),
        ({**BODY, "protocolsettings": {"concurrency": 99}}, "/protocolsettings/concurrency"),
        ({**BODY, "protocolsettings": {"colour": 99}}, "/protocolsettings/colour"),
        ({**BODY, "sinkcredential": {"secrets": ["word"]}}, "/sinkcredential/secrets/0"),
    ],
)
async def test_bad_subscriptions_are_told_where_they_are_wrong(
    world: World, router: Router, body: Any, pointer: str
) -> None:
    refused = await problem(
        await ask(world, "PUT", "/mes", world.key(), body), 422, "invalid_input"
    )
    assert pointer in pointers(refused)


async def test_reading_events_is_not_enough_to_send_them_away(
    world: World, router: Router
) -> None:
    key = world.key("acme", Scope.EVENTS_READ)
    await problem(await ask(world, "PUT", "/mes", key, BODY), 403, "missing_scope")
    assert (await ask(world, "GET", "", key)).status == 200


async def test_a_router_that_is_away_is_told(world: World) -> None:
    await problem(await ask(world, "GET", "/mes", world.key()), 503, "service_unavailable")
