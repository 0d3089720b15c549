"""Settling: the one place that decides between acknowledge, retry and dead letter."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import structlog
from lineshaft_contracts.envelope import Envelope, Message, Unregistered
from lineshaft_contracts.registry import UnknownTypeError, read
from lineshaft_contracts.topology import DEAD_LETTER, Queue
from prometheus_client import Counter
from pydantic import ValidationError

from lineshaft_common import tracing
from lineshaft_common.messaging.bus import Delivery, PublishError
from lineshaft_common.messaging.codec import Received
from lineshaft_common.messaging.outgoing import Outgoing
from lineshaft_common.transient import is_outage, is_transient

log = structlog.get_logger(__name__)

ATTEMPTS_MAX = 4
ROUNDS_MAX = 4
"""So often a batch is tried as it is; then message by message, so that only a bad one waits."""
DELIVERIES_MAX = 30
"""Above the broker's own limit, for a broker without: a lost connection counts as one too."""
BACKOFF_SECONDS_MAX = 10.0

CONSUMED = Counter(
    "lineshaft_amqp_consumed_total", "Messages by queue and outcome", ["queue", "outcome"]
)

Deliver = Callable[[Sequence[Delivery[Any]]], Awaitable[None]]
Reply = Callable[[Received, Message], Awaitable[None]]


class Publishes(Protocol):
    """Whatever takes the dead letters."""

    async def publish_many(
        self, messages: Sequence[Outgoing], *, deadline_seconds: float
    ) -> list[PublishError | None]:
        """Send in order; the outcome of each message."""
        ...


class Settler:
    """Brings every message of a batch to an end: handled, or put aside with a reason.

    An outage is waited out with back-off while the message stays unacknowledged. Any other
    failure of a batch is narrowed down message by message; one that fails ATTEMPTS_MAX times,
    cannot be read, or was delivered DELIVERIES_MAX times (it ends the process that handles it)
    goes to the dead-letter queue with the reason in its headers.
    """

    def __init__(
        self,
        queue: Queue,
        handle: Deliver,
        publisher: Publishes,
        *,
        reply: Reply,
        raw: bool = False,
        spans: bool = True,
    ) -> None:
        self._queue = queue
        self._handle = handle
        self._publisher = publisher
        self._raw = raw
        self._reply = reply
        self._spans = spans
        """Whether a batch is a span; not where each message becomes one of its own."""
        self._handled = CONSUMED.labels(queue.name, "handled")

    async def settle(self, batch: list[Received]) -> None:
        """Handle or dead-letter every message; return only when all may be acknowledged."""
        deliveries: list[tuple[Received, Delivery[Any]]] = []
        for received in batch:
            if _deliveries(received) > DELIVERIES_MAX:
                await self._dead_letter(received, "delivered_too_often", "its handler never ended")
                continue
            try:
                deliveries.append((received, self._read(received)))
            except UnknownTypeError as error:
                await self._dead_letter(received, "unknown_type", str(error))
            except ValidationError as error:
                detail = "; ".join(
                    f"{'/'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]
                )
                await self._dead_letter(received, "invalid_message", detail)
        if len(deliveries) == 1 or (deliveries and not await self._try(deliveries)):
            for pair in deliveries:
                await self._try_alone(*pair)

    async def _try(self, pairs: list[tuple[Received, Delivery[Any]]]) -> bool:
        """Hand over a batch; False when it failed for a reason that may lie in its messages.

        An outage is waited out, however long. A collision or a slow answer is tried a few
        times; then it counts as a failure of the message, which must not hold up the queue.
        """
        delay, rounds = 0.1, 0
        while True:
            deliveries = [delivery for _, delivery in pairs]
            try:
                if self._spans:
                    senders = [d.context for d in deliveries if len(pairs) == 1 or d.is_recorded]
                    with tracing.process(self._queue.name, senders, messages=len(pairs)):
                        await self._handle(deliveries)
                else:
                    await self._handle(deliveries)
            except Exception as error:
                rounds += 1
                passing = is_outage(error) or (is_transient(error) and rounds < ROUNDS_MAX)
                alone = len(pairs) == 1
                if not passing and alone:
                    raise
                log.warning(
                    "batch_failed",
                    queue=self._queue.name,
                    messages=len(pairs),
                    waits=passing,
                    error=repr(error)[:300],
                )
                if not alone and (not passing or rounds >= ROUNDS_MAX):
                    return False
                CONSUMED.labels(self._queue.name, "waited").inc(len(pairs))
                await asyncio.sleep(delay)
                delay = min(delay * 2, BACKOFF_SECONDS_MAX)
                continue
            parked = 0
            for received, delivery in pairs:
                if delivery.parked is not None:
                    parked += 1
                    await self._dead_letter(received, *delivery.parked)
            self._handled.inc(len(pairs) - parked)
            return True

    async def _try_alone(self, received: Received, delivery: Delivery[Any]) -> None:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                await self._try([(received, delivery)])
            except Exception as error:
                log.exception(
                    "message_failed",
                    queue=self._queue.name,
                    attempt=attempt,
                    message_id=delivery.envelope.id,
                    type=delivery.envelope.type,
                )
                if attempt == ATTEMPTS_MAX:
                    await self._dead_letter(received, "handler_failed", type(error).__name__)
                else:
                    await asyncio.sleep(0.05 * 4**attempt)
            else:
                return

    def _read(self, received: Received) -> Delivery[Any]:
        envelope: Envelope[Any]
        if self._raw:
            envelope = Envelope[Unregistered].model_construct(
                id=received.message_id,
                type=received.message_type,
                source="",
                data=Unregistered(),
            )
        else:
            envelope = read(received.message_type, received.body)
        return Delivery(
            envelope=envelope,
            body=received.body,
            headers=received.headers,
            routing_key=received.routing_key,
            redelivered=received.redelivered,
            reply=partial(self._reply, received) if received.reply_to else None,
        )

    async def _dead_letter(self, received: Received, code: str, detail: str) -> None:
        CONSUMED.labels(self._queue.name, "dead_lettered").inc()
        log.error("dead_lettered", queue=self._queue.name, code=code, detail=detail[:500])
        if self._queue.dead_letter is None:
            return
        message = dead_letter(received, self._queue, code, detail)
        delay = 0.1
        while True:
            outcome: PublishError | None
            (outcome,) = await self._publisher.publish_many([message], deadline_seconds=5)
            if outcome is None:
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, BACKOFF_SECONDS_MAX)


def dead_letter(received: Received, queue: Queue, code: str, detail: str) -> Outgoing:
    """Address a message to the dead-letter queue, with why and from where in its headers."""
    kept = {
        name: value
        for name in ("tenant", "traceparent", "tracestate")
        if isinstance(value := received.headers.get(name), str) and len(value) <= 512
    }
    redrives = received.headers.get("lineshaft-redrives")
    return Outgoing(
        exchange=DEAD_LETTER.name,
        routing_key=queue.dead_letter or "dead-letters",
        type=received.message_type,
        message_id=received.message_id,
        body=received.body,
        headers={
            **kept,
            **({"lineshaft-redrives": redrives} if isinstance(redrives, int) else {}),
            "lineshaft-reason": code,
            "lineshaft-detail": detail[:1000],
            "lineshaft-queue": queue.name,
            "lineshaft-exchange": received.exchange,
            "lineshaft-routing-key": received.routing_key,
            "lineshaft-time": datetime.now(UTC).isoformat(),
        },
    )


def _deliveries(received: Received) -> int:
    count = received.headers.get("x-delivery-count", 0)
    return count if isinstance(count, int) else 0
