"""Reading a retained log: a RabbitMQ stream, with offsets kept on this side."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from lineshaft_contracts.topology import Queue

from lineshaft_common.messaging.bus import LogRecord, Start
from lineshaft_common.messaging.codec import Received
from lineshaft_common.messaging.link import Link
from lineshaft_common.messaging.topology import declare_queue
from lineshaft_common.messaging.wire import Connection, FastChannel

PREFETCH = 500
OPEN_TIMEOUT_SECONDS = 20.0


class BadStartError(ValueError):
    """The place to start from is not one; the broker would drop the whole connection for it."""


class _Reader:
    """Goes on where it stopped; a robust consumer would begin again at `start`."""

    def __init__(self, link: Link, queue: Queue, start: Start) -> None:
        self._link = link
        self._queue = queue
        self._start: Start = start
        # Bounded by the broker: the prefetch and the rest of the chunk that it lies in.
        self._records: asyncio.Queue[tuple[LogRecord, int]] = asyncio.Queue()
        self._channel: FastChannel | None = None

    async def open(self, connection: Connection) -> None:
        await declare_queue(connection, self._queue)
        self._records = asyncio.Queue()
        channel = await FastChannel.open(connection, prefetch=PREFETCH)
        channel.on_deliver = self._on_deliver
        channel.on_cancel = lambda: self._link.restart("stream consumer cancelled")
        channel.on_fault = self._link.restart
        self._channel = channel
        await channel.consume(
            self._queue.name, arguments={"x-stream-offset": _offset(self._start)}
        )

    def lost(self) -> None:
        self._channel = None
        if isinstance(self._start, str) and self._start != "first":
            self._start = datetime.now(
                UTC
            )  # Nothing was read yet; what comes meanwhile is wanted.

    def _on_deliver(self, received: Received) -> None:
        headers = received.headers
        offset = headers.get("x-stream-offset")
        if not isinstance(offset, int):
            return
        record = LogRecord(
            offset=offset,
            type=received.message_type,
            routing_key=received.routing_key,
            body=received.body,
            headers=headers,
        )
        # A chunk of the stream is delivered whole: what lies before the start is skipped here.
        if (
            not isinstance(self._start, int)
            or isinstance(self._start, bool)
            or offset >= self._start
        ):
            self._records.put_nowait((record, received.tag))

    async def __aiter__(self) -> AsyncIterator[LogRecord]:
        unacknowledged = 0
        while True:
            try:
                async with asyncio.timeout(1):
                    record, tag = await self._records.get()
            except TimeoutError:
                continue
            self._start = record.offset + 1
            unacknowledged += 1
            if (unacknowledged >= PREFETCH // 4 or self._records.empty()) and self._channel:
                unacknowledged = 0
                await self._channel.ack(tag, multiple=True)
            yield record


def _offset(start: Start) -> str | int | datetime:
    if isinstance(start, str) and start not in {"first", "last", "next"}:
        raise BadStartError(f"{start!r} is not first, last or next")
    if isinstance(start, int) and not 0 <= start < 2**63:
        raise BadStartError(f"offset {start} is out of range")
    return start


@asynccontextmanager
async def read(link: Link, queue: Queue, start: Start) -> AsyncGenerator[AsyncIterator[LogRecord]]:
    """Read a stream over a link of its own; raises BadStartError before anything is sent."""
    _offset(start)
    reader = _Reader(link, queue, start)
    await link.add(reader)
    try:
        await link.wait_up(OPEN_TIMEOUT_SECONDS)
        yield aiter(reader)
    finally:
        link.remove(reader)
