"""Deliveries on a real broker, a real database and a real receiver."""

import asyncio
import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest
from aiohttp import web
from lineshaft_contracts.problems import ProblemError
from lineshaft_contracts.subscription_reports import (
    ListDeliveries,
    ListParked,
    ListSubscriptionAudit,
    RedriveParked,
    RedriveSubscription,
)
from lineshaft_contracts.subscriptions import (
    DeleteSubscription,
    GetSubscription,
    ListSubscriptions,
    Protocol,
    ProtocolSettings,
    ReplayStart,
    ReplaySubscription,
    SetSubscription,
    SetSubscriptionState,
    Subscription,
    SubscriptionState,
    SubscriptionView,
)

from .places import SECRET, Request, Shop, shop_of

pytestmark = pytest.mark.integration

NEW_SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@pytest.fixture
async def shop(fresh_amqp_url: str, postgres_url: str) -> AsyncGenerator[Shop]:
    async with shop_of(fresh_amqp_url, postgres_url) as made:
        yield made


async def view(shop: Shop, id_: str) -> SubscriptionView:
    return (await shop.ask(GetSubscription(id=id_))).subscription


async def test_events_arrive_signed_in_order_and_once(shop: Shop) -> None:
    async with shop.router():
        found = await shop.subscribe("mes")
        assert found.generated_secret is None
        ids = await shop.send(200, keys=5)
        await shop.until(lambda: len(shop.receiver.requests) >= 200)
        requests = shop.receiver.requests
        for one in requests[:20]:
            one.verify()
            assert one.headers["content-type"] == "application/cloudevents+json"
        assert sorted(one.event["id"] for one in requests) == sorted(ids)
        assert len({one.headers["webhook-id"] for one in requests}) == 200
        sequences = shop.receiver.sequences()
        assert len(sequences) == 5
        assert all(one == sorted(one) for one in sequences.values())

        async def is_kept() -> bool:
            now = await view(shop, "mes")
            return (now.position, now.lag_messages) == (200, 0)

        await shop.until(is_kept)


async def test_only_what_is_wanted_arrives_and_never_anothers(shop: Shop) -> None:
    async with shop.router():
        await shop.subscribe("urgent", filters=({"exact": {"priority": "critical"}},))
        await shop.subscribe("area", "/area", topics=("acme.north.#",))
        await shop.send(3)
        (critical,) = await shop.send(1, priority="critical")
        await shop.send(2, tenant="umbrella", source="/umbrella/north/stamping")
        await shop.send(1)
        await shop.until(lambda: len(shop.receiver.on("/area")) >= 5)
        assert [one.event["id"] for one in shop.receiver.on("/")] == [critical]
        assert {one.event["tenant"] for one in shop.receiver.requests} == {"acme"}
        with pytest.raises(ProblemError, match="subscription_not_found"):
            await shop.ask(GetSubscription(id="area"), tenant="umbrella")
        assert (await shop.ask(ListSubscriptions(), tenant="umbrella")).subscriptions == ()
        listed = await shop.ask(ListSubscriptions(limit=1))
        rest = await shop.ask(ListSubscriptions(cursor=listed.next_cursor))
        names = [one.id for one in (*listed.subscriptions, *rest.subscriptions)]
        assert names == ["area", "urgent"]


async def test_a_failing_key_is_parked_listed_and_redriven(shop: Shop) -> None:
    broken = True

    def answer(request: Request) -> web.Response:
        bad = broken and request.event["partitionkey"] == "key-1"
        return web.Response(status=500 if bad else 200, text="no such order")

    shop.receiver.answers["/"] = answer
    async with shop.router():
        await shop.subscribe("mes", protocolsettings={"retry_for_seconds": 0.5})
        await shop.send(60, keys=4)

        async def is_parked() -> bool:
            now = await view(shop, "mes")
            return (now.parked, now.waiting, now.position) == (15, 0, 60)

        await shop.until(is_parked)
        page = await shop.ask(ListParked(id="mes", limit=10))
        assert page.events[0].key == "key-1"
        assert page.events[0].attempts > 1
        assert page.events[0].error == "500 no such order"
        assert [one.attempts for one in page.events[1:]] == [0] * 9
        rest = await shop.ask(ListParked(id="mes", cursor=page.next_cursor))
        assert len(rest.events) == 5

        async def is_logged() -> bool:
            log = await shop.ask(ListDeliveries(id="mes", failed_only=True))
            return {one.outcome for one in log.deliveries} == {"failed", "parked"}

        await shop.until(is_logged)
        ids = {
            one.headers["webhook-id"]
            for one in shop.receiver.requests
            if answer(one).status == 500
        }
        assert len(ids) == 1

        counted = await shop.ask(
            RedriveSubscription(id="mes", redrive=RedriveParked(dry_run=True), actor="anna")
        )
        assert (counted.keys, counted.events, counted.redriven) == (1, 15, 0)
        broken = False
        done = await shop.ask(
            RedriveSubscription(id="mes", redrive=RedriveParked(reason="fixed"), actor="anna")
        )
        assert done.redriven == 1

        async def is_clear() -> bool:
            now = await view(shop, "mes")
            return (now.parked, now.waiting) == (0, 0)

        await shop.until(is_clear)
        assert all(one == sorted(one) for one in shop.receiver.sequences().values())
        audit = await shop.ask(ListSubscriptionAudit())
        assert [one.action for one in audit.entries] == ["redrive", "redrive", "set"]
        assert audit.entries[0].details["reason"] == "fixed"
        assert audit.entries[0].actor == "anna"


