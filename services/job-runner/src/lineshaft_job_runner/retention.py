"""Forgetting: ended jobs and their artifacts after some days, and keys whose time is over."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Protocol, Self

import structlog
from lineshaft_common.objects import Objects
from lineshaft_common.transient import COLLISIONS, TRANSIENT_ERRORS
from prometheus_client import Counter

from lineshaft_job_runner.execution import artifacts_prefix

log = structlog.get_logger(__name__)

LOOK_SECONDS = 600.0
RETRY_SECONDS = 30.0
AT_ONCE = 500

FORGOTTEN = Counter("lineshaft_jobs_forgotten_total", "Ended jobs whose record was dropped")


class History(Protocol):
    """What is asked of the store; see store/history.py."""

    async def make_days(self) -> None:
        """Make room for the days to come."""
        ...

    async def days_before(self, age: timedelta) -> list[date]:
        """List the days whose ends are all older."""
        ...

    async def with_artifacts(self, day: date, *, after: str, limit: int) -> list[tuple[str, str]]:
        """List (tenant, job id) of a day's jobs that may have left artifacts, by job id."""
        ...

    async def drop(self, day: date) -> int:
        """Forget a day; returns how many jobs."""
        ...

    async def strays(self, age: timedelta, *, limit: int) -> list[tuple[str, str]]:
        """List (tenant, job id) of some old jobs that belong to no day."""
        ...

    async def forget_strays(self, job_ids: Sequence[str]) -> None:
        """Forget jobs that belong to no day."""
        ...

    async def forget_keys(self) -> int:
        """Delete keys whose time is over; returns how many."""
        ...


class Retention:
    """Looks every ten minutes; a day is dropped as one table, after its artifacts.

    A crash in between is harmless: what was deleted is gone, the rest is found again.
    """

    def __init__(self, history: History, objects: Objects, *, days: int) -> None:
        self._history = history
        self._objects = objects
        self._age = timedelta(days=days)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        with suppress(*TRANSIENT_ERRORS):  # Then it is done soon after.
            await self._history.make_days()  # Before anything ends.
        self._task = asyncio.create_task(self._run(), name="retention")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.forget()
                await asyncio.sleep(LOOK_SECONDS)
            except COLLISIONS as error:
                log.info("retention_waits", error=repr(error)[:200])
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("retention_failed")
                await asyncio.sleep(RETRY_SECONDS)

    async def forget(self) -> None:
        """Do it once."""
        await self._history.make_days()
        while await self._history.forget_keys():
            pass
        for day in await self._history.days_before(self._age):
            await self._delete_artifacts(day)
            forgotten = await self._history.drop(day)
            FORGOTTEN.inc(forgotten)
            log.info("history_dropped", day=str(day), jobs=forgotten)
        while strays := await self._history.strays(self._age, limit=AT_ONCE):
            await self._delete(strays)
            await self._history.forget_strays([job_id for _, job_id in strays])
            FORGOTTEN.inc(len(strays))

    async def _delete_artifacts(self, day: date) -> None:
        after = ""
        while found := await self._history.with_artifacts(day, after=after, limit=AT_ONCE):
            await self._delete(found)
            after = found[-1][1]

    async def _delete(self, jobs: Sequence[tuple[str, str]]) -> None:
        for tenant, job_id in jobs:
            await self._objects.delete_all(artifacts_prefix(tenant, job_id))
