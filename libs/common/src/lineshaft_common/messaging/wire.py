"""The fast path on an aiormq channel: many publishes in one write, deliveries without a task each.

aiormq marshals and awaits one publish at a time (69 us of CPU each) and starts a task per
delivery. This module replaces three protected hooks of its Channel; tests/test_wire.py holds
them against the pinned version, so that an upgrade that moves them fails there and not in a plant.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import pamqp.frame
from aio_pika.abc import AbstractConnection
from aiormq.abc import ChannelFrame
from pamqp import commands as spec
from pamqp.header import ContentHeader

from lineshaft_common.messaging.bus import Outgoing, UnsendableError

_BODY_HEADER = struct.Struct(">BHI")
_HEADER_START = struct.Struct(">HHQ")
_FRAME_END = b"\xce"
_FRAME_OVERHEAD = 8


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery as it came off the wire."""

    tag: int
    exchange: str
    routing_key: str
    redelivered: bool
    properties: Any
    """pamqp's Basic.Properties; values are the sender's and may be of any type."""
    body: bytes

    @property
    def headers(self) -> dict[str, Any]:
        """The sender's headers, or none."""
        headers: object = self.properties.headers
        return cast("dict[str, Any]", headers) if isinstance(headers, dict) else {}


class FastChannel:
    """A channel with batched writes, and with plain callbacks for what the broker sends."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._payload_max: int = raw.connection.connection_tune.frame_max - _FRAME_OVERHEAD
        self.on_deliver: Callable[[Received], None] | None = None
        self.on_confirm: Callable[[int, bool, bool], None] | None = None
        """Called with (delivery tag, multiple, positive)."""
        self.on_return: Callable[[str | None, str], None] | None = None
        """Called with (message id, reply text) before the confirm of the same message."""
        self.on_cancel: Callable[[], None] | None = None
        self.on_fault: Callable[[str], None] | None = None
        """Called when the channel has closed, or a callback of ours failed."""
        self._consumer_tag: str | None = None
        raw._on_deliver_frame = self._deliver  # noqa: SLF001
        raw._on_confirm_frame = self._confirm  # noqa: SLF001
        raw._on_return_frame = self._return  # noqa: SLF001
        raw.on_consumer_cancel_callbacks.add(self._cancel)
        raw.closing.add_done_callback(lambda _: self._fault("the channel was closed"))

    @classmethod
    async def open(cls, connection: AbstractConnection, *, prefetch: int = 0) -> "FastChannel":
        """Open a channel with confirms, and with at most `prefetch` unacknowledged deliveries."""
        channel = await connection.channel(publisher_confirms=True, on_return_raises=False)
        raw = await channel.get_underlay_channel()
        if prefetch:
            await raw.basic_qos(prefetch_count=prefetch)
        return cls(raw)

    @property
    def is_open(self) -> bool:
        """Whether the channel can be used as far as this side knows."""
        return not self._raw.is_closed

    @property
    def next_tag(self) -> int:
        """The delivery tag of the next message that is written."""
        return self._raw.delivery_tag + 1

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

    def encode(self, message: Outgoing) -> bytes:
        """Write the frames of one publish; raises UnsendableError."""
        number: int = self._raw.number
        publish = spec.Basic.Publish(
            exchange=message.exchange,
            routing_key=message.routing_key,
            mandatory=message.mandatory,
        )
        try:
            out = [
                pamqp.frame.marshal(publish, number),
                pamqp.frame.marshal(_header(message), number),
            ]
        except (TypeError, ValueError, OverflowError, struct.error) as error:
            raise UnsendableError(f"{message.type[:128]}: {error}") from error
        body = message.body
        for start in range(0, len(body), self._payload_max):
            part = body[start : start + self._payload_max]
            out += (_BODY_HEADER.pack(3, number, len(part)), part, _FRAME_END)
        return b"".join(out)

    async def write(self, encoded: Sequence[bytes]) -> None:
        """Publish in order with one write; they take the delivery tags from `next_tag` on."""
        self._raw.delivery_tag += len(encoded)
        await self._raw.write_queue.put(
            ChannelFrame(payload=b"".join(encoded), should_close=False)
        )

    async def _content(self) -> tuple[Any, bytes]:
        header: Any = await self._raw._get_frame()  # noqa: SLF001
        parts: list[bytes] = []
        missing: int = header.body_size
        while missing > 0:
            part: bytes = (await self._raw._get_frame()).value  # noqa: SLF001
            parts.append(part)
            missing -= len(part)
        return header.properties, b"".join(parts)

    async def _deliver(self, frame: Any) -> None:
        properties, body = await self._content()
        received = Received(
            tag=frame.delivery_tag,
            exchange=frame.exchange,
            routing_key=frame.routing_key,
            redelivered=frame.redelivered,
            properties=properties,
            body=body,
        )
        try:
            if self.on_deliver is not None:
                self.on_deliver(received)
        except Exception as error:  # noqa: BLE001 - it would end the client's reader for good.
            self._fault(f"a delivery failed: {error!r}")

    def _fault(self, reason: str) -> None:
        if self.on_fault is not None:
            self.on_fault(reason)

    async def _confirm(self, frame: Any) -> None:
        if self.on_confirm is not None:
            self.on_confirm(
                frame.delivery_tag, bool(frame.multiple), isinstance(frame, spec.Basic.Ack)
            )

    async def _return(self, frame: Any) -> None:
        properties, _ = await self._content()
        if self.on_return is not None:
            self.on_return(properties.message_id, frame.reply_text)

    async def _cancel(self, _: Any) -> None:
        if self.on_cancel is not None:
            self.on_cancel()


async def _never(message: Any) -> None:
    raise AssertionError(f"delivered past the hook: {message}")


PRIORITIES = {"low": 1, "normal": 4, "high": 6, "critical": 9}
"""CloudEvents has no priority; these are the values of the AMQP property."""


def _header(message: Outgoing) -> ContentHeader:
    lifetime = message.time_to_live_milliseconds
    return ContentHeader(
        body_size=len(message.body),
        properties=spec.Basic.Properties(
            content_type="application/cloudevents+json",
            headers=dict(message.headers) or None,
            delivery_mode=2 if message.persistent else 1,
            priority=PRIORITIES.get(message.priority, 4),
            correlation_id=message.correlation_id,
            reply_to=message.reply_to,
            expiration=None if lifetime is None else str(lifetime),
            message_id=message.message_id,
            timestamp=datetime.now(UTC),
            message_type=message.type,
            app_id=message.app_id,
        ),
    )


_unmarshal_strictly = ContentHeader.unmarshal


def _unmarshal(self: ContentHeader, data: bytes) -> None:
    """Read a content header; one whose properties cannot be read has none.

    A timestamp beyond the year 9999 or a text that is no UTF-8 raises inside the connection's
    reader, which would end the connection, again and again, for all queues of the process.
    """
    try:
        _unmarshal_strictly(self, data)
    except Exception:  # noqa: BLE001 - the sender chose these bytes.
        self.class_id, self.weight, self.body_size = _HEADER_START.unpack_from(data)
        self.properties = spec.Basic.Properties(headers={"lineshaft-unreadable": "properties"})


ContentHeader.unmarshal = _unmarshal