async def test_a_dead_receiver_slows_no_other(shop: Shop) -> None:
    async def hang(_: Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    shop.receiver.answers["/dead"] = hang
    async with shop.router():
        await shop.subscribe("dead", "/dead", protocolsettings={"timeout_seconds": 2})
        for number in range(9):
            await shop.subscribe(f"good-{number}", f"/good-{number}")
        await shop.send(30, keys=30)
        started = time.monotonic()
        await shop.until(
            lambda: all(len(shop.receiver.on(f"/good-{number}")) >= 30 for number in range(9))
        )
        assert time.monotonic() - started < 10
        assert len(shop.receiver.on("/dead")) <= 8 * 8


async def test_secrets_are_rotated_generated_and_never_told_again(shop: Shop) -> None:
    async with shop.router():
        await shop.subscribe("mes")
        await shop.subscribe("mes", secrets=(NEW_SECRET, SECRET))
        await shop.send(1)
        await shop.until(lambda: shop.receiver.requests)
        shop.receiver.requests[0].verify(SECRET)
        shop.receiver.requests[0].verify(NEW_SECRET)
        found = await shop.subscribe("mes", secrets=())  # The secrets are kept.
        assert (found.subscription.secrets, found.generated_secret) == (2, None)
        made = await shop.subscribe("other", "/other", secrets=())
        assert made.generated_secret is not None
        await shop.send(1)
        await shop.until(lambda: shop.receiver.on("/other"))
        shop.receiver.on("/other")[0].verify(made.generated_secret)
        everything = [found, await shop.ask(GetSubscription(id="other"))]
        assert "whsec_" not in "".join(one.model_dump_json() for one in everything)


async def test_a_receiver_that_is_gone_disables_until_resumed(shop: Shop) -> None:
    shop.receiver.answers["/"] = lambda _: web.Response(status=410)
    async with shop.router():
        await shop.subscribe("mes")
        await shop.send(3)

        async def is_disabled() -> bool:
            now = await view(shop, "mes")
            return (now.state, now.state_reason) == (SubscriptionState.DISABLED, "gone")

        await shop.until(is_disabled)
        assert len(shop.receiver.requests) <= 3
        del shop.receiver.answers["/"]
        shop.receiver.requests.clear()
        await shop.ask(SetSubscriptionState(id="mes", paused=False, actor="anna"))
        await shop.until(lambda: len(shop.receiver.requests) == 3)


async def test_a_paused_subscription_goes_on_where_it_stopped(shop: Shop) -> None:
    async with shop.router():
        await shop.subscribe("mes")
        await shop.ask(SetSubscriptionState(id="mes", paused=True, actor="anna"))
        await shop.subscribe("other", "/other")
        await shop.send(5)
        await shop.until(lambda: len(shop.receiver.on("/other")) == 5)
        assert shop.receiver.on("/") == []
        await shop.ask(SetSubscriptionState(id="mes", paused=False, actor="anna"))
        await shop.until(lambda: len(shop.receiver.on("/")) == 5)


async def test_redirects_are_failures_and_retry_after_is_honoured(shop: Shop) -> None:
    times = list[float]()

    def busy(_: Request) -> web.Response:
        times.append(time.monotonic())
        if len(times) == 1:
            return web.Response(status=503, headers={"Retry-After": "2"})
        return web.Response()

    shop.receiver.answers["/busy"] = busy
    shop.receiver.answers["/moved"] = lambda _: web.Response(
        status=307, headers={"Location": shop.receiver.url("/elsewhere")}
    )
    async with shop.router():
        await shop.subscribe("busy", "/busy")
        await shop.subscribe("moved", "/moved")
        await shop.send(1)
        await shop.until(lambda: len(times) >= 2 and len(shop.receiver.on("/moved")) >= 3)
        assert times[1] - times[0] >= 1.9
        assert shop.receiver.on("/elsewhere") == []
        assert len({one.headers["webhook-id"] for one in shop.receiver.on("/moved")}) == 1

        async def is_logged() -> bool:
            log = await shop.ask(ListDeliveries(id="moved", limit=1))
            return {(one.status, one.detail) for one in log.deliveries} == {
                (307, "redirects are not followed")
            }

        await shop.until(is_logged)


async def test_a_replay_goes_over_into_live_without_a_gap_or_a_double(shop: Shop) -> None:
    async with shop.router():
        await shop.subscribe("old", "/old")
        ids = await shop.send(900, keys=7)
        await shop.until(lambda: len(shop.receiver.on("/old")) == 900)
        await shop.subscribe("mes")
        assert shop.receiver.on("/") == []
        start = ReplayStart(offset=100)
        await shop.ask(ReplaySubscription(id="mes", start=start, actor="anna"))
        for _ in range(10):
            ids += await shop.send(50, keys=7)
            await asyncio.sleep(0.05)  # New events come while old ones are read.
        await shop.until(lambda: len(shop.receiver.on("/")) >= 1300)
        got = [one.event["id"] for one in shop.receiver.on("/")]
        assert sorted(got) == sorted(ids[100:])
        assert all(one == sorted(one) for one in shop.receiver.sequences().values())

        shop.receiver.requests.clear()
        start = ReplayStart(event_id=ids[1390])
        found = await shop.ask(ReplaySubscription(id="mes", start=start, actor="anna"))
        assert found.subscription.position == 1390
        await shop.until(lambda: len(shop.receiver.on("/")) == 10)
        later = ReplayStart(time=datetime.now(UTC) + timedelta(hours=1))
        found = await shop.ask(ReplaySubscription(id="mes", start=later, actor="anna"))
        assert found.subscription.position == 1400
        unknown = ReplayStart(event_id="no-such-event")
        with pytest.raises(ProblemError, match="event_not_found"):
            await shop.ask(ReplaySubscription(id="mes", start=unknown, actor="anna"))


async def test_a_queue_is_made_filled_in_order_and_removed(shop: Shop) -> None:
    wanted = Subscription(protocol=Protocol.AMQP, protocolsettings=ProtocolSettings(length_max=50))
    async with shop.router():
        found = await shop.ask(SetSubscription(id="erp", subscription=wanted, actor="anna"))
        name = found.subscription.queue
        assert name == "subscriptions.acme.erp"
        ids = await shop.send(120)  # More than the queue takes at once.
        got = list[str]()
        async with await aio_pika.connect(str(shop.settings.amqp_url)) as connection:
            channel = await connection.channel()
            queue = await channel.get_queue(name)

            async def take(message: Any) -> None:
                got.append(message.message_id)
                await message.ack()

            tag = await queue.consume(take)
            await shop.until(lambda: len(set(got)) == 120)
            await queue.cancel(tag)
            assert list(dict.fromkeys(got)) == ids
            other = wanted.model_copy(update={"protocolsettings": ProtocolSettings(length_max=60)})
            with pytest.raises(ProblemError, match="queue_settings_are_fixed"):
                await shop.ask(SetSubscription(id="erp", subscription=other, actor="anna"))
            await shop.ask(DeleteSubscription(id="erp", actor="anna"))

            async def is_gone() -> bool:
                left = await shop.pool.fetchval("SELECT count(*) FROM subscription_queues_left")
                return left == 0

            await shop.until(is_gone)
            with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
                await (await connection.channel()).get_queue(name)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"types": ("plant.production.unit-made.v1",)}, "/types/0"),
        ({"topics": ("acme.*north",)}, "/topics/0"),
        ({"filters": ({"exact": {"sevrity": "1"}},)}, "/filters/0/exact/sevrity"),
        ({"sink": "http://10.0.0.1/"}, "/sink"),
        ({"sink": "http://user:word@hooks.example.com/"}, "/sink"),
        (
            {"protocolsettings": {"headers": {"Webhook-Id": "1"}}},
            "/protocolsettings/headers/Webhook-Id",
        ),
    ],
)
async def test_what_cannot_work_is_refused_with_its_place(
    shop: Shop, change: dict[str, Any], pointer: str
) -> None:
    body = {"protocol": "HTTP", "sink": shop.receiver.url(), **change}
    subscription = Subscription.model_validate(body)
    async with shop.router():
        with pytest.raises(ProblemError) as caught:
            await shop.ask(SetSubscription(id="mes", subscription=subscription, actor="anna"))
    assert [one.pointer for one in caught.value.problem.errors] == [pointer]


async def test_another_router_takes_over(shop: Shop) -> None:
    async with shop.router():
        await shop.subscribe("mes")
        await shop.send(10)
        await shop.until(lambda: len(shop.receiver.requests) == 10)
    async with shop.router(), shop.router():
        await shop.send(10)
        await shop.until(lambda: len(shop.receiver.requests) == 20)
        assert len({one.event["id"] for one in shop.receiver.requests}) == 20
