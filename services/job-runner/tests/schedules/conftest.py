"""Schedules on a real PostgreSQL, with the keeper driven by hand."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lineshaft_common import postgres
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import Envelope, envelop
from lineshaft_contracts.job_schedules import (
    JobSchedule,
    JobScheduleView,
    ListJobSchedules,
    SetJobSchedule,
)
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.job import Outcome, Verdict
from lineshaft_job_runner.schedules.desk import Desk
from lineshaft_job_runner.schedules.drafts import Drafts
from lineshaft_job_runner.schedules.keeper import Keeper
from lineshaft_job_runner.store.fires import FireStore, Jobs
from lineshaft_job_runner.store.jobs import JobStore
from lineshaft_job_runner.store.schedules import ScheduleStore
from lineshaft_job_runner.submissions import Submissions

PLUGIN = Path(__file__).parent.parent / "plugin"


class NobodyElse:
    """No other worker serves anything."""

    async def find(self, name: str) -> None:
        return None


class Timetable:
    """Schedules, their keeper, and what a client and a test want to know."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.jobs = JobStore(pool, worker="one", on_announced=lambda: None)
        self.store = ScheduleStore(pool)
        self.drafts = self._drafts()
        self.woken = 0
        self.desk = Desk(self.store, self.drafts, on_changed=self._wake)

    def _wake(self) -> None:
        self.woken += 1

    @staticmethod
    def _drafts() -> Drafts:
        catalogue = Catalogue.installed()
        return Drafts(Submissions(catalogue, NobodyElse()), catalogue, NobodyElse())

    def keeper(self, *, pool: Pool | None = None, jobs: Jobs | None = None) -> Keeper:
        """Make a keeper, as another process would."""
        fires = FireStore(pool or self.pool, jobs or self.jobs, on_announced=lambda: None)
        return Keeper(fires, ScheduleStore(pool or self.pool), self.drafts)

    async def fire(self) -> float:
        """Fire once what is due; the seconds until that is worth doing again."""
        return await self.keeper().fire_due()

    async def set(self, name: str, *, tenant: str = "acme", **fields: Any) -> JobScheduleView:
        """Set a schedule like a client; hourly when the test does not say."""
        if "cron" not in fields:
            fields.setdefault("every_seconds", 3600)
        schedule = JobSchedule.model_validate({"job_type": "trial.wait", **fields})
        order = SetJobSchedule(name=name, schedule=schedule, actor="lsk_test")
        return (await self.desk.set(asked(order, tenant))).schedule

    async def due(
        self, name: str, *, fires: int = 1, late: float = 1, every: int = 3600, **fields: Any
    ) -> None:
        """Set a schedule of which `fires` fires are due, the last one for `late` seconds."""
        now = await self.store.now()
        first = now - timedelta(seconds=every) * (fires - 1) - timedelta(seconds=late)
        await self.set(name, every_seconds=every, starts_at=first, **fields)
        await self.pool.execute(
            """
            UPDATE job_schedules SET next_fire_at = $2 WHERE name = $1 AND deleted_at IS NULL
            """,
            name,
            first,
        )

    async def again(self, name: str) -> None:
        """Let a schedule be due now."""
        await self.pool.execute(
            "UPDATE job_schedules SET next_fire_at = now() WHERE name = $1", name
        )

    async def view(self, name: str, *, tenant: str = "acme") -> JobScheduleView:
        """Look at a schedule."""
        (one,) = (await self.desk.list(asked(ListJobSchedules(name=name), tenant))).schedules
        return one

    async def ledger(self, name: str) -> list[str]:
        """The outcomes of a schedule's fires, oldest first."""
        return [row["outcome"] for row in await self.ledger_rows(name)]

    async def ledger_rows(self, name: str) -> Sequence[Any]:
        """All about a schedule's fires, oldest first."""
        return await self.pool.fetch(
            """
            SELECT f.* FROM job_fires f JOIN job_schedules s ON s.id = f.schedule_id
            WHERE s.name = $1 AND s.deleted_at IS NULL ORDER BY f.fire_at
            """,
            name,
        )

    async def live_jobs(self, name: str | None = None) -> list[UUID]:
        """The jobs that schedules submitted and that have not ended, oldest first."""
        rows = await self.pool.fetch(
            """
            SELECT id FROM jobs
            WHERE schedule IS NOT NULL AND schedule = coalesce($1, schedule) ORDER BY id
            """,
            name,
        )
        return [row["id"] for row in rows]

    async def end_jobs(self) -> None:
        """Let every job succeed."""
        claimed = await self.jobs.claim(["trial.wait"], limit=100, lease_seconds=60)
        ends = [Outcome(job=job, verdict=Verdict.SUCCEEDED, result={}) for job in claimed]
        await self.jobs.finish(ends)


def asked(message: Any, tenant: str = "acme") -> Envelope[Any]:
    """Wrap a question as it comes from the gateway."""
    return envelop(message, source="/services/test", tenant=tenant)


@pytest.fixture
async def pool(postgres_url: str) -> AsyncGenerator[Pool]:
    async with postgres.connect(
        postgres_url, "lineshaft_common", "lineshaft_job_runner", name="t"
    ) as pool:
        yield pool


@pytest.fixture
def timetable(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Timetable:
    monkeypatch.syspath_prepend(str(PLUGIN))
    return Timetable(pool)
