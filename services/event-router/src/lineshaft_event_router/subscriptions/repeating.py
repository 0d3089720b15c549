"""Doing something again: until it works, at intervals, once more on the way out."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from lineshaft_common.transient import is_transient

from lineshaft_event_router.subscriptions.stores import Lead

log = structlog.get_logger(__name__)
T = TypeVar("T")


async def surely(call: Callable[[], Awaitable[T]]) -> T:
    """Do something in the database, however long that is away; it has to be idempotent."""
    delay = 0.05
    while True:
        try:
            return await call()
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("delivery_waits_for_the_database", error=repr(error)[:200])
        await asyncio.sleep(delay)
        delay = min(delay * 2, 2.0)


async def watch(lead: Lead, *, seconds: float) -> None:
    """End everything as soon as another process may lead."""
    while True:
        await asyncio.sleep(seconds)
        await lead.check()


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do something again and again; an outage of the database is waited out."""
    while True:
        await asyncio.sleep(seconds)
        await surely(work)


async def within(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Do something on the way out, if it can be done soon; nothing is lost when it cannot."""
    try:
        async with asyncio.timeout(seconds):
            await work()
    except Exception as error:  # noqa: BLE001 - the positions of before hold: events come again.
        log.warning("position_not_kept", error=repr(error)[:200])
