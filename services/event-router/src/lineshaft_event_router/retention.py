"""Forgetting what is out of the window."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Protocol

import structlog
from lineshaft_common import lifecycle
from lineshaft_common.transient import TRANSIENT_ERRORS

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 600.0


class Store(Protocol):
    """What can forget; see store.py."""

    async def forget(self, *, older_than: timedelta) -> int:
        """Delete a bounded number of old entries; how many there were."""
        ...


@asynccontextmanager
async def forget_old(
    store: Store, *, window: timedelta, interval_seconds: float = INTERVAL_SECONDS
) -> AsyncGenerator[None]:
    """Delete old entries again and again while the block is open."""

    async def forget() -> None:
        while True:
            try:
                while await store.forget(older_than=window):  # noqa: ASYNC110 - it deletes.
                    await asyncio.sleep(0.1)  # Others want the database too.
            except TRANSIENT_ERRORS as error:
                log.warning("retention_waits", error=repr(error)[:200])
            await asyncio.sleep(interval_seconds)

    async with lifecycle.background(forget(), name="retention"):
        yield
