"""Run the event-router: start-up reads down, shutdown reads up."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from lineshaft_common import http, lifecycle, logs, messaging, postgres, tracing
from lineshaft_common.health import Health
from lineshaft_common.messaging import Answer, Bus, answers
from lineshaft_common.outbox import OutboxRelay
from lineshaft_common.postgres import Pool
from lineshaft_common.reporting import report
from lineshaft_contracts.dead_letters import (
    GetDeadLetter,
    ListDeadLetterAudit,
    ListDeadLetters,
    RedriveDeadLetters,
)
from lineshaft_contracts.plant_views import (
    GetPlantEquipmentTree,
    ListPlantAlerts,
    ListPlantEquipment,
    ListPlantLots,
    ListPlantOrders,
)
from lineshaft_contracts.routing import GetEventStats, ListQuarantined
from lineshaft_contracts.topology import (
    DEAD_LETTERS,
    EVENT_ROUTER_ASKED,
    EVENT_ROUTER_PLATFORM,
    INGRESS,
)

from lineshaft_event_router.answering import Answering
from lineshaft_event_router.dead_letter_count import counted
from lineshaft_event_router.dead_letters import DeadLetters
from lineshaft_event_router.ingress import Ingress
from lineshaft_event_router.plant_answers import PlantAnswers
from lineshaft_event_router.plant_replay import replay_once
from lineshaft_event_router.platform import PlatformRelay
from lineshaft_event_router.retention import forget_old
from lineshaft_event_router.routes import create_app
from lineshaft_event_router.settings import Settings
from lineshaft_event_router.store import (
    DeadLetterBox,
    DeliveryStore,
    EventBook,
    HeldStore,
    Inbox,
    PlantViews,
    Quarantine,
    SubscriptionBook,
    SubscriptionReports,
)
from lineshaft_event_router.subscriptions.addresses import AddressGuard
from lineshaft_event_router.subscriptions.delivering import Deliveries
from lineshaft_event_router.subscriptions.desk import SubscriptionDesk
from lineshaft_event_router.subscriptions.reports_desk import ReportsDesk
from lineshaft_event_router.subscriptions.webhook import WebhookClient
from lineshaft_event_router.turnstile import Turnstile

NAME = "event-router"
LETTERS_MAX = 50


async def main() -> None:
    """Serve until told to stop."""
    settings = Settings.from_environment()
    url, instance = str(settings.postgres_url), settings.instance
    logs.configure(NAME, instance=instance, level=settings.log_level)
    async with (
        tracing.start(NAME, instance=instance, sample_ratio=settings.trace_sample_ratio),
        postgres.connect(
            url,
            "lineshaft_common",
            "lineshaft_event_router",
            name=NAME,
            connections_max=settings.postgres_connections_max,
        ) as pool,
        messaging.connect(str(settings.amqp_url), name=NAME) as bus,
        route(settings, pool, bus),
    ):
        health = Health({"broker": bus.check, "database": partial(postgres.check, pool)})
        async with (
            http.serve(create_app(health), host=settings.http_host, port=settings.http_port),
            report(
                bus,
                health,
                service=NAME,
                instance=instance,
                interval_seconds=settings.metrics_interval_seconds,
            ),
        ):
            await lifecycle.until_terminated()


@asynccontextmanager
async def route(settings: Settings, pool: Pool, bus: Bus) -> AsyncGenerator[None]:
    """Take and pass on events while the block is open."""
    async with OutboxRelay(pool, bus) as relay, AsyncExitStack() as stack:
        inbox, quarantine = Inbox(pool, on_accepted=relay.wake), Quarantine(pool)
        turnstile, desk = Turnstile(), Answering(EventBook(pool), quarantine)
        views = PlantViews(pool)
        plant = PlantAnswers(views)
        box = DeadLetterBox(pool)
        letters = DeadLetters(box, bus)
        ingress = Ingress(inbox, quarantine, turnstile)
        await stack.enter_async_context(forget_old(inbox, window=settings.inbox_window))
        await stack.enter_async_context(forget_old(views, window=settings.plant_views_window))
        await stack.enter_async_context(replay_once(bus, views))
        await stack.enter_async_context(counted(box))
        await stack.enter_async_context(
            bus.subscribe_batch(DEAD_LETTERS, letters.take, batch_max=LETTERS_MAX, raw=True)
        )
        await stack.enter_async_context(
            bus.serve(
                EVENT_ROUTER_ASKED,
                answers(GetEventStats, desk.get_stats),
                answers(ListQuarantined, desk.list_quarantined),
                answers(ListPlantOrders, plant.list_orders),
                answers(ListPlantLots, plant.list_lots),
                answers(ListPlantAlerts, plant.list_alerts),
                answers(ListPlantEquipment, plant.list_equipment),
                answers(GetPlantEquipmentTree, plant.get_tree),
                answers(ListDeadLetters, letters.list_page),
                answers(GetDeadLetter, letters.get),
                answers(RedriveDeadLetters, letters.redrive),
                answers(ListDeadLetterAudit, letters.list_audit),
                *await stack.enter_async_context(deliver(settings, pool, bus)),
            )
        )
        # Nobody passes until every lane is open: one lane's backlog would hold up the next one's
        # opening on the connection that they share.
        async with turnstile.turn("critical"):
            for lane, queue in INGRESS.items():
                await stack.enter_async_context(
                    bus.subscribe_batch(
                        queue, partial(ingress.take, lane), batch_max=settings.batch_max, raw=True
                    )
                )
        await stack.enter_async_context(
            bus.subscribe_batch(EVENT_ROUTER_PLATFORM, PlatformRelay(bus).relay)
        )
        yield


@asynccontextmanager
async def deliver(settings: Settings, pool: Pool, bus: Bus) -> AsyncGenerator[tuple[Answer, ...]]:
    """Deliver to subscriptions while the block is open; gives the answers about them."""
    guard = AddressGuard(settings.webhook_networks_allowed)
    book = SubscriptionBook(pool)
    async with (
        WebhookClient(guard) as client,
        Deliveries(bus, DeliveryStore(pool), HeldStore(pool), client) as deliveries,
    ):
        desk = SubscriptionDesk(
            book, bus, guard, head=lambda: deliveries.head, on_change=deliveries.wake
        )
        yield (*desk.answers(), *ReportsDesk(book, SubscriptionReports(pool)).answers())


if __name__ == "__main__":
    lifecycle.run(main)
