"""The loop that fires schedules: one process at a time, each fire once, whatever crashes."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol, Self
from uuid import UUID

import structlog
from lineshaft_common.metrics import BUCKETS
from lineshaft_common.transient import is_transient
from prometheus_client import Counter, Histogram

from lineshaft_job_runner.schedules.schedule import (
    Decision,
    DueSchedule,
    FireOutcome,
    KeptSchedule,
    Settlement,
)
from lineshaft_job_runner.schedules.settlements import Drafts, planned, set_aside, settlement

log = structlog.get_logger(__name__)

SCHEDULES_MAX = 50
"""In one transaction; each may have a hundred fires to make up for."""
PLANNED_MAX = 100
"""In one transaction."""
LOOK_SECONDS_MAX = 5.0
"""How late a fire may be when the process that was to start it has gone."""
LOOK_SECONDS_MIN = 0.25
"""While somebody else fires, or holds what is due."""
SWEEP_SECONDS = 3_600.0
RETRY_SECONDS_MAX = 5.0
FIRST = UUID(int=0)

FIRES = Counter("lineshaft_jobs_schedule_fires_total", "Fires by what came of them", ["outcome"])
LAG_SECONDS = Histogram(
    "lineshaft_jobs_schedule_lag_seconds",
    "From the time of a fire to the submission of its job",
    buckets=BUCKETS,
)


class Batch(Protocol):
    """Schedules that are due, locked."""

    @property
    def now(self) -> datetime:
        """The time, by the clock of the store."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this process may fire."""
        ...

    @property
    def schedules(self) -> Sequence[DueSchedule]:
        """What is due."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Decision]:
        """Store what comes of it."""
        ...


class Fires(Protocol):
    """The ledger of fires; see store/fires.py."""

    def due(self, *, limit: int) -> AbstractAsyncContextManager[Batch]:
        """Lock what is due; commit when the block is left."""
        ...

    async def seconds_until_next(self) -> float | None:
        """Say how far away the next fire is."""
        ...

    async def sweep(self) -> bool:
        """Delete some of what is too old; whether there may be more."""
        ...


class Schedules(Protocol):
    """The schedules; see store/schedules.py."""

    async def replan(
        self,
        *,
        after: UUID,
        limit: int,
        plan: Callable[[KeptSchedule, datetime], datetime | None],
    ) -> UUID | None:
        """Plan a page of schedules anew."""
        ...


class Keeper:
    """Fires what is due until the block is left.

    Every process has a keeper, and whichever is first at a fire takes it: the lead is held for
    one transaction, so no leader that froze is waited for, and none comes back to fire again.
    """

    def __init__(self, fires: Fires, schedules: Schedules, drafts: Drafts) -> None:
        self._fires = fires
        self._schedules = schedules
        self._drafts = drafts
        self._changed = asyncio.Event()
        self._planned = False
        self._sweep_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="schedules")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=RETRY_SECONDS_MAX)

    def wake(self) -> None:
        """Say that a schedule was set."""
        self._changed.set()

    async def _run(self) -> None:
        delay = LOOK_SECONDS_MIN
        while True:
            self._changed.clear()
            try:
                await self._upkeep()
                pause = await self.fire_due()
                delay = LOOK_SECONDS_MIN
            except Exception:
                log.exception("schedules_wait")
                pause = delay = min(delay * 2, RETRY_SECONDS_MAX)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._changed.wait()

    async def _upkeep(self) -> None:
        """At start plan all anew, because rules of zones change; from time to time tidy up."""
        if not self._planned:
            last: UUID | None = FIRST
            while last is not None:
                last = await self._schedules.replan(after=last, limit=PLANNED_MAX, plan=planned)
            self._planned = True
        if time.monotonic() >= self._sweep_at:
            self._sweep_at = time.monotonic() + SWEEP_SECONDS
            more = True
            while more:
                more = await self._fires.sweep()

    async def fire_due(self) -> float:
        """Fire what is due now; the seconds until this is worth doing again."""
        while True:
            try:
                leads, fired = await self._fire(SCHEDULES_MAX)
            except Exception as error:
                if is_transient(error):
                    raise
                log.exception("fires_failed")
                leads, fired = await self._fire_one_by_one()
            if fired < SCHEDULES_MAX:
                break
        pause = await self._fires.seconds_until_next()
        if pause is None:
            return LOOK_SECONDS_MAX
        floor = 0.0 if leads and pause > 0 else LOOK_SECONDS_MIN
        return max(floor, min(pause, LOOK_SECONDS_MAX))

    async def _fire(self, limit: int, broken: DueSchedule | None = None) -> tuple[bool, int]:
        """Fire a batch in one transaction, `broken` without looking at it."""
        async with self._fires.due(limit=limit) as batch:
            settlements = [
                set_aside(due, now=batch.now)
                if broken is not None and due.id == broken.id
                else await settlement(due, self._drafts, now=batch.now)
                for due in batch.schedules
            ]
            decisions = await batch.settle(settlements) if settlements else []
        for decision in decisions:
            FIRES.labels(decision.outcome.value).inc()
            if decision.outcome is FireOutcome.SUBMITTED:
                LAG_SECONDS.observe((batch.now - decision.fire_at).total_seconds())
        return batch.leads, len(settlements)

    async def _fire_one_by_one(self) -> tuple[bool, int]:
        """Find what made a batch fail: that one is refused, and holds up nobody again."""
        for fired in range(SCHEDULES_MAX):
            async with self._fires.due(limit=1) as batch:
                first = batch.schedules[0] if batch.schedules else None
            if first is None:
                return batch.leads, fired
            try:
                await self._fire(1)
            except Exception as error:
                if is_transient(error):
                    raise
                log.exception("fire_failed", schedule=first.name, tenant=first.tenant)
                await self._fire(1, broken=first)
        return True, SCHEDULES_MAX
