"""Days of ended jobs come and go while everything else goes on, and none of them stays."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from lineshaft_common.objects import Objects
from lineshaft_job_runner.retention import Retention
from lineshaft_job_runner.store.history import HistoryStore

from .driver import Jobs

pytestmark = pytest.mark.integration

DAYS = timedelta(days=30)


@asynccontextmanager
async def somebody_reads(jobs: Jobs) -> AsyncGenerator[None]:
    """Keep a transaction open that has read all days, as a report or a backup does."""
    async with jobs.pool.acquire() as reader, reader.transaction():
        await reader.fetch("SELECT count(*) FROM job_history")
        yield


async def delays_nobody(jobs: Jobs, change: Awaitable[object]) -> None:
    """Check that a change gives way to a long read, and a job ends meanwhile."""
    running = await jobs.start()
    async with somebody_reads(jobs):
        changing = asyncio.ensure_future(change)
        await asyncio.sleep(0.05)
        async with asyncio.timeout(2):
            await jobs.succeed(running)
            with pytest.raises(asyncpg.LockNotAvailableError):
                await changing


async def test_a_long_read_and_a_new_day_delay_nobody(jobs: Jobs) -> None:
    day = datetime.now(UTC).date() + timedelta(days=2)
    await jobs.pool.execute(f"DROP TABLE IF EXISTS job_history_{day:%Y%m%d}")
    history = HistoryStore(jobs.pool)
    await delays_nobody(jobs, history.make_days())
    await history.make_days()
    assert await jobs.pool.fetchval("SELECT to_regclass($1)", f"job_history_{day:%Y%m%d}")


async def test_a_long_read_and_an_old_day_delay_nobody(jobs: Jobs) -> None:
    day = await old_day(jobs)
    history = HistoryStore(jobs.pool)
    await delays_nobody(jobs, history.drop(day))
    await history.drop(day)
    assert await history.days_before(DAYS) == []


async def test_a_job_of_a_day_without_a_table_is_forgotten_with_all_it_left(
    jobs: Jobs, tmp_path: Path
) -> None:
    """That is so when no job-runner was there to make the day."""
    objects = Objects(tmp_path.as_uri())
    old, new = await jobs.start(), await jobs.start()
    for job in (old, new):
        await objects.put(f"jobs/acme/{job.id}/log.txt", b"done")
        await jobs.pool.execute("INSERT INTO job_records VALUES ($1, 'sent', '{}')", job.id)
        await jobs.succeed(job)
    await jobs.pool.execute(
        "UPDATE job_history SET finished_at = now() - interval '40 days' WHERE id = $1", old.id
    )
    assert await jobs.pool.fetchval("SELECT count(*) FROM job_history_default") == 1
    await Retention(HistoryStore(jobs.pool), objects, days=30).forget()
    rows = await jobs.pool.fetch("SELECT id FROM job_history")
    records = await jobs.pool.fetch("SELECT job_id AS id FROM job_records")
    assert [row["id"] for row in (*rows, *records)] == [new.id, new.id]
    assert [path.parent.name for path in files(tmp_path)] == [str(new.id)]


async def old_day(jobs: Jobs) -> date:
    """Make a day that is due to be dropped."""
    await jobs.pool.execute("SELECT job_history_make_day((now() - interval '50 days')::date)")
    (day,) = await HistoryStore(jobs.pool).days_before(DAYS)
    return day


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
