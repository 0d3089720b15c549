"""Every message type in one list: who sends it, who receives it, where and by which key."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from lineshaft_contracts.envelope import Value
from lineshaft_contracts.registry import Contract, Kind, contracts
from lineshaft_contracts.topology import (
    ALERTS,
    CDN_EVENTS,
    EVENT_ROUTER_PLATFORM,
    EVENTS_LOG,
    JOBS_EVENTS,
    JOBS_WORK,
    PLANT_DOMAINS,
    TELEMETRY,
    TOPOLOGY,
    Queue,
)


class Consumer(Value):
    """A queue of the platform's own that gets messages of a type."""

    queue: str
    service: str


class MessageType(Value):
    """What is agreed on about one message type."""

    type: str
    title: str
    description: str
    kind: Kind
    owner: str
    """Publishes it (events, replies) or answers it (commands, queries)."""
    since: str
    exchange: str | None
    """None: a reply, sent to whoever asked."""
    routing_key: str | None
    """Words in `<>` are filled in, `_` where there is none."""
    binding: str | None
    """The key to bind a queue of your own with, for all messages of this type."""
    publishers: tuple[str, ...]
    consumers: tuple[Consumer, ...]
    """Of the platform; other systems bind queues of their own."""
    durable: bool
    time_to_live_seconds: float | None
    schema_link: str
    """The JSON Schema, relative to the catalogue."""


KEYS: Mapping[str, str] = {
    **{
        domain.name: "<tenant>.<site>.<area>.<workcenter>.<workunit>.{event}.<priority>"
        for domain in PLANT_DOMAINS
    },
    JOBS_EVENTS.name: "<tenant>.<noun>.<verb>.{event}",
    ALERTS.name: "<tenant>.<level>.{event}",
    CDN_EVENTS.name: "<region>.assets-purged",
    TELEMETRY.name: "cdn-edge.<region>",
}
"""Routing keys of events by exchange; those of commands and queries are one word each."""

SERVICES: Mapping[str, str] = {EVENTS_LOG.name: "gateway"}
"""Who reads queues that are not named after their service."""


@cache
def catalogue() -> tuple[MessageType, ...]:
    """Return every type, in the order of the names."""
    return tuple(_entry(contract) for contract in contracts().values())


def _entry(contract: Contract) -> MessageType:
    key = _key(contract)
    lifetime = contract.time_to_live
    return MessageType(
        type=contract.type,
        title=contract.model.__name__,
        description=" ".join((contract.model.__doc__ or "").split()),
        kind=contract.kind,
        owner=contract.owner,
        since=contract.since,
        exchange=contract.exchange.name if contract.exchange else None,
        routing_key=key,
        binding=key and _binding(key),
        publishers=_publishers(contract),
        consumers=_consumers(contract, key),
        durable=contract.durable,
        time_to_live_seconds=lifetime.total_seconds() if lifetime else None,
        schema_link=f"contracts/schemas/{contract.type}.json",
    )


def _key(contract: Contract) -> str | None:
    if contract.exchange is None:
        return None
    template = KEYS.get(contract.exchange.name)
    if contract.type == "lineshaft.telemetry.service-reported.v1":
        template = "<service>.<instance>"
    if template is not None:
        return template.format(event=contract.type.split(".")[2])
    nothing: Any = None
    return contract.model.model_construct().routing_key(nothing)


def _binding(key: str) -> str:
    return ".".join("*" if word.startswith("<") else word for word in key.split("."))


def _publishers(contract: Contract) -> tuple[str, ...]:
    if contract.kind in (Kind.EVENT, Kind.REPLY):
        return (contract.owner,)
    return ("workers",) if contract.exchange == JOBS_WORK else ("gateway",)


def _consumers(contract: Contract, key: str | None) -> tuple[Consumer, ...]:
    queues = [queue for queue in TOPOLOGY.queues if _takes(queue, contract, key)]
    if EVENT_ROUTER_PLATFORM in queues:  # It passes them on into the log.
        queues.append(EVENTS_LOG)
    return tuple(
        Consumer(queue=queue.name, service=SERVICES.get(queue.name, queue.name.partition(".")[0]))
        for queue in queues
    )


def _takes(queue: Queue, contract: Contract, key: str | None) -> bool:
    return any(
        binding.exchange == contract.exchange and binding.pattern in {"#", key}
        for binding in queue.bindings
    )
