"""How many dead letters there are, for the alert on them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog
from lineshaft_common import lifecycle
from lineshaft_common.transient import TRANSIENT_ERRORS
from prometheus_client import Gauge

log = structlog.get_logger(__name__)

INTERVAL_SECONDS = 10.0

WAITING = Gauge("lineshaft_dead_letters", "Messages that were put aside and wait for somebody")


class Store(Protocol):
    """Where letters are kept; see store."""

    async def total(self) -> int:
        """Count all letters."""
        ...


@asynccontextmanager
async def counted(store: Store) -> AsyncGenerator[None]:
    """Count again and again while the block is open."""

    async def count() -> None:
        while True:
            try:
                WAITING.set(await store.total())
            except TRANSIENT_ERRORS as error:
                log.warning("dead_letters_not_counted", error=repr(error)[:200])
            await asyncio.sleep(INTERVAL_SECONDS)

    async with lifecycle.background(count(), name="dead-letter-count"):
        yield
