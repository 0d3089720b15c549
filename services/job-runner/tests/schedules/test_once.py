"""A fire happens once, whatever crashes, freezes or runs twice, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from lineshaft_common.postgres import Pool
from lineshaft_common.transient import OUTAGES

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 20.0
STATEMENTS = frozenset({"execute", "executemany", "fetch", "fetchrow", "fetchval"})


class FailingPool:
    """A pool whose connections break for good right after the `nth` statement of all."""

    def __init__(self, pool: Pool, nth: int) -> None:
        self._pool = pool
        self.left = nth

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator["FailingConnection"]:
        async with self._pool.acquire() as connection:
            yield FailingConnection(connection, self)

    async def fetchval(self, *arguments: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.fetchval(*arguments)


class FailingConnection:
    """Passes everything on, and breaks its connection when the pool's count is used up."""

    def __init__(self, connection: Any, pool: FailingPool) -> None:
        self._connection = connection
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._connection, name)
        if name not in STATEMENTS:
            return method

        async def counted(*arguments: Any, **more: Any) -> Any:
            answer = await method(*arguments, **more)
            self._pool.left -= 1
            if self._pool.left == 0:
                self._connection.terminate()
            return answer

        return counted


@pytest.mark.parametrize("on_busy", ["skip", "cancel"])
async def test_a_crash_between_any_two_statements_fires_once(timetable: Any, on_busy: str) -> None:
    await timetable.due("nightly", on_busy=on_busy)
    await timetable.fire()
    crashes = 0
    for nth in range(1, 100):
        await timetable.end_jobs()
        await timetable.pool.execute("DELETE FROM job_fires")
        await timetable.again("nightly")
        if on_busy == "cancel":
            await timetable.jobs.accept([await a_job_in_the_way(timetable)])
        pool = FailingPool(timetable.pool, nth)
        try:
            await timetable.keeper(pool=pool).fire_due()
        except Exception:  # noqa: BLE001 - whatever the driver says of a broken connection.
            crashes += 1
        await timetable.fire()
        assert await timetable.ledger("nightly") == ["submitted"], nth
        assert len(await timetable.live_jobs("nightly")) == 1, nth
        if pool.left > 0:
            break
    assert crashes >= 8


async def a_job_in_the_way(timetable: Any) -> Any:
    """Make the job that the schedule thinks was the last, again."""
    view = await timetable.view("nightly")
    draft = await timetable.drafts.draft(view.schedule, tenant="acme", name="nightly")
    job = draft.fired()
    await timetable.pool.execute("UPDATE job_schedules SET last_job_id = $1", job.id)
    return job


async def test_nobody_waits_for_a_leader_that_froze_and_it_fires_nothing_late(
    timetable: Any,
) -> None:
    await timetable.due("nightly")
    frozen, other = timetable.keeper(), timetable.keeper()

    async def thaw_too_late() -> None:
        async with frozen._fires.due(limit=10) as batch:
            assert [due.name for due in batch.schedules] == ["nightly"]
            async with asyncio.timeout(DEADLINE_SECONDS):
                assert await other.fire_due() < 1
            assert await timetable.ledger("nightly") == []
            # What the server does by itself to who is idle in a transaction for a minute.
            await timetable.pool.execute(
                "SELECT pg_terminate_backend($1)", batch.connection.get_server_pid()
            )
            async with asyncio.timeout(DEADLINE_SECONDS):
                while await timetable.ledger("nightly") == []:
                    await other.fire_due()
            await batch.settle([])

    with pytest.raises(OUTAGES):
        await thaw_too_late()
    assert await timetable.ledger("nightly") == ["submitted"]
    assert len(await timetable.live_jobs()) == 1


async def test_keepers_that_run_at_once_fire_once(timetable: Any) -> None:
    for number in range(5):
        await timetable.due(f"number-{number}", every=1, on_busy="run", on_missed="all")
    async with timetable.keeper(), timetable.keeper(), timetable.keeper():
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(await timetable.live_jobs()) < 20:
                await asyncio.sleep(0.05)
    rows = await timetable.pool.fetch("SELECT outcome, job_id FROM job_fires")
    assert {row["outcome"] for row in rows} == {"submitted"}
    assert {row["job_id"] for row in rows} == set(await timetable.live_jobs())


async def test_a_keeper_fires_in_time_and_wakes_for_what_is_set(timetable: Any) -> None:
    async with timetable.keeper() as keeper:
        timetable.desk._on_changed = keeper.wake
        await timetable.set("soon", every_seconds=1)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(await timetable.ledger("soon")) < 2:
                await asyncio.sleep(0.05)
    rows = await timetable.ledger_rows("soon")
    lags = [(row["decided_at"] - row["fire_at"]).total_seconds() for row in rows]
    assert all(0 <= lag < 5 for lag in lags)


async def test_at_its_start_a_keeper_plans_by_the_rules_of_today(timetable: Any) -> None:
    right = (await timetable.set("daily", cron="0 6 * * *", zone="Europe/Berlin")).next_fire_at
    await timetable.set("resting", cron="0 6 * * *", paused=True)
    outdated = "UPDATE job_schedules SET next_fire_at = next_fire_at + interval '1 hour'"
    await timetable.pool.execute(outdated)
    async with timetable.keeper(), asyncio.timeout(DEADLINE_SECONDS):
        while (await timetable.view("daily")).next_fire_at != right:
            await asyncio.sleep(0.05)
    assert (await timetable.view("resting")).next_fire_at is None


async def test_a_keeper_survives_a_database_that_drops_its_connections(timetable: Any) -> None:
    async with timetable.keeper():
        await timetable.pool.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
            """
        )
        await timetable.due("nightly")
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await timetable.ledger("nightly") != ["submitted"]:
                await asyncio.sleep(0.05)
