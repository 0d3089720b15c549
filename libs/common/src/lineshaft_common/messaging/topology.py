"""Declaring the contracts' topology on a broker."""

from typing import Any

from aio_pika.abc import AbstractConnection
from lineshaft_contracts.topology import Exchange, Queue, Topology


async def declare(connection: AbstractConnection, topology: Topology) -> None:
    """Declare everything; a no-op where it is there already."""
    channel = await connection.channel(publisher_confirms=False)
    raw: Any = await channel.get_underlay_channel()
    for exchange in topology.exchanges:
        await _declare_exchange(raw, exchange)
    for queue in topology.queues:
        await _declare_queue(raw, queue)
    await channel.close()


async def declare_queue(connection: AbstractConnection, queue: Queue) -> None:
    """Declare one queue and its bindings; its exchanges are there."""
    channel = await connection.channel(publisher_confirms=False)
    raw: Any = await channel.get_underlay_channel()
    await _declare_queue(raw, queue)
    await channel.close()


async def _declare_exchange(raw: Any, exchange: Exchange) -> None:
    await raw.exchange_declare(
        exchange.name, exchange_type=exchange.type, durable=True, arguments=exchange.arguments()
    )


async def _declare_queue(raw: Any, queue: Queue) -> None:
    await raw.queue_declare(queue.name, durable=True, arguments=queue.arguments())
    for binding in queue.bindings:
        await raw.queue_bind(queue.name, binding.exchange.name, routing_key=binding.pattern)
