"""Delivers the events of one AMQP subscription into its queue, in the order of the log."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import structlog
from lineshaft_common.messaging.bus import PublishError, UnroutableError, UnsendableError
from lineshaft_common.messaging.outgoing import Outgoing
from lineshaft_contracts.subscriptions import Subscription
from lineshaft_contracts.topology import Queue

from lineshaft_event_router.subscriptions.backlog import Backlog
from lineshaft_event_router.subscriptions.journal import DELIVERIES, Journal
from lineshaft_event_router.subscriptions.records import Attempt, LogEvent, Stored

log = structlog.get_logger(__name__)

BATCH_MAX = 200
BACKOFF_SECONDS, BACKOFF_SECONDS_MAX = 0.1, 5.0


class Broker(Protocol):
    """What it needs of the bus."""

    async def publish_many(
        self, messages: Sequence[Outgoing], *, deadline_seconds: float = 5.0
    ) -> list[PublishError | None]:
        """Send in order; say for each whether the broker has it."""
        ...

    async def declare(self, queue: Queue) -> None:
        """Make a queue; nothing happens when it is there."""
        ...


def queue_for(tenant: str, id_: str, subscription: Subscription) -> Queue:
    """Describe the queue of a subscription."""
    settings = subscription.protocolsettings
    return Queue(
        name=queue_name(tenant, id_),
        dead_letter=None,
        delivery_limit=None,
        max_length=settings.length_max,
        message_ttl_seconds=settings.message_ttl_seconds,
        own=True,
    )


def queue_name(tenant: str, id_: str) -> str:
    """Name the queue of a subscription."""
    return f"subscriptions.{tenant}.{id_}"


class QueueCourier:
    """One subscription at work; `run` ends when it is cancelled.

    A queue that is full, or a broker that is away, holds the whole subscription up: events wait
    in the log. What the broker did not confirm is sent again with all that followed it, so the
    order holds.
    """

    def __init__(self, stored: Stored, backlog: Backlog, broker: Broker, journal: Journal) -> None:
        self._stored = stored
        self._backlog = backlog
        self._broker = broker
        self._journal = journal
        self._queue = queue_for(stored.tenant, stored.id, stored.subscription)

    async def run(self) -> None:
        """Deliver until cancelled."""
        delay = BACKOFF_SECONDS
        declared = False
        while True:
            self._backlog.changed.clear()
            events = self._take()
            if not events:
                await self._backlog.changed.wait()
                continue
            if not declared:
                declared = await self._declare()
            error = await self._send(events) if declared else "the queue cannot be made"
            if error is None:
                delay = BACKOFF_SECONDS
                continue
            self._note(events[0], "failed", error)
            declared = False
            await asyncio.sleep(delay)
            delay = min(delay * 2, BACKOFF_SECONDS_MAX)

    def _take(self) -> list[LogEvent]:
        taken = list[LogEvent]()
        while len(taken) < BATCH_MAX:
            event = self._backlog.take()
            if event is None:
                break
            if event.expires_at is not None and event.expires_at <= datetime.now(UTC):
                self._note(event, "expired")
                self._backlog.settle(event)
                continue
            taken.append(event)
        return taken

    async def _declare(self) -> bool:
        try:
            await self._broker.declare(self._queue)
        except Exception as error:  # noqa: BLE001 - whatever the client raises, it is tried again.
            log.warning("subscription_queue_fails", queue=self._queue.name, error=str(error)[:200])
            return False
        return True

    async def _send(self, events: list[LogEvent]) -> str | None:
        """Publish in order; put back what did not arrive, and say why."""
        outcomes = await self._broker.publish_many([self._message(one) for one in events])
        for index, (event, error) in enumerate(zip(events, outcomes, strict=True)):
            if isinstance(error, UnsendableError):
                self._note(event, "failed", str(error))  # It never will arrive; the log has it.
            elif error is not None:
                self._backlog.put_back(events[index:])
                return "the queue is gone" if isinstance(error, UnroutableError) else str(error)
            self._backlog.settle(event)
        DELIVERIES.labels("delivered").inc(len(events))
        return None

    def _message(self, event: LogEvent) -> Outgoing:
        headers: dict[str, str | int] = {"tenant": event.tenant, "log-offset": event.offset}
        if event.traceparent is not None:
            headers["traceparent"] = event.traceparent
        ttl = None
        if event.expires_at is not None:
            left = (event.expires_at - datetime.now(UTC)).total_seconds()
            ttl = max(0, int(left * 1000))
        return Outgoing(
            exchange="",
            routing_key=self._queue.name,
            type=event.type,
            message_id=event.id,
            body=event.body,
            headers=headers,
            priority=event.priority,
            time_to_live_milliseconds=ttl,
        )

    def _note(self, event: LogEvent, outcome: str, detail: str = "") -> None:
        self._journal.note(
            Attempt(
                tenant=self._stored.tenant,
                subscription=self._stored.id,
                at=datetime.now(UTC),
                event_id=event.id,
                event_type=event.type,
                key=event.key,
                offset=event.offset,
                attempt=1,
                outcome=outcome,
                detail=detail,
            )
        )
