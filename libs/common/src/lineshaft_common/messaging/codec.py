"""AMQP 0-9-1 as bytes: the frames of a publish, and what a delivery says of itself.

The client's own marshaller handles every frame there is and takes 30 us for each of these; they
are most of all frames. Source: the AMQP 0-9-1 specification, 4.2 (frames) and 1.8 (class basic).
"""

import struct
from typing import Any

from pamqp import decode

from lineshaft_common.messaging.bus import UnsendableError
from lineshaft_common.messaging.outgoing import Outgoing

METHOD, HEADER, BODY = 1, 2, 3
FRAME_START = struct.Struct(">BHI")
FRAME_END = 0xCE
_END = bytes((FRAME_END,))
_PUBLISH = bytes.fromhex("003c00280000")
_CONTENT = struct.Struct(">HHQH")
_UINT, _INT, _LONG = struct.Struct(">I"), struct.Struct(">i"), struct.Struct(">q")
_TAG = struct.Struct(">QB")
_CLASS_BASIC = 60

CONTENT_TYPE, CONTENT_ENCODING, HEADERS, DELIVERY_MODE = 1 << 15, 1 << 14, 1 << 13, 1 << 12
PRIORITY, CORRELATION_ID, REPLY_TO, EXPIRATION = 1 << 11, 1 << 10, 1 << 9, 1 << 8
MESSAGE_ID, TIMESTAMP, TYPE, APP_ID, MORE_FLAGS = 1 << 7, 1 << 6, 1 << 5, 1 << 3, 1

PRIORITIES = {"low": 1, "normal": 4, "high": 6, "critical": 9}
"""CloudEvents has no priority; these are the values of the AMQP property."""


class Received:
    """One delivery as it came off the wire; texts are the sender's and may be anything."""

    __slots__ = (
        "body",
        "correlation_id",
        "exchange",
        "headers",
        "message_id",
        "message_type",
        "redelivered",
        "reply_to",
        "routing_key",
        "tag",
    )

    def __init__(
        self,
        *,
        tag: int = 0,
        exchange: str,
        routing_key: str,
        redelivered: bool = False,
    ) -> None:
        self.tag = tag
        self.exchange = exchange
        self.routing_key = routing_key
        self.redelivered = redelivered
        self.headers: dict[str, Any] = {}
        self.message_id = ""
        self.message_type = ""
        self.correlation_id: str | None = None
        self.reply_to: str | None = None
        self.body = b""


def publish(message: Outgoing, channel: int, payload_max: int, now: int) -> bytes:
    """Write the frames of one publish; raises UnsendableError."""
    try:
        method = b"".join(
            (
                _PUBLISH,
                _short(message.exchange),
                _short(message.routing_key),
                b"\x01" if message.mandatory else b"\x00",
            )
        )
        header = _content_header(message, now)
    except (TypeError, ValueError, AttributeError, struct.error) as error:
        raise UnsendableError(f"{message.type[:128]}: {error}") from error
    out = [
        FRAME_START.pack(METHOD, channel, len(method)),
        method,
        _END,
        FRAME_START.pack(HEADER, channel, len(header)),
        header,
        _END,
    ]
    body = message.body
    for start in range(0, len(body), payload_max):
        part = body[start : start + payload_max]
        out += (FRAME_START.pack(BODY, channel, len(part)), part, _END)
    return b"".join(out)


def _content_header(message: Outgoing, now: int) -> bytes:
    flags = CONTENT_TYPE | DELIVERY_MODE | PRIORITY | MESSAGE_ID | TIMESTAMP | TYPE
    values = [_CLOUDEVENT]
    if message.headers:
        flags |= HEADERS
        values.append(_table(message.headers))
    values.append(bytes((2 if message.persistent else 1, PRIORITIES.get(message.priority, 4))))
    if message.correlation_id is not None:
        flags |= CORRELATION_ID
        values.append(_short(message.correlation_id))
    if message.reply_to is not None:
        flags |= REPLY_TO
        values.append(_short(message.reply_to))
    if message.time_to_live_milliseconds is not None:
        flags |= EXPIRATION
        values.append(_short(str(message.time_to_live_milliseconds)))
    values += (_short(message.message_id), _LONG.pack(now), _short(message.type))
    if message.app_id is not None:
        flags |= APP_ID
        values.append(_short(message.app_id))
    return _CONTENT.pack(_CLASS_BASIC, 0, len(message.body), flags) + b"".join(values)


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data


