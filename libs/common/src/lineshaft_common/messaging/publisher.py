"""Publishing with confirms: what gathers while one write is under way goes out in the next."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from prometheus_client import Counter

from lineshaft_common.messaging.bus import (
    OutcomeUnknownError,
    PublishError,
    RefusedError,
    UnavailableError,
    UnroutableError,
    UnsendableError,
)
from lineshaft_common.messaging.link import Link
from lineshaft_common.messaging.outgoing import Outgoing
from lineshaft_common.messaging.wire import Connection, FastChannel

WRITE_MESSAGES_MAX = 500
WAITING_MESSAGES_MAX = 20_000

PUBLISHED = Counter("lineshaft_amqp_published_total", "Messages by outcome", ["outcome"])
CONFIRMED = PUBLISHED.labels("confirmed")

NOT_WRITTEN: Final = UnavailableError("the broker was not reachable in time")
NOT_CONFIRMED: Final = OutcomeUnknownError("no confirm came in time")
LOST: Final = OutcomeUnknownError("the connection was lost before a confirm")


class Ticket:
    """The outcomes of the messages of one call, and the future that waits for all of them."""

    __slots__ = ("abandoned", "done", "open", "outcomes")

    def __init__(self, count: int) -> None:
        self.outcomes: list[PublishError | None] = [NOT_WRITTEN] * count
        """What is to be said of each if nothing more happens."""
        self.open = count
        self.abandoned = False
        """Nobody waits any longer: what was not written yet is not sent."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, index: int, error: PublishError | None) -> None:
        """Say what became of one message."""
        self.open -= 1
        if not self.abandoned:
            self.outcomes[index] = error
        if not self.open and not self.done.done():
            self.done.set_result(None)


_Waiting = tuple[Outgoing, Ticket | None, int]
"""A message, and whom to tell (nobody, for a reply) under which index."""


class Publisher:
    """Sends in order over one channel; bounded, and each call has its deadline."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.channel: FastChannel | None = None
        self._waiting: deque[_Waiting] = deque()
        self._unconfirmed: dict[int, _Waiting] = {}
        self._oldest = 1
        """The first tag that may be unconfirmed."""
        self._returned: dict[int, str] = {}
        self._wake = asyncio.Event()
        self._space = asyncio.Event()
        self._space.set()
        self._pump: asyncio.Task[None] | None = None

    async def open(self, connection: Connection) -> None:
        """Take a fresh channel; what waits is sent on it, in the order it came."""
        channel = await FastChannel.open(connection, confirms=True)
        channel.on_confirm = self._on_confirm
        channel.on_return = self._on_return
        channel.on_fault = self._link.restart
        await self._prepare(channel)
        self._oldest = channel.next_tag
        self.channel = channel
        self._pump = asyncio.create_task(self._run(channel), name=f"publish-{self._link.name}")

    async def _prepare(self, channel: FastChannel) -> None:
        """Do what has to be done on the channel before the first message is sent on it."""

    def lost(self) -> None:
        """Answer `outcome unknown` for what was written and not confirmed."""
        self.channel = None
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        self._returned.clear()
        for _, ticket, index in unconfirmed.values():
            self._fail(ticket, index, LOST)
        self._make_space()

    async def publish_many(
        self, messages: Sequence[Outgoing], *, deadline_seconds: float
    ) -> list[PublishError | None]:
        """Send in order; the outcome of each message, None meaning that the broker has it."""
        if not messages:
            return []
        ticket = Ticket(len(messages))
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._enqueue(messages, ticket)
                await ticket.done
        except TimeoutError:
            pass
        finally:
            ticket.abandoned = True
        return ticket.outcomes

    async def _enqueue(self, messages: Sequence[Outgoing], ticket: Ticket) -> None:
        """Put messages in line, once there is space."""
        await self._space.wait()
        self._waiting.extend([(m, ticket, i) for i, m in enumerate(messages)])
        self._make_space()
        self._wake.set()

    def send(self, message: Outgoing) -> None:
        """Send without waiting for an outcome: replies, whose loss the asker's deadline covers."""
        if self.channel is not None and self._space.is_set():
            self._waiting.append((message, None, 0))
            self._wake.set()

    def _make_space(self) -> None:
        if len(self._waiting) + len(self._unconfirmed) < WAITING_MESSAGES_MAX:
            self._space.set()
        else:
            self._space.clear()

    async def _run(self, channel: FastChannel) -> None:
        try:
            while True:
                while not self._waiting:
                    self._wake.clear()
                    await self._wake.wait()
                encoded = self._take(channel)
                if encoded:
                    await channel.write(encoded)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a pump that ended would stop all publishing.
            self._link.restart(f"publishing failed: {error!r}")

    def _take(self, channel: FastChannel) -> list[bytes]:
        """Encode the next messages, and note under which tag each will be confirmed."""
        tag, now = channel.next_tag, int(time.time())
        encoded = list[bytes]()
        for _ in range(min(len(self._waiting), WRITE_MESSAGES_MAX)):
            entry = self._waiting.popleft()
            message, ticket, index = entry
            if ticket is not None and ticket.abandoned:
                continue
            try:
                encoded.append(channel.encode(message, now))
            except UnsendableError as error:  # It must not hold up the others.
                self._fail(ticket, index, error)
                continue
            if ticket is not None:
                ticket.outcomes[index] = NOT_CONFIRMED
            self._unconfirmed[tag] = entry
            tag += 1
        self._make_space()
        return encoded

    def _on_confirm(self, tag: int, multiple: bool, positive: bool) -> None:
        confirmed = 0
        for number in range(self._oldest, tag + 1) if multiple else (tag,):
            entry = self._unconfirmed.pop(number, None)
            if entry is None:
                continue
            message, ticket, index = entry
            reason = self._returned.pop(number, None) if self._returned else None
            if not positive:
                refusal = f"the broker refused {message.type} for {message.exchange!r}"
                self._fail(ticket, index, RefusedError(refusal))
            elif reason is not None:
                self._fail(ticket, index, _unroutable(message, reason))
            else:
                confirmed += 1
                if ticket is not None:
                    ticket.settle(index, None)
        if multiple:
            self._oldest = max(self._oldest, tag + 1)
        CONFIRMED.inc(confirmed)
        self._make_space()

    def _on_return(self, message_id: str, reason: str) -> None:
        """Note it until the confirm: the oldest of this id that has not come back yet."""
        for tag, (message, _, _) in self._unconfirmed.items():
            if message.message_id == message_id and tag not in self._returned:
                self._returned[tag] = reason
                return

    @staticmethod
    def _fail(ticket: Ticket | None, index: int, error: PublishError) -> None:
        PUBLISHED.labels(type(error).__name__).inc()
        if ticket is not None:
            ticket.settle(index, error)


def _unroutable(message: Outgoing, reason: str) -> UnroutableError:
    return UnroutableError(
        f"no queue takes {message.type} from {message.exchange!r} "
        f"with key {message.routing_key!r} ({reason})"
    )
