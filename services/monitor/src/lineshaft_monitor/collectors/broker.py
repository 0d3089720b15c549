"""RabbitMQ as its users see it: a round trip, and the depth of every queue of the topology."""

import asyncio
import time

from lineshaft_common.messaging import Bus
from lineshaft_contracts.topology import MONITOR_ASKED, TOPOLOGY, Queue

from lineshaft_monitor.samples.series import Key, labels_of

CONCURRENT_MAX = 4


def is_kept(queue: Queue) -> bool:
    """Whether a queue keeps messages for people or for readers, so that depth is no backlog."""
    return queue.type == "stream" or (queue.type == "quorum" and queue.dead_letter is None)


class Broker:
    """The collector of RabbitMQ."""

    name = "rabbitmq"

    def __init__(self, bus: Bus, queues: tuple[Queue, ...] = TOPOLOGY.queues) -> None:
        self._bus = bus
        self._queues = queues

    async def collect(self) -> dict[Key, float]:
        """Ask for every queue; one that cannot be read is left out, none at all is an error."""
        started = time.perf_counter()
        await self._bus.depth(MONITOR_ASKED)
        samples: dict[Key, float] = {
            ("rabbitmq_round_trip_seconds", ()): time.perf_counter() - started
        }
        slots = asyncio.Semaphore(CONCURRENT_MAX)

        async def read(queue: Queue) -> None:
            async with slots:
                messages, consumers = await self._bus.depth(queue)
            kept = is_kept(queue)
            labels = labels_of({"queue": queue.name, **({"kept": "yes"} if kept else {})})
            samples["lineshaft_queue_messages", labels] = messages
            samples["lineshaft_queue_consumers", labels] = consumers
            if not kept:
                unattended = float(messages > 0 and consumers == 0)
                samples["lineshaft_queue_unattended", labels] = unattended

        outcomes = await asyncio.gather(*map(read, self._queues), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, asyncio.CancelledError):
                raise outcome
        return samples