_CLOUDEVENT = _short("application/cloudevents+json")


def _table(headers: Any) -> bytes:
    entries = list[bytes]()
    for name, value in headers.items():
        entries.append(_short(name))
        if isinstance(value, str):
            data = value.encode()
            entries += (b"S", _UINT.pack(len(data)), data)
        else:
            entries += (b"l", _LONG.pack(value))
    data = b"".join(entries)
    return _UINT.pack(len(data)) + data


def delivery(method: bytes) -> Received:
    """Read Basic.Deliver; what follows the method's number."""
    at = 5 + method[4]  # The consumer's tag: a channel has one consumer.
    tag, redelivered = _TAG.unpack_from(method, at)
    exchange, at = _text(method, at + 9)
    key, _ = _text(method, at)
    return Received(tag=tag, exchange=exchange, routing_key=key, redelivered=bool(redelivered & 1))


def returned(method: bytes) -> tuple[Received, str]:
    """Read Basic.Return; the second is why the message came back."""
    reason, at = _text(method, 6)
    exchange, at = _text(method, at)
    key, _ = _text(method, at)
    return Received(exchange=exchange, routing_key=key), reason


def confirm(method: bytes) -> tuple[int, bool]:
    """Read Basic.Ack or Basic.Nack: the tag, and whether all up to it are meant."""
    tag, bits = _TAG.unpack_from(method, 4)
    return tag, bool(bits & 1)


def body_size(header: bytes) -> int:
    """Read from a content header how long the body is."""
    return _CONTENT.unpack_from(header)[2]


def read_properties(received: Received, header: bytes) -> None:
    """Fill in what a content header says; one that cannot be read says nothing.

    The sender chose these bytes: texts that are no UTF-8, lengths beyond the end.
    """
    try:
        _properties(received, header)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the message is put aside.
        received.headers = {"lineshaft-unreadable": "properties"}
        received.message_id = received.message_type = ""
        received.correlation_id = received.reply_to = None


def _properties(received: Received, data: bytes) -> None:  # noqa: C901 - a branch per property.
    flags: int = _CONTENT.unpack_from(data)[3]
    at = _CONTENT.size
    if flags & MORE_FLAGS:
        raise ValueError("no property has a flag there")
    if flags & CONTENT_TYPE:
        at += 1 + data[at]
    if flags & CONTENT_ENCODING:
        at += 1 + data[at]
    if flags & HEADERS:
        received.headers, at = _headers(data, at)
    at += bool(flags & DELIVERY_MODE) + bool(flags & PRIORITY)
    if flags & CORRELATION_ID:
        received.correlation_id, at = _text(data, at)
    if flags & REPLY_TO:
        received.reply_to, at = _text(data, at)
    if flags & EXPIRATION:
        at += 1 + data[at]
    if flags & MESSAGE_ID:
        received.message_id, at = _text(data, at)
    if flags & TIMESTAMP:
        at += 8
    if flags & TYPE:
        received.message_type, at = _text(data, at)


def _text(data: bytes, at: int) -> tuple[str, int]:
    start = at + 1
    end = start + data[at]
    if end > len(data):
        raise ValueError("a text ends beyond its frame")
    return data[start:end].decode(), end


def _headers(data: bytes, at: int) -> tuple[dict[str, Any], int]:
    headers: dict[str, Any] = {}
    end = at + 4 + _UINT.unpack_from(data, at)[0]
    at += 4
    while at < end:
        name, at = _text(data, at)
        kind = data[at]
        if kind == 83:  # S
            start = at + 5
            at = start + _UINT.unpack_from(data, at + 1)[0]
            value = data[start:at]
            try:
                headers[name] = value.decode()
            except UnicodeDecodeError:
                headers[name] = value
        elif kind == 108:  # l
            headers[name] = _LONG.unpack_from(data, at + 1)[0]
            at += 9
        else:
            used, headers[name] = decode.embedded_value(data[at:end])
            at += used
    if at != end or end > len(data):
        raise ValueError("the headers end elsewhere than they say")
    return headers, end
