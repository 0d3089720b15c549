"""The fast path beside the AMQP client: what it stands on, and that it reads and writes AMQP."""

import asyncio
import inspect
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiormq.connection import Connection, FrameReceiver, TransportFactory
from lineshaft_common.messaging import Outgoing, UnsendableError, codec, connect
from lineshaft_common.messaging.codec import Received
from lineshaft_common.messaging.wire import FastChannel, FrameReader
from lineshaft_contracts.topology import EVENTS_LOG
from pamqp.commands import Basic
from pamqp.header import ContentHeader


def test_the_client_lets_the_reader_be_replaced_and_reads_from_nothing_else() -> None:
    """The fast path stands on this: a new version that moves it fails here, not in a plant."""
    client: Any = Connection
    source = inspect.getsource(client.connect)
    assert "_transport_factory.create(" in source
    assert "FrameReceiver(reader)" in source
    assert "self.reader.readexactly(" in inspect.getsource(FrameReceiver)
    assert list(inspect.signature(TransportFactory.create).parameters) == ["self", "url", "kwargs"]


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return codec.FRAME_START.pack(kind, channel, len(payload)) + payload + b"\xce"


DELIVER = bytes.fromhex("003c003c") + b"\x01c" + (7).to_bytes(8) + b"\x01" + b"\x01e" + b"\x01k"


def content(message: Outgoing) -> list[bytes]:
    """The payloads of header and body, as the broker would send them on."""
    frames, payloads, at = codec.publish(message, 1, 100, 0), list[bytes](), 0
    while at < len(frames):
        _, _, length = codec.FRAME_START.unpack_from(frames, at)
        payloads.append(frames[at + 7 : at + 7 + length])
        at += 8 + length
    return payloads[1:]


MESSAGE = Outgoing(
    exchange="e",
    routing_key="k",
    type="some.type",
    message_id="7-ü",
    body=b"x" * 250,
    headers={"tenant": "acme", "count": -5},
    correlation_id="c",
    reply_to="r",
    time_to_live_milliseconds=10,
    app_id="a",
)


def stream(message: Outgoing) -> bytes:
    header, *bodies = content(message)
    return b"".join(
        (
            frame(1, 1, DELIVER),
            frame(1, 2, b"for the client"),
            frame(2, 1, header),
            *(frame(3, 1, body) for body in bodies),
        )
    )


@pytest.mark.parametrize("chunk", [1, 3, 7, 8, 50, 10_000])
async def test_a_delivery_is_taken_out_of_the_stream_however_it_is_cut(chunk: int) -> None:
    reader, received = FrameReader(), list[Received]()
    channel = FastChannel(RawChannel(), reader.takers)
    channel.on_deliver = received.append
    data = stream(MESSAGE) * 2
    for start in range(0, len(data), chunk):
        reader.feed_data(data[start : start + chunk])
    reader.feed_eof()
    left = await reader.read()
    assert (
        left.replace(bytes.fromhex("08000000000000ce"), b"") == frame(1, 2, b"for the client") * 2
    )
    assert len(received) == 2
    for one in received:
        assert (one.tag, one.redelivered, one.exchange, one.routing_key) == (7, True, "e", "k")
        assert (one.message_id, one.message_type, one.body) == ("7-ü", "some.type", MESSAGE.body)
        assert (one.correlation_id, one.reply_to) == ("c", "r")
        assert one.headers == {"tenant": "acme", "count": -5}


def test_properties_are_written_as_the_client_reads_them_and_read_as_it_writes_them() -> None:
    header = ContentHeader()
    header.unmarshal(content(MESSAGE)[0])
    written = header.properties
    assert (written.message_id, written.message_type, written.app_id) == ("7-ü", "some.type", "a")
    assert (written.content_type, written.delivery_mode) == ("application/cloudevents+json", 2)
    assert (written.priority, written.expiration, written.headers) == (4, "10", MESSAGE.headers)
    everything = Basic.Properties(
        content_type="t",
        content_encoding="e",
        headers={"s": "x", "n": 2**40, "b": True, "t": {"a": [1, "b"]}, "f": 1.5, "none": None},
        delivery_mode=1,
        priority=9,
        correlation_id="c",
        reply_to="r",
        expiration="5",
        message_id="m",
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        message_type="type",
        user_id="u",
        app_id="a",
        cluster_id="",
    )
    received = Received(exchange="", routing_key="")
    codec.read_properties(received, ContentHeader(0, 12, everything).marshal())
    assert received.headers == everything.headers
    assert (received.correlation_id, received.reply_to) == ("c", "r")
    assert (received.message_id, received.message_type) == ("m", "type")


def test_a_header_cut_or_mangled_anywhere_harms_nobody() -> None:
    whole = content(MESSAGE)[0]
    mangled = [whole[:end] for end in range(len(whole))]
    mangled += [
        whole[:at] + bytes((byte,)) + whole[at + 1 :]
        for at in range(12, len(whole))
        for byte in (0, 1, 127, 255)
    ]
    for data in mangled:
        received = Received(exchange="", routing_key="")
        codec.read_properties(received, data)
        assert isinstance(received.headers, dict)
        assert isinstance(received.message_id, str)


class RawChannel:
    """As much of the client's channel as the fast one touches when it is made."""

    def __init__(self) -> None:
        self.number = 1
        self.connection = SimpleNamespace(connection_tune=SimpleNamespace(frame_max=131_072))
        self.on_consumer_cancel_callbacks = set[Any]()
        self.closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()


@pytest.mark.integration
@pytest.mark.parametrize("size", [0, 1, 131_063, 131_064, 131_065, 1_000_000])
async def test_a_body_of_any_size_arrives_whole(fresh_amqp_url: str, size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    message = Outgoing(
        exchange="platform.log", routing_key="a.b", type="t", message_id="1", body=body
    )
    async with (
        connect(fresh_amqp_url, name="test") as bus,
        bus.read_log(EVENTS_LOG, "first") as records,
    ):
        assert await bus.publish_many([message, message]) == [None, None]
        received = [(await anext(records)).body for _ in range(2)]
    assert received == [body, body]


@pytest.mark.integration
@pytest.mark.parametrize(
    "changes",
    [
        {"message_id": "\U0001f40d" * 128},
        {"routing_key": "a" * 256},
        {"type": "a" * 256},
        {"app_id": "\ud800"},
        {"headers": {"count": 2**70}},
    ],
)
async def test_what_amqp_cannot_carry_is_an_error_and_holds_up_nothing(
    fresh_amqp_url: str, changes: dict[str, Any]
) -> None:
    good = Outgoing(
        exchange="platform.log", routing_key="a.b", type="t", message_id="1", body=b"good"
    )
    async with connect(fresh_amqp_url, name="test") as bus:
        outcomes = await bus.publish_many([good, replace(good, **changes), good])
        assert [type(one) for one in outcomes] == [type(None), UnsendableError, type(None)]
        only = await bus.publish_many([replace(good, **changes)])
        assert [type(one) for one in only] == [UnsendableError]
        assert await bus.publish_many([good]) == [None]
