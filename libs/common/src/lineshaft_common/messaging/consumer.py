"""Receiving: the messages of one queue, handed over a batch at a time."""

import asyncio
import contextlib
from collections import deque

import structlog
from lineshaft_contracts.topology import Queue
from prometheus_client import Gauge

from lineshaft_common.messaging.codec import Received
from lineshaft_common.messaging.link import Link
from lineshaft_common.messaging.settling import Settler
from lineshaft_common.messaging.topology import declare_queue
from lineshaft_common.messaging.wire import Connection, FastChannel

log = structlog.get_logger(__name__)

CONSUMERS = Gauge("lineshaft_amqp_consumers", "Open consumers", ["queue"])


class Consumer:
    """Feeds what has arrived to a settler, then acknowledges all of it at once.

    Batches follow each other, so one acknowledgement of the last tag covers the batch. What
    arrives while a batch is handled is the next batch: no timer, no waiting when it is quiet.
    """

    def __init__(self, link: Link, queue: Queue, settler: Settler, *, batch_max: int) -> None:
        self._link = link
        self._queue = queue
        self._settler = settler
        self._batch_max = batch_max
        self._received: deque[Received] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._channel: FastChannel | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, connection: Connection) -> None:
        """Declare the queue and consume it on a fresh channel."""
        self._received.clear()
        await declare_queue(connection, self._queue)
        channel = await FastChannel.open(connection, prefetch=self._batch_max * 2)
        channel.on_deliver = self._on_deliver
        channel.on_cancel = lambda: self._link.restart(f"consumer of {self._queue.name} cancelled")
        channel.on_fault = self._link.restart
        self._channel = channel
        self._task = asyncio.create_task(self._run(channel), name=f"consume-{self._queue.name}")
        await channel.consume(self._queue.name)
        CONSUMERS.labels(self._queue.name).inc()

    def lost(self) -> None:
        """Stop; what was not acknowledged comes again on the next channel."""
        if self._channel is not None:
            CONSUMERS.labels(self._queue.name).dec()
        self._channel = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def drain(self, timeout_seconds: float) -> None:
        """Let the batch in hand end and take no other; what waits goes back to the queue."""
        self._stopping = True
        channel = self._channel
        with contextlib.suppress(Exception):
            if channel is not None:
                await channel.stop_consuming()
            async with asyncio.timeout(timeout_seconds):
                await self._idle.wait()
            if channel is not None:
                await channel.close()

    def _on_deliver(self, received: Received) -> None:
        self._received.append(received)
        self._arrived.set()

    async def _run(self, channel: FastChannel) -> None:
        try:
            while not self._stopping:
                if not self._received:
                    self._idle.set()
                    self._arrived.clear()
                    await self._arrived.wait()
                    continue
                self._idle.clear()
                count = min(len(self._received), self._batch_max)
                batch = [self._received.popleft() for _ in range(count)]
                await self._settler.settle(batch)
                await channel.ack(batch[-1].tag, multiple=True)
        except Exception:
            log.exception("consumer_failed", queue=self._queue.name)
        finally:
            self._idle.set()
            # Whatever ended it, a handler's own cancellation too: consuming goes on.
            if self._channel is channel and not self._stopping:
                self._link.restart(f"the consumer of {self._queue.name} ended")
