"""Passing the platform's own events on to the log that people watch."""

from collections.abc import Sequence
from typing import Any, Protocol

from lineshaft_common import tracing
from lineshaft_common.messaging import Delivery, Outgoing, PublishError
from lineshaft_contracts.topology import PLATFORM_LOG
from prometheus_client import Counter

RELAYED = Counter("lineshaft_events_relayed_total", "Events of the platform passed on", ["type"])


class Publishes(Protocol):
    """Where they go."""

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[PublishError | None]:
        """Send in order; the outcome of each."""
        ...


class PlatformRelay:
    """Copies events of jobs, alerts and edges into the log: same body, same id, same key.

    A crash or a lost confirm repeats a batch; whoever reads the log knows events by their id.
    """

    def __init__(self, bus: Publishes) -> None:
        self._bus = bus

    async def relay(self, deliveries: Sequence[Delivery[Any]]) -> None:
        """Pass a batch on; raises PublishError when the broker does not have all of it."""
        outcomes = await self._bus.publish_many([_copy(delivery) for delivery in deliveries])
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        for delivery in deliveries:
            RELAYED.labels(delivery.envelope.type).inc()


def _copy(delivery: Delivery[Any]) -> Outgoing:
    envelope = delivery.envelope
    carrying = tracing.publish(envelope, PLATFORM_LOG.name, delivery.routing_key)
    headers: dict[str, str | int] = {"tenant": envelope.tenant}
    if carrying.traceparent is not None:
        headers["traceparent"] = carrying.traceparent
    return Outgoing(
        exchange=PLATFORM_LOG.name,
        routing_key=delivery.routing_key,
        type=envelope.type,
        message_id=envelope.id,
        body=delivery.body,
        headers=headers,
        priority=envelope.priority,
        app_id=envelope.source,
    )
