"""Fires in PostgreSQL: what is due, and the one transaction of a fire, its job and the next."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from lineshaft_common.postgres import Connection, Pool

from lineshaft_job_runner.job import Accepted, NewJob
from lineshaft_job_runner.schedules.schedule import (
    Decision,
    DueSchedule,
    FireOutcome,
    Settlement,
)

KEPT = timedelta(days=90)
"""How long the ledger tells of a fire."""
SWEPT_MAX = 5_000
"""Rows that one statement deletes."""


class Jobs(Protocol):
    """What a fire asks of the store of jobs; see store/jobs.py."""

    async def accept_in(
        self, connection: Connection, jobs: Sequence[NewJob]
    ) -> Sequence[Accepted]:
        """Store submissions in the caller's transaction."""
        ...

    async def cancel(self, job_id: UUID, *, tenant: str) -> bool:
        """Cancel a job; False when it has ended or is not there."""
        ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Schedules that are due, locked until the block is left."""

    now: datetime
    leads: bool
    """Whether this process may fire now; another one does otherwise."""
    schedules: Sequence[DueSchedule]
    connection: Connection
    jobs: Jobs

    async def settle(self, settlements: Sequence[Settlement]) -> list[Decision]:
        """Store what comes of the schedules; the decisions as they were taken in the end.

        What the ledger knows already, because the database's clock was set back, is passed over.
        A job that is to give way is asked before the new one is there: after a crash in between
        that is done again, and harmless.
        """
        fresh = await self._without_decided(settlements)
        for one in fresh:
            if one.cancels and one.due.last_job_id is not None:
                await self.jobs.cancel(one.due.last_job_id, tenant=one.due.tenant)
        settled = await self._submit(fresh)
        await self._write_ledger(settled)
        await self._advance(settled)
        return [decision for one in settled for decision in one.decisions]

    async def _without_decided(self, settlements: Sequence[Settlement]) -> list[Settlement]:
        rows = await self.connection.fetch(
            """
            SELECT schedule_id, fire_at FROM job_fires
            JOIN unnest($1::uuid[], $2::timestamptz[]) AS u (schedule_id, fire_at)
                 USING (schedule_id, fire_at)
            """,
            [s.due.id for s in settlements for _ in s.decisions],
            [d.fire_at for s in settlements for d in s.decisions],
        )
        decided = {(row["schedule_id"], row["fire_at"]) for row in rows}
        left = [
            (s, tuple(d for d in s.decisions if (s.due.id, d.fire_at) not in decided))
            for s in settlements
        ]
        return [
            replace(s, decisions=decisions, cancels=s.cancels and bool(decisions))
            for s, decisions in left
        ]

    async def _submit(self, settlements: Sequence[Settlement]) -> list[Settlement]:
        jobs = [d.job for s in settlements for d in s.decisions if d.job is not None]
        if not jobs:
            return list(settlements)
        accepted = await self.jobs.accept_in(self.connection, jobs)
        problems = {
            job.id: outcome.problem
            for job, outcome in zip(jobs, accepted, strict=True)
            if outcome.problem is not None
        }

        def ended(decision: Decision) -> Decision:
            problem = problems.get(decision.job.id) if decision.job else None
            if problem is None:
                return decision
            detail = f"{problem.code}: {problem.title}"
            return Decision(fire_at=decision.fire_at, outcome=FireOutcome.REFUSED, detail=detail)

        return [replace(s, decisions=tuple(ended(d) for d in s.decisions)) for s in settlements]

    async def _write_ledger(self, settlements: Sequence[Settlement]) -> None:
        decisions = [d for s in settlements for d in s.decisions]
        await self.connection.execute(
            """
            INSERT INTO job_fires (schedule_id, fire_at, outcome, job_id, detail)
            SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::uuid[], $5::text[])
            """,
            [s.due.id for s in settlements for _ in s.decisions],
            [d.fire_at for d in decisions],
            [d.outcome.value for d in decisions],
            [d.job and d.job.id for d in decisions],
            [d.detail for d in decisions],
        )

    async def _advance(self, settlements: Sequence[Settlement]) -> None:
        last_jobs = [[d.job.id for d in s.decisions if d.job is not None] for s in settlements]
        await self.connection.execute(
            """
            UPDATE job_schedules s SET next_fire_at = u.next_fire_at,
                   last_fire_at = coalesce(u.last_fire_at, s.last_fire_at),
                   last_job_id = coalesce(u.last_job_id, s.last_job_id)
            FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::uuid[])
                 AS u (id, next_fire_at, last_fire_at, last_job_id)
            WHERE s.id = u.id
            """,
            [s.due.id for s in settlements],
            [s.next_fire_at for s in settlements],
            [s.decisions[-1].fire_at if s.decisions else None for s in settlements],
            [ids[-1] if ids else None for ids in last_jobs],
        )


class FireStore:
    """The ledger of fires. `on_announced` is called when events were committed to the outbox."""

    def __init__(self, pool: Pool, jobs: Jobs, *, on_announced: Callable[[], None]) -> None:
        self._pool = pool
        self._jobs = jobs
        self._on_announced = on_announced

    @asynccontextmanager
    async def due(self, *, limit: int) -> AsyncGenerator[Batch]:
        """Lock schedules that are due, the longest due first; leaving the block commits.

        The lead is held for this one transaction: who stops in the middle of it, frozen or cut
        off, is rolled back by the server within a minute, and cannot commit late.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            row: Any = await connection.fetchrow(
                "SELECT now(), pg_try_advisory_xact_lock(hashtext('lineshaft_schedules'))"
            )
            now, leads = row
            rows: Sequence[Any] = await self._lock_due(connection, limit) if leads else ()
            yield Batch(
                now=now,
                leads=leads,
                schedules=[DueSchedule(**dict(row)) for row in rows],
                connection=connection,
                jobs=self._jobs,
            )
        if rows:
            self._on_announced()

    async def _lock_due(self, connection: Connection, limit: int) -> Sequence[Any]:
        return await connection.fetch(
            """
            SELECT s.id, s.tenant, s.name, s.schedule::text AS text, s.made_at,
                   s.next_fire_at AS fire_at, s.last_job_id,
                   EXISTS (SELECT FROM jobs j WHERE j.id = s.last_job_id) AS busy
            FROM job_schedules s WHERE s.next_fire_at <= now()
            ORDER BY s.next_fire_at LIMIT $1 FOR UPDATE SKIP LOCKED
            """,
            limit,
        )

    async def seconds_until_next(self) -> float | None:
        """Say how far away the next fire is, below 0 when it is due; None without any."""
        return await self._pool.fetchval(
            """
            SELECT extract(epoch FROM min(next_fire_at) - clock_timestamp())::float8
            FROM job_schedules WHERE next_fire_at IS NOT NULL
            """
        )

    async def sweep(self) -> bool:
        """Delete some of what is too old or deleted; whether there may be more of it."""
        old = await self._pool.fetchval(
            """
            WITH swept AS (
                DELETE FROM job_fires WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM job_fires WHERE decided_at < now() - $1::interval
                    ORDER BY decided_at LIMIT $2
                )) RETURNING 1
            )
            SELECT count(*) FROM swept
            """,
            KEPT,
            SWEPT_MAX,
        )
        return await self._sweep_deleted() or old == SWEPT_MAX

    async def _sweep_deleted(self) -> bool:
        deleted = await self._pool.fetchval(
            """
            SELECT id FROM job_schedules WHERE deleted_at IS NOT NULL
            ORDER BY deleted_at LIMIT 1
            """
        )
        if deleted is None:
            return False
        gone = await self._pool.fetchval(
            """
            WITH swept AS (
                DELETE FROM job_fires WHERE ctid = ANY (ARRAY(
                    SELECT ctid FROM job_fires WHERE schedule_id = $1 LIMIT $2
                )) RETURNING 1
            )
            SELECT count(*) FROM swept
            """,
            deleted,
            SWEPT_MAX,
        )
        if gone < SWEPT_MAX:
            await self._pool.execute("DELETE FROM job_schedules WHERE id = $1", deleted)
        return True
