"""The fast path on aiormq: many publishes in one write, deliveries read a chunk at a time.

aiormq reads three times per frame, queues it and starts a task per delivery (300 us for each
message). Its transport factory is the public place to stand in between: the reader made here
takes the frames of deliveries, returns and confirms out of the stream as they come, and leaves
all others to aiormq, which keeps doing everything that is not about single messages.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, SupportsIndex

import aiormq
from aiormq.abc import ChannelFrame
from aiormq.connection import TransportFactory
from yarl import URL

from lineshaft_common.messaging import codec
from lineshaft_common.messaging.codec import BODY, FRAME_END, FRAME_START, HEADER, METHOD, Received
from lineshaft_common.messaging.outgoing import Outgoing

_FRAME_OVERHEAD = 8
_HEARTBEAT = bytes.fromhex("08000000000000ce")
_HEARTBEAT_SECONDS = 1.0
_DELIVER, _RETURN = bytes.fromhex("003c003c"), bytes.fromhex("003c0032")
_ACK, _NACK = bytes.fromhex("003c0050"), bytes.fromhex("003c0078")

Take = Callable[[int, bytes], bool]
"""Takes a frame by kind and payload; False leaves it to aiormq."""


class FrameReader(asyncio.StreamReader):
    """A stream without the frames that were taken out of it as they came."""

    def __init__(self) -> None:
        super().__init__()
        self.takers: dict[int, Take] = {}
        """By channel number."""
        self._rest = b""
        self._passed_at = 0.0

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Take what is for us, and pass on the rest."""
        data = self._rest + bytes(data)
        at, size = 0, len(data)
        passed = list[bytes]()
        while size - at >= _FRAME_OVERHEAD:
            kind, channel, length = FRAME_START.unpack_from(data, at)
            if kind > _HEARTBEAT[0]:  # No frame, but "AMQP" and a version: aiormq knows it.
                passed.append(data[at:])
                at = size
                break
            end = at + _FRAME_OVERHEAD + length
            if end > size:
                break
            take = self.takers.get(channel)
            if (
                take is None
                or data[end - 1] != FRAME_END
                or not take(kind, data[at + _FRAME_OVERHEAD - 1 : end - 1])
            ):
                passed.append(data[at:end])
            at = end
        self._rest = data[at:]
        now = time.monotonic()
        if not passed and now - self._passed_at > _HEARTBEAT_SECONDS:
            # The broker sends no heartbeats while it sends messages; aiormq sees none of those.
            passed.append(_HEARTBEAT)
        if passed:
            self._passed_at = now
            super().feed_data(b"".join(passed))


