"""Declaring the contracts' topology on a broker."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from lineshaft_contracts.topology import Queue, Topology

from lineshaft_common.messaging.wire import Connection


@asynccontextmanager
async def channel(connection: Connection) -> AsyncGenerator[Any]:
    """Open a channel of the client's own, for what is not about single messages."""
    raw: Any = await connection.raw.channel(publisher_confirms=False)
    try:
        yield raw
    finally:
        await raw.close()


async def declare(connection: Connection, topology: Topology) -> None:
    """Declare everything; a no-op where it is there already."""
    async with channel(connection) as raw:
        for exchange in topology.exchanges:
            kind, arguments = exchange.type, exchange.arguments()
            await raw.exchange_declare(
                exchange.name, exchange_type=kind, durable=True, arguments=arguments
            )
        for queue in topology.queues:
            await _declare_queue(raw, queue)


async def declare_queue(connection: Connection, queue: Queue) -> None:
    """Declare one queue and its bindings; its exchanges are there."""
    async with channel(connection) as raw:
        await _declare_queue(raw, queue)


async def _declare_queue(raw: Any, queue: Queue) -> None:
    await raw.queue_declare(queue.name, durable=True, arguments=queue.arguments())
    for binding in queue.bindings:
        await raw.queue_bind(queue.name, binding.exchange.name, routing_key=binding.pattern)
