"""Print plant events from a queue of one's own as they happen: `subscribe.py [pattern] [count]`."""  # noqa: INP001, E501 - a script.

import asyncio
import json
import os
import sys

import aio_pika

EXCHANGES = ("plant.production", "plant.inventory", "plant.quality", "plant.resource")
QUEUE = "erp.plant-events"
KNOWN_MAX = 10_000


async def main(pattern: str, count: int) -> None:
    """Bind the queue with the pattern and handle so many events, each once."""
    connection = await aio_pika.connect_robust(os.environ["LINESHAFT_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=100)
        # Durable and bounded: it collects while this program is away, and when nobody ever comes
        # back the oldest events go, instead of the broker's disk filling up.
        queue = await channel.declare_queue(
            QUEUE,
            durable=True,
            arguments={"x-queue-type": "quorum", "x-max-length": 100_000},
        )
        for exchange in EXCHANGES:
            await queue.bind(exchange, pattern)
        known = dict[tuple[str, str], None]()
        async with queue.iterator() as messages:
            async for message in messages:
                event = json.loads(message.body)
                key = (event["source"], event["id"])
                if key not in known:  # Delivery is at least once.
                    known[key] = None
                    if len(known) > KNOWN_MAX:
                        del known[next(iter(known))]
                    handle(message.routing_key or "", event)
                    count -= 1
                # Only now: an event whose handling ended halfway comes again.
                await message.ack()
                if count == 0:
                    return


def handle(key: str, event: dict[str, object]) -> None:
    """Do what the system is for."""
    print(event["time"], key, json.dumps(event["data"]), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(
        main(
            sys.argv[1] if len(sys.argv) > 1 else "#",
            int(sys.argv[2]) if len(sys.argv) > 2 else -1,
        )
    )