class _Transport(TransportFactory):
    def __init__(self) -> None:
        self.reader = FrameReader()

    async def create(
        self, url: URL, **options: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        provider = options.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        loop: Any = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(self.reader, loop=loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, url.host, url.port, ssl=context, **options
            )
        except OSError as error:
            raise aiormq.AMQPConnectionError(*error.args) from error
        return self.reader, asyncio.StreamWriter(transport, protocol, self.reader, loop)


class Connection:
    """A connection to the broker: aiormq's, and the reader in front of it."""

    def __init__(self, raw: aiormq.Connection, reader: FrameReader) -> None:
        self.raw = raw
        """For what is not about single messages: declaring, checking, closing."""
        self.takers = reader.takers


async def connect(url: URL, name: str) -> Connection:
    """Open a connection under a name that the broker shows."""
    transport = _Transport()
    raw = await aiormq.connect(
        url, transport_factory=transport, client_properties={"connection_name": name}
    )
    return Connection(raw, transport.reader)


class FastChannel:
    """A channel with batched writes, and with plain callbacks for what the broker sends."""

    def __init__(self, raw: Any, takers: dict[int, Take]) -> None:
        self._raw = raw
        self._number: int = raw.number
        self._payload_max: int = raw.connection.connection_tune.frame_max - _FRAME_OVERHEAD
        self.on_deliver: Callable[[Received], None] | None = None
        self.on_confirm: Callable[[int, bool, bool], None] | None = None
        """Called with (delivery tag, multiple, positive)."""
        self.on_return: Callable[[str, str], None] | None = None
        """Called with (message id, reply text) before the confirm of the same message."""
        self.on_cancel: Callable[[], None] | None = None
        self.on_fault: Callable[[str], None] | None = None
        """Called when the channel has closed, or a callback of ours failed."""
        self.next_tag = 1
        """The delivery tag of the next message that is written."""
        self._consumer_tag: str | None = None
        self._coming: Received | None = None
        self._returned: str | None = None
        self._parts = list[bytes]()
        self._missing = 0
        takers[self._number] = self._take
        raw.on_consumer_cancel_callbacks.add(self._cancel)
        raw.closing.add_done_callback(lambda _: self._closed(takers))

    @classmethod
    async def open(
        cls, connection: Connection, *, prefetch: int = 0, confirms: bool = False
    ) -> "FastChannel":
        """Open a channel, with confirms or with at most `prefetch` unacknowledged deliveries."""
        raw = await connection.raw.channel(publisher_confirms=confirms)
        if prefetch:
            await raw.basic_qos(prefetch_count=prefetch)
        return cls(raw, connection.takers)

    @property
    def is_open(self) -> bool:
        """Whether the channel can be used as far as this side knows."""
        return not self._raw.is_closed

    async def consume(
        self, queue: str, *, no_ack: bool = False, arguments: dict[str, Any] | None = None
    ) -> None:
        """Start deliveries of a queue to `on_deliver`."""
        started = await self._raw.basic_consume(
            queue, _never, no_ack=no_ack, arguments=arguments, timeout=10
        )
        self._consumer_tag = started.consumer_tag

    async def stop_consuming(self) -> None:
        """Let the broker give what comes to others."""
        if self._consumer_tag is not None and self.is_open:
            await self._raw.basic_cancel(self._consumer_tag, timeout=5)

    async def close(self) -> None:
        """Give back what was not acknowledged; this is no fault."""
        self.on_fault = None
        await self._raw.close(timeout=5)

    async def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Acknowledge one delivery, or all up to it."""
        await self._raw.basic_ack(tag, multiple=multiple, wait=False)

    def encode(self, message: Outgoing, now: int) -> bytes:
        """Write the frames of one publish at a time in Unix seconds; raises UnsendableError."""
        return codec.publish(message, self._number, self._payload_max, now)

    async def write(self, encoded: Sequence[bytes]) -> None:
        """Publish in order with one write; they take the delivery tags from `next_tag` on."""
        self.next_tag += len(encoded)
        await self._raw.write_queue.put(
            ChannelFrame(payload=b"".join(encoded), should_close=False)
        )

    def _take(self, kind: int, payload: bytes) -> bool:
        try:
            if kind == METHOD:
                return self._take_method(payload[:4], payload)
            if self._coming is None:
                return False
            if kind == HEADER:
                codec.read_properties(self._coming, payload)
                self._missing = codec.body_size(payload)
                if self._missing == 0:
                    self._complete(self._coming, b"")
            elif kind == BODY:
                self._missing -= len(payload)
                if self._missing > 0:
                    self._parts.append(payload)
                elif self._parts:
                    self._complete(self._coming, b"".join((*self._parts, payload)))
                else:
                    self._complete(self._coming, payload)
        except Exception as error:  # noqa: BLE001 - it would end the connection's transport.
            self._fault(f"a frame could not be taken: {error!r}")
        return True

    def _take_method(self, method: bytes, payload: bytes) -> bool:
        if method == _DELIVER:
            self._coming = codec.delivery(payload)
        elif method in (_ACK, _NACK):
            if self.on_confirm is not None:
                self.on_confirm(*codec.confirm(payload), method == _ACK)
        elif method == _RETURN:
            self._coming, self._returned = codec.returned(payload)
        else:
            return False
        return True

    def _complete(self, received: Received, body: bytes) -> None:
        received.body = body
        reason, self._returned = self._returned, None
        self._coming = None
        self._parts.clear()
        if reason is not None:
            if self.on_return is not None:
                self.on_return(received.message_id, reason)
        elif self.on_deliver is not None:
            self.on_deliver(received)

    def _closed(self, takers: dict[int, Take]) -> None:
        if takers.get(self._number) == self._take:
            del takers[self._number]
        self._fault("the channel was closed")

    def _fault(self, reason: str) -> None:
        if self.on_fault is not None:
            self.on_fault(reason)

    async def _cancel(self, _: Any) -> None:
        if self.on_cancel is not None:
            self.on_cancel()


async def _never(message: Any) -> None:
    raise AssertionError(f"delivered past the reader: {message}")
