"""Publishing with confirms: what gathers while one write is under way goes out in the next."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence

from aio_pika.abc import AbstractConnection
from prometheus_client import Counter

from lineshaft_common.messaging.bus import (
    OutcomeUnknownError,
    Outgoing,
    PublishError,
    RefusedError,
    UnavailableError,
    UnroutableError,
    UnsendableError,
)
from lineshaft_common.messaging.link import Link
from lineshaft_common.messaging.wire import FastChannel

WRITE_MESSAGES_MAX = 500
WAITING_MESSAGES_MAX = 20_000

PUBLISHED = Counter("lineshaft_amqp_published_total", "Messages by outcome", ["outcome"])
CONFIRMED = PUBLISHED.labels("confirmed")


class _Ticket:
    """The outcomes of the messages of one call, and the future that waits for all of them."""

    __slots__ = ("abandoned", "done", "open", "outcomes", "written")

    def __init__(self, count: int) -> None:
        self.outcomes: list[PublishError | None] = [None] * count
        self.open = set(range(count))
        self.written = set[int]()
        self.abandoned = False
        """Nobody waits any longer: what was not written yet is not sent."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, index: int, error: PublishError | None) -> None:
        self.open.discard(index)
        if not self.abandoned:
            self.outcomes[index] = error
        if not self.open and not self.done.done():
            self.done.set_result(None)


_Waiting = tuple[Outgoing, _Ticket, int]


class Publisher:
    """Sends in order over one channel; bounded, and each call has its deadline."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.channel: FastChannel | None = None
        self._waiting: deque[_Waiting] = deque()
        self._unconfirmed: OrderedDict[int, _Waiting] = OrderedDict()
        self._tag_of: dict[str, int] = {}
        self._returned: dict[int, str] = {}
        self._wake = asyncio.Event()
        self._space = asyncio.Event()
        self._space.set()
        self._pump: asyncio.Task[None] | None = None

    async def open(self, connection: AbstractConnection) -> None:
        """Take a fresh channel; what waits is sent on it, in the order it came."""
        channel = await FastChannel.open(connection)
        channel.on_confirm = self._on_confirm
        channel.on_return = self._on_return
        channel.on_fault = self._link.restart
        await self._prepare(channel)
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
        unconfirmed, self._unconfirmed = self._unconfirmed, OrderedDict()
        self._tag_of.clear()
        self._returned.clear()
        for _, ticket, index in unconfirmed.values():
            self._settle(
                ticket, index, OutcomeUnknownError("the connection was lost before a confirm")
            )
        self._make_space()

    async def publish_many(
        self, messages: Sequence[Outgoing], *, deadline_seconds: float
    ) -> list[PublishError | None]:
        """Send in order; the outcome of each message, None meaning that the broker has it."""
        if not messages:
            return []
        ticket = _Ticket(len(messages))
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._space.wait()
                self._waiting.extend((m, ticket, i) for i, m in enumerate(messages))
                self._make_space()
                self._wake.set()
                await ticket.done
        except TimeoutError:
            self._give_up(ticket)
        except asyncio.CancelledError:
            self._give_up(ticket)
            raise
        return ticket.outcomes

    def send(self, message: Outgoing) -> None:
        """Send without waiting for an outcome: replies, whose loss the asker's deadline covers."""
        if self.channel is not None and self._space.is_set():
            self._waiting.append((message, _Ticket(1), 0))
            self._wake.set()

    def _give_up(self, ticket: _Ticket) -> None:
        """Say of each message that has no outcome yet whether it may have been sent."""
        ticket.abandoned = True
        for index in ticket.open:
            ticket.outcomes[index] = (
                OutcomeUnknownError("no confirm came in time")
                if index in ticket.written
                else UnavailableError("the broker was not reachable in time")
            )

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
        tag = channel.next_tag
        encoded = list[bytes]()
        for _ in range(min(len(self._waiting), WRITE_MESSAGES_MAX)):
            entry = self._waiting.popleft()
            message, ticket, index = entry
            if ticket.abandoned:
                continue
            try:
                encoded.append(channel.encode(message))
            except UnsendableError as error:  # It must not hold up the others.
                self._settle(ticket, index, error)
                continue
            ticket.written.add(index)
            self._unconfirmed[tag] = entry
            self._tag_of[message.message_id] = tag
            tag += 1
        self._make_space()
        return encoded

    def _on_confirm(self, tag: int, multiple: bool, positive: bool) -> None:
        tags = [tag] if not multiple and tag in self._unconfirmed else list[int]()
        if multiple:
            for unconfirmed in self._unconfirmed:  # They are in the order of their tags.
                if unconfirmed > tag:
                    break
                tags.append(unconfirmed)
        for confirmed in tags:
            message, ticket, index = self._unconfirmed.pop(confirmed)
            self._tag_of.pop(message.message_id, None)
            error: PublishError | None = None
            if not positive:
                error = RefusedError(f"the broker refused {message.type} for {message.exchange!r}")
            elif (reason := self._returned.pop(confirmed, None)) is not None:
                error = UnroutableError(
                    f"no queue takes {message.type} from {message.exchange!r} "
                    f"with key {message.routing_key!r} ({reason})"
                )
            self._settle(ticket, index, error)
        self._make_space()

    def _on_return(self, message_id: str | None, reason: str) -> None:
        tag = self._tag_of.get(message_id or "")
        if tag is not None:
            self._returned[tag] = reason

    @staticmethod
    def _settle(ticket: _Ticket, index: int, error: PublishError | None) -> None:
        outcome = CONFIRMED if error is None else PUBLISHED.labels(type(error).__name__)
        outcome.inc()
        ticket.settle(index, error)
