"""The bus on RabbitMQ: one connection to publish, one to consume, one for each log reader."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from lineshaft_contracts.envelope import Asking, Envelope, Message, Priority
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.topology import TOPOLOGY, Queue, Topology

from lineshaft_common.messaging import stream, topology
from lineshaft_common.messaging.bus import (
    ASK_DEADLINE_SECONDS,
    PUBLISH_DEADLINE_SECONDS,
    Answer,
    BatchHandler,
    Delivery,
    LogRecord,
    PublishError,
    Reaction,
    Start,
    UnavailableError,
)
from lineshaft_common.messaging.codec import Received
from lineshaft_common.messaging.consumer import Consumer
from lineshaft_common.messaging.handling import accepted, dispatch, respond
from lineshaft_common.messaging.link import Link
from lineshaft_common.messaging.outgoing import Outgoing, traced
from lineshaft_common.messaging.publisher import Publisher
from lineshaft_common.messaging.rpc import Asker, reply_message
from lineshaft_common.messaging.settling import Settler
from lineshaft_common.messaging.wire import Connection

R = TypeVar("R", bound=Message)

STARTUP_TIMEOUT_SECONDS = 60.0
DRAIN_TIMEOUT_SECONDS = 10.0
CHECK_DEADLINE_SECONDS = 2.0
CALL_DEADLINE_SECONDS = 5.0


class _Declarer:
    """Declares the topology on each new connection, before anybody uses it."""

    def __init__(self, topology_: Topology) -> None:
        self._topology = topology_

    async def open(self, connection: Connection) -> None:
        await topology.declare(connection, self._topology)

    def lost(self) -> None:
        """Nothing hangs on the connection."""


class RabbitBus:
    """See `Bus`."""

    def __init__(self, url: str, publishing: Link, consuming: Link) -> None:
        self._url = url
        self._publishing = publishing
        self._consuming = consuming
        self._publisher = Publisher(publishing)
        self._asker = Asker(publishing)
        self._questions: set[asyncio.Task[None]] = set()

    async def start(self, topology_: Topology) -> None:
        """Declare the topology and open the publishing channels."""
        await self._publishing.add(_Declarer(topology_))
        await self._publishing.add(self._publisher)
        await self._publishing.add(self._asker)

    async def publish(
        self, envelope: Envelope[Any], *, deadline_seconds: float = PUBLISH_DEADLINE_SECONDS
    ) -> None:
        """See `Bus.publish`."""
        (error,) = await self.publish_many([envelope], deadline_seconds=deadline_seconds)
        if error is not None:
            raise error

    async def publish_many(
        self,
        messages: Sequence[Envelope[Any] | Outgoing],
        *,
        deadline_seconds: float = PUBLISH_DEADLINE_SECONDS,
    ) -> list[PublishError | None]:
        """See `Bus.publish_many`."""
        ready = [m if isinstance(m, Outgoing) else traced(m) for m in messages]
        return await self._publisher.publish_many(ready, deadline_seconds=deadline_seconds)

    async def ask(
        self,
        question: Asking[R],
        *,
        tenant: str,
        source: str,
        priority: Priority = Priority.NORMAL,
        deadline_seconds: float = ASK_DEADLINE_SECONDS,
    ) -> R:
        """See `Bus.ask`."""
        (reply,) = await self._asker.ask(
            question,
            tenant=tenant,
            source=source,
            priority=priority,
            replies_max=1,
            deadline_seconds=deadline_seconds,
        )
        if isinstance(reply, Problem):
            raise ProblemError(reply)
        return reply  # type: ignore[return-value] # pyright: ignore[reportReturnType] - checked by type name.

    async def ask_all(
        self,
        question: Asking[R],
        *,
        tenant: str,
        source: str,
        replies_max: int,
        deadline_seconds: float,
    ) -> list[R]:
        """See `Bus.ask_all`."""
        replies = await self._asker.ask(
            question,
            tenant=tenant,
            source=source,
            replies_max=replies_max,
            deadline_seconds=deadline_seconds,
        )
        return accepted(replies)  # pyright: ignore[reportReturnType]

    @asynccontextmanager
    async def subscribe(
        self, queue: Queue, *reactions: Reaction, concurrency: int = 10
    ) -> AsyncGenerator[None]:
        """See `Bus.subscribe`."""
        async with self._consume(queue, dispatch(reactions), batch_max=concurrency):
            yield

    @asynccontextmanager
    async def subscribe_batch(
        self, queue: Queue, handle: BatchHandler, *, batch_max: int = 500, raw: bool = False
    ) -> AsyncGenerator[None]:
        """See `Bus.subscribe_batch`."""
        async with self._consume(queue, handle, batch_max=batch_max, raw=raw):
            yield

    @asynccontextmanager
    async def serve(
        self, queue: Queue, *responders: Answer, concurrency: int = 100
    ) -> AsyncGenerator[None]:
        """See `Bus.serve`."""
        handlers = {answer.model.type: answer for answer in responders}
        slots = asyncio.Semaphore(concurrency)

        async def start(deliveries: Sequence[Delivery[Any]]) -> None:
            came_at = time.monotonic()
            for delivery in deliveries:
                await slots.acquire()
                answer, waited = handlers.get(delivery.envelope.type), time.monotonic() - came_at
                task = asyncio.create_task(
                    respond(answer, delivery, queue.name, waited_seconds=waited)
                )
                self._questions.add(task)
                task.add_done_callback(end)

        def end(task: asyncio.Task[None]) -> None:
            self._questions.discard(task)
            slots.release()

        async with self._consume(queue, start, batch_max=concurrency, spans=False):
            yield

    @asynccontextmanager
    async def read_log(
        self, queue: Queue, start: Start
    ) -> AsyncGenerator[AsyncIterator[LogRecord]]:
        """See `Bus.read_log`."""
        name = f"{self._publishing.name}-log"
        async with Link(self._url, name) as link, stream.read(link, queue, start) as records:
            yield records

    async def depth(self, queue: Queue) -> tuple[int, int]:
        """See `Bus.depth`."""
        async with self._channel(CALL_DEADLINE_SECONDS) as raw:
            declared = await raw.queue_declare(queue.name, passive=True)
            return declared.message_count, declared.consumer_count

    async def declare(self, queue: Queue) -> None:
        """See `Bus.declare`."""
        async with asyncio.timeout(CALL_DEADLINE_SECONDS):
            await topology.declare_queue(self._connected(), queue)

    async def delete(self, queue: Queue) -> None:
        """See `Bus.delete`; the broker says nothing when there is none."""
        async with self._channel(CALL_DEADLINE_SECONDS) as raw:
            await raw.queue_delete(queue.name)

    async def check(self) -> None:
        """See `Bus.check`."""
        if not self._consuming.is_up:
            raise UnavailableError("not connected to the broker")
        async with self._channel(CHECK_DEADLINE_SECONDS):
            pass

    @asynccontextmanager
    async def _channel(self, deadline_seconds: float) -> AsyncGenerator[Any]:
        connection = self._connected()
        async with asyncio.timeout(deadline_seconds), topology.channel(connection) as raw:
            yield raw

    def _connected(self) -> Connection:
        connection = self._publishing.connection
        if connection is None:
            raise UnavailableError("not connected to the broker")
        return connection

    @asynccontextmanager
    async def _consume(
        self,
        queue: Queue,
        handle: BatchHandler,
        *,
        batch_max: int,
        raw: bool = False,
        spans: bool = True,
    ) -> AsyncGenerator[None]:
        settler = Settler(queue, handle, self._publisher, reply=self._reply, raw=raw, spans=spans)
        consumer = Consumer(self._consuming, queue, settler, batch_max=batch_max)
        await self._consuming.add(consumer)
        try:
            yield
        finally:
            await consumer.drain(DRAIN_TIMEOUT_SECONDS)
            self._consuming.remove(consumer)

    async def _reply(self, received: Received, message: Message) -> None:
        reply = reply_message(received, message)
        if reply is not None:
            self._publisher.send(reply)


@asynccontextmanager
async def connect(
    url: str, *, name: str, declares: Topology = TOPOLOGY
) -> AsyncGenerator[RabbitBus]:
    """Open the bus under a connection name, with the topology declared.

    Waits up to a minute for a broker that is still starting; after that connections are kept up
    in the background, and calls fail with UnavailableError while there is none.
    """
    async with (
        Link(url, f"{name}-publish") as publishing,
        Link(url, f"{name}-consume") as consuming,
    ):
        bus = RabbitBus(url, publishing, consuming)
        await bus.start(declares)
        await publishing.wait_up(STARTUP_TIMEOUT_SECONDS)
        await consuming.wait_up(STARTUP_TIMEOUT_SECONDS)
        yield bus
