"""A bus in memory that behaves like the one on RabbitMQ, for tests of services.

It routes by the contracts' topology and settles with the same code; libs/common/tests/
test_bus.py holds both to one conformance suite.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from lineshaft_contracts.envelope import Asking, Envelope, Message, Priority, envelop
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.topology import TOPOLOGY, Queue, Topology

from lineshaft_common.messaging.bus import (
    Answer,
    BatchHandler,
    Delivery,
    LogRecord,
    NoReplyError,
    PublishError,
    Reaction,
    Start,
    UnavailableError,
    UnroutableError,
)
from lineshaft_common.messaging.codec import Received
from lineshaft_common.messaging.handling import accepted, dispatch, respond
from lineshaft_common.messaging.outgoing import Outgoing, traced
from lineshaft_common.messaging.settling import Settler

R = TypeVar("R", bound=Message)


def matches(pattern: str, key: str) -> bool:
    """Whether a topic binding takes a routing key: `*` is one word, `#` any number of them."""

    def match(patterns: list[str], words: list[str]) -> bool:
        if not patterns:
            return not words
        first, rest = patterns[0], patterns[1:]
        if first == "#":
            return any(match(rest, words[skipped:]) for skipped in range(len(words) + 1))
        return bool(words) and first in {"*", words[0]} and match(rest, words[1:])

    return match(pattern.split("."), key.split("."))


class MemoryBus:
    """A `Bus` whose messages are handled before `publish` returns."""

    def __init__(self, topology: Topology = TOPOLOGY) -> None:
        self.published: list[Outgoing] = []
        self.unavailable = False
        """Set it to behave as if the broker were away."""
        self._types = {exchange.name: exchange.type for exchange in topology.exchanges}
        self._queues = {queue.name: queue for queue in topology.queues}
        self._waiting: defaultdict[str, deque[Received]] = defaultdict(deque)
        self._logs: defaultdict[str, list[LogRecord]] = defaultdict(list)
        self._appended = asyncio.Condition()
        self._settlers: dict[str, tuple[Settler, int]] = {}
        self._busy: set[str] = set()
        self._replies: dict[str, list[Message]] = {}

    def waiting(self, queue: Queue) -> list[Received]:
        """List the messages that wait in a queue, oldest first."""
        return list(self._waiting[queue.name])

    async def publish(self, envelope: Envelope[Any], *, deadline_seconds: float = 5.0) -> None:
        """See `Bus.publish`."""
        (error,) = await self.publish_many([envelope], deadline_seconds=deadline_seconds)
        if error is not None:
            raise error

    async def publish_many(
        self, messages: Sequence[Envelope[Any] | Outgoing], *, deadline_seconds: float = 5.0
    ) -> list[PublishError | None]:
        """See `Bus.publish_many`."""
        ready = [m if isinstance(m, Outgoing) else traced(m) for m in messages]
        if self.unavailable:
            return [UnavailableError("the broker is away") for _ in ready]
        outcomes = [await self._route(message) for message in ready]
        for name in list(self._settlers):
            await self._pump(name)
        return outcomes

    async def ask(
        self,
        question: Asking[R],
        *,
        tenant: str,
        source: str,
        priority: Priority = Priority.NORMAL,
        deadline_seconds: float = 1.0,
    ) -> R:
        """See `Bus.ask`."""
        replies = await self._ask(question, tenant, source, priority)
        if isinstance(replies[0], Problem):
            raise ProblemError(replies[0])
        return replies[0]  # pyright: ignore[reportReturnType]

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
        replies = await self._ask(question, tenant, source)
        return accepted(replies)[:replies_max]  # pyright: ignore[reportReturnType]

    @asynccontextmanager
    async def subscribe(
        self, queue: Queue, *reactions: Reaction, concurrency: int = 10
    ) -> AsyncGenerator[None]:
        """See `Bus.subscribe`."""
        async with self._consume(queue, dispatch(reactions), concurrency, raw=False):
            yield

    @asynccontextmanager
    async def subscribe_batch(
        self, queue: Queue, handle: BatchHandler, *, batch_max: int = 500, raw: bool = False
    ) -> AsyncGenerator[None]:
        """See `Bus.subscribe_batch`."""
        async with self._consume(queue, handle, batch_max, raw=raw):
            yield

    @asynccontextmanager
    async def serve(
        self, queue: Queue, *responders: Answer, concurrency: int = 100
    ) -> AsyncGenerator[None]:
        """See `Bus.serve`."""
        handlers = {answer.model.type: answer for answer in responders}

        async def start(deliveries: Sequence[Delivery[Any]]) -> None:
            for delivery in deliveries:
                await respond(handlers.get(delivery.envelope.type), delivery, queue.name)

        async with self._consume(queue, start, concurrency, raw=False):
            yield

    @asynccontextmanager
    async def read_log(
        self, queue: Queue, start: Start
    ) -> AsyncGenerator[AsyncIterator[LogRecord]]:
        """See `Bus.read_log`; an instant as `start` means everything."""
        records = self._logs[queue.name]
        at = start if isinstance(start, int) else 0
        if start == "next":
            at = len(records)
        elif start == "last":
            at = max(0, len(records) - 1)

        async def read() -> AsyncIterator[LogRecord]:
            position = at
            while True:
                async with self._appended:
                    while len(records) <= position:
                        await self._appended.wait()
                yield records[position]
                position += 1

        yield read()

    async def depth(self, queue: Queue) -> tuple[int, int]:
        """See `Bus.depth`."""
        await self.check()
        return len(self._waiting[queue.name]), int(queue.name in self._settlers)

    async def declare(self, queue: Queue) -> None:
        """See `Bus.declare`."""
        await self.check()
        self._queues.setdefault(queue.name, queue)

    async def delete(self, queue: Queue) -> None:
        """See `Bus.delete`."""
        await self.check()
        self._queues.pop(queue.name, None)
        self._waiting.pop(queue.name, None)

    async def check(self) -> None:
        """See `Bus.check`."""
        if self.unavailable:
            raise UnavailableError("the broker is away")

    async def _route(self, message: Outgoing) -> PublishError | None:
        self.published.append(message)
        received = Received(exchange=message.exchange, routing_key=message.routing_key)
        received.headers = dict(message.headers)
        received.message_id, received.message_type = message.message_id, message.type
        received.correlation_id, received.reply_to = message.correlation_id, message.reply_to
        received.body = message.body
        taken = [q for q in self._queues.values() if self._takes(q, message)]
        for queue in taken:
            if queue.type == "stream":
                await self._append(queue, received)
            else:
                self._waiting[queue.name].append(received)
        return None if taken or not message.mandatory else UnroutableError("no queue takes it")

    def _takes(self, queue: Queue, message: Outgoing) -> bool:
        if not message.exchange:  # The default exchange leads to the queue of that name.
            return queue.name == message.routing_key
        return any(
            binding.exchange.name == message.exchange
            and (
                matches(binding.pattern, message.routing_key)
                if binding.exchange.type == "topic"
                else binding.pattern == message.routing_key or binding.exchange.type == "fanout"
            )
            for binding in queue.bindings
        )

    async def _append(self, queue: Queue, received: Received) -> None:
        log = self._logs[queue.name]
        log.append(
            LogRecord(
                offset=len(log),
                type=received.message_type,
                routing_key=received.routing_key,
                body=received.body,
                headers=received.headers,
            )
        )
        async with self._appended:
            self._appended.notify_all()

    async def _ask(
        self,
        question: Asking[Any],
        tenant: str,
        source: str,
        priority: Priority = Priority.NORMAL,
    ) -> list[Message]:
        envelope = envelop(question, source=source, tenant=tenant, priority=priority)
        message = replace(traced(envelope), reply_to="memory")
        replies = self._replies[message.message_id] = []
        try:
            (error,) = await self.publish_many([message])
            if error is not None:
                raise error
        finally:
            del self._replies[message.message_id]
        if not replies:
            raise NoReplyError(f"no reply to {question.type}")
        return replies

    async def _reply(self, received: Received, message: Message) -> None:
        replies = self._replies.get(received.message_id)
        if replies is not None:
            replies.append(message)

    @asynccontextmanager
    async def _consume(
        self, queue: Queue, handle: BatchHandler, batch_max: int, *, raw: bool
    ) -> AsyncGenerator[None]:
        self._queues.setdefault(queue.name, queue)
        settler = Settler(queue, handle, self, raw=raw, reply=self._reply)
        self._settlers[queue.name] = (settler, batch_max)
        await self._pump(queue.name)
        try:
            yield
        finally:
            del self._settlers[queue.name]

    async def _pump(self, name: str) -> None:
        if name in self._busy:
            return
        self._busy.add(name)
        try:
            waiting = self._waiting[name]
            while waiting and name in self._settlers:
                settler, batch_max = self._settlers[name]
                batch = [waiting.popleft() for _ in range(min(len(waiting), batch_max))]
                await settler.settle(batch)
        finally:
            self._busy.discard(name)
