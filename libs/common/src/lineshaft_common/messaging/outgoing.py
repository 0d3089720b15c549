"""A message on its way out: where it goes, and its body as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.registry import Contract, find

from lineshaft_common import tracing


@dataclass(kw_only=True, slots=True)
class Outgoing:
    """A message ready for the wire; made once and left alone (a frozen one costs 4 times more)."""

    exchange: str
    routing_key: str
    type: str
    message_id: str
    body: bytes
    headers: Mapping[str, str | int] = field(default_factory=dict[str, str | int])
    priority: str = "normal"
    persistent: bool = True
    mandatory: bool = True
    time_to_live_milliseconds: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    app_id: str | None = None


def outgoing(envelope: Envelope[Any]) -> Outgoing:
    """Write an envelope for the exchange that its contract names."""
    contract = find(envelope.type)
    return _write(envelope, contract, exchange_of(contract), envelope.key)


def traced(envelope: Envelope[Any]) -> Outgoing:
    """Give a message its PRODUCER span and write it."""
    contract = find(envelope.type)
    exchange, key = exchange_of(contract), envelope.key
    return _write(tracing.publish(envelope, exchange, key), contract, exchange, key)


def exchange_of(contract: Contract) -> str:
    """Name the exchange that messages of this kind are published to."""
    if contract.exchange is None:
        raise ValueError(f"{contract.type} is a reply; it travels by `Delivery.reply`")
    return contract.exchange.name


def _write(envelope: Envelope[Any], contract: Contract, exchange: str, key: str) -> Outgoing:
    headers: dict[str, str | int] = {"tenant": envelope.tenant}
    if envelope.traceparent is not None:
        headers["traceparent"] = envelope.traceparent
        if envelope.tracestate is not None:
            headers["tracestate"] = envelope.tracestate
    lifetime = contract.time_to_live
    milliseconds = None if lifetime is None else int(lifetime.total_seconds() * 1000)
    return Outgoing(
        exchange=exchange,
        routing_key=key,
        type=envelope.type,
        message_id=envelope.id,
        body=envelope.to_json(),
        headers=headers,
        priority=envelope.priority,
        persistent=contract.durable,
        time_to_live_milliseconds=milliseconds,
        app_id=envelope.source,
    )
