"""One body from the origin, read by many clients while it arrives."""

import asyncio
from collections.abc import AsyncIterator

from lineshaft_cdn_edge.origin import OriginError


class AbandonedError(Exception):
    """Nobody reads the body any more, and it is not kept."""


class Broadcast:
    """Chunks are kept from the first, so that a reader may join late.

    Once released, because the body turned out too long to store, nobody may join, chunks go
    when every reader has them, and the writer waits for the slowest reader: memory is bounded
    by `window_bytes`.
    """

    def __init__(self, *, window_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._chunks: list[bytes] = []
        self._base = 0
        self._kept_bytes = 0
        self._positions: dict[Reader, int] = {}
        self._is_retained = True
        self._is_done = False
        self._error: OriginError | None = None
        self._changed = asyncio.Event()

    @property
    def is_joinable(self) -> bool:
        """Whether a new reader still gets the whole body."""
        return self._is_retained and self._error is None

    def reader(self) -> "Reader":
        """Join; only while `is_joinable`."""
        if not self.is_joinable:
            raise AbandonedError
        reader = Reader(self)
        self._positions[reader] = 0
        return reader

    async def write(self, chunk: bytes) -> None:
        """Add a chunk; when released, waits for room and raises AbandonedError without readers."""
        self._chunks.append(chunk)
        self._kept_bytes += len(chunk)
        self._wake()
        while not self._is_retained:
            self._trim()
            if not self._positions:
                raise AbandonedError
            if self._kept_bytes <= self._window_bytes:
                return
            await self._changed.wait()

    def release(self) -> None:
        """Stop keeping what has been read."""
        self._is_retained = False

    def finish(self) -> bytes:
        """End the body; returns all of it, or nothing when it was released."""
        self._is_done = True
        self._wake()
        return b"".join(self._chunks) if self._is_retained else b""

    def fail(self, error: OriginError) -> None:
        """End the body for every reader with an error: what they got is not the whole."""
        self._error = error
        self._wake()

    async def next_chunk(self, reader: "Reader") -> bytes | None:
        """Wait for the reader's next chunk; None at the end, raises OriginError if it is cut."""
        while reader in self._positions:
            index = self._positions[reader] - self._base
            if index < len(self._chunks):
                self._positions[reader] += 1
                if not self._is_retained:
                    self._wake()
                return self._chunks[index]
            if self._error:
                raise self._error
            if self._is_done:
                return None
            await self._changed.wait()
        return None

    def leave(self, reader: "Reader") -> None:
        """Forget a reader; the writer no longer waits for it."""
        self._positions.pop(reader, None)
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _trim(self) -> None:
        slowest = min(self._positions.values(), default=self._base + len(self._chunks))
        gone = self._chunks[: slowest - self._base]
        del self._chunks[: slowest - self._base]
        self._base = slowest
        self._kept_bytes -= sum(map(len, gone))


class Reader:
    """One client's place in a broadcast."""

    def __init__(self, broadcast: Broadcast) -> None:
        self._broadcast = broadcast

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._broadcast.next_chunk(self)) is not None:
            yield chunk

    async def close(self) -> None:
        """Leave the broadcast."""
        self._broadcast.leave(self)
