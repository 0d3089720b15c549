"""Compressed forms of stored bodies: a quick one for the first answer, a dense one soon after."""

import asyncio
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import brotli

from lineshaft_cdn_edge.entry import Entry

_INLINE_BYTES_MAX = 32_768
"""Up to here the quick levels take less time than a thread's round trip is worth."""
_DENSE_BROTLI_BYTES_MAX = 1_048_576
"""Quality 11 takes about two seconds per MiB; longer bodies get quality 9."""


def compress(body: bytes, coding: str, *, dense: bool) -> bytes:
    """Encode a body; takes milliseconds to seconds by its length."""
    if coding == "gzip":
        level = 9 if dense else 4
        engine = zlib.compressobj(level, zlib.DEFLATED, wbits=31)
        return engine.compress(body) + engine.flush()
    if coding == "br":
        quality = (11 if len(body) <= _DENSE_BROTLI_BYTES_MAX else 9) if dense else 4
        return _brotli(body, quality)
    raise ValueError(f"unknown content coding {coding!r}")


def _brotli(body: bytes, quality: int) -> bytes:
    untyped: Any = brotli
    return untyped.compress(body, quality=quality)


Attach = Callable[[Entry, Mapping[str, bytes]], None]
"""Gives forms to what a store still holds of an entry's body."""


class Compressor:
    """Makes the forms of one store's entries, off the event loop where that takes time.

    Dense forms are made one after the other in one thread; when more than `backlog_max` entries
    wait, further ones stay with the quick form they have.
    """

    def __init__(self, attach: Attach, *, backlog_max: int = 256) -> None:
        self._attach = attach
        self._backlog_max = backlog_max
        self._background = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compression")
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Give up what is not made yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._background.shutdown(wait=False, cancel_futures=True)

    async def quickly(self, entry: Entry, coding: str) -> Entry:
        """Add a quick form to an entry that is about to be stored and served."""
        if len(entry.body) <= _INLINE_BYTES_MAX:
            form = compress(entry.body, coding, dense=False)
        else:
            form = await asyncio.to_thread(compress, entry.body, coding, dense=False)
        return entry.with_forms({coding: form})

    def densely(self, entry: Entry) -> None:
        """Make dense forms in the background; they count once the store still has the entry."""
        if len(self._tasks) < self._backlog_max:
            task = asyncio.get_running_loop().create_task(self._densely(entry))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Wait until the background has nothing left to do."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _densely(self, entry: Entry) -> None:
        forms = await asyncio.get_running_loop().run_in_executor(
            self._background, _dense_forms, entry.body
        )
        self._attach(entry, forms)


def _dense_forms(body: bytes) -> dict[str, bytes]:
    return {coding: compress(body, coding, dense=True) for coding in ("gzip", "br")}
