"""The object store that holds what is too large for a message: a local folder by default."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import ObjectStore, from_url

PART_BYTES = 8 * 1024 * 1024


class ObjectMissingError(LookupError):
    """No object is stored under this key."""


class Objects:
    """Objects by key, streamed both ways in bounded memory."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "file":
            Path(unquote(parts.path)).mkdir(parents=True, exist_ok=True)
        self._store: ObjectStore = from_url(url)

    async def put_file(self, key: str, path: Path) -> None:
        """Store a file's content; it appears whole or not at all."""
        await obstore.put_async(self._store, key, path, chunk_size=PART_BYTES)

    async def put(self, key: str, content: bytes) -> None:
        """Store some bytes; they appear whole or not at all."""
        await obstore.put_async(self._store, key, content)

    async def get(self, key: str) -> bytes:
        """Return all bytes of a small object, or raise ObjectMissingError."""
        try:
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            raise ObjectMissingError(key) from None

    async def read(self, key: str, start: int, end: int) -> AsyncIterator[bytes]:
        """Stream bytes `start` to `end` (exclusive), or raise ObjectMissingError at once."""
        try:
            for at in range(start, end, PART_BYTES):
                part = await obstore.get_range_async(
                    self._store, key, start=at, end=min(end, at + PART_BYTES)
                )
                yield bytes(part)
        except FileNotFoundError:
            raise ObjectMissingError(key) from None

    async def delete_all(self, prefix: str) -> None:
        """Delete every object under a prefix."""
        listing = await asyncio.to_thread(lambda: obstore.list(self._store, prefix).collect())
        await obstore.delete_async(self._store, [item["path"] for item in listing])
