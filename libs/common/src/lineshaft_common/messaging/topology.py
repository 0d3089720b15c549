"""Declaring the contracts' topology on a broker."""

from typing import Any

from lineshaft_contracts.topology import Exchange, Queue, Topology

from lineshaft_common.messaging.wire import Connection


async def declare(connection: Connection, topology: Topology) -> None:
    """Declare everything; a no-op where it is there already."""
    raw: Any = await connection.raw.channel(publisher_confirms=False)
    for exchange in topology.exchanges:
        await _declare_exchange(raw, exchange)
    for queue in topology.queues:
        await _declare_queue(raw, queue)
    await raw.close()


async def declare_queue(connection: Connection, queue: Queue) -> None:
    """Declare one queue and its bindings; its exchanges are there."""
    raw: Any = await connection.raw.channel(publisher_confirms=False)
    await _declare_queue(raw, queue)
    await raw.close()


async def delete_queue(connection: Connection, queue: Queue) -> None:
    """Delete a queue with its messages; the broker says nothing when there is none."""
    raw: Any = await connection.raw.channel(publisher_confirms=False)
    await raw.queue_delete(queue.name)
    await raw.close()


async def _declare_exchange(raw: Any, exchange: Exchange) -> None:
    await raw.exchange_declare(
        exchange.name, exchange_type=exchange.type, durable=True, arguments=exchange.arguments()
    )


async def _declare_queue(raw: Any, queue: Queue) -> None:
    await raw.queue_declare(queue.name, durable=True, arguments=queue.arguments())
    for binding in queue.bindings:
        await raw.queue_bind(queue.name, binding.exchange.name, routing_key=binding.pattern)
