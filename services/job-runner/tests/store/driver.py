"""A client and a worker of the job store in one, for tests that say what follows from what."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from lineshaft_common.objects import Objects
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import Priority, uuid7
from lineshaft_contracts.jobs import JobError, JobView, Progress
from lineshaft_job_runner.job import (
    Accepted,
    ClaimedJob,
    NewJob,
    Outcome,
    ProgressUpdate,
    Verdict,
)
from lineshaft_job_runner.large_parameters import LargeParameters
from lineshaft_job_runner.store.jobs import JobStore
from lineshaft_job_runner.store.reads import JobReads

WAIT, WORK = "trial.wait", "trial.work"
LEASE_SECONDS = 60.0
TABLES = """
jobs, job_history, job_keys, job_dependencies, job_limits, job_audit, job_records,
job_cancellations, outbox_batches
"""
NOT_YET = JobError(code="not_yet", message="")
NEVER = JobError(code="never", message="", retryable=False)


def new_job(**changes: Any) -> NewJob:
    values: dict[str, Any] = {
        "id": uuid7(),
        "tenant": "acme",
        "type": WAIT,
        "priority": Priority.NORMAL,
        "parameters": "{}",
        "idempotency_key": None,
        "run_at": None,
        "attempts_max": 3,
        "timeout_seconds": 10.0,
        "traceparent": None,
    }
    return NewJob(**(values | changes))


class Jobs:
    """Jobs of an otherwise empty database."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._yesterday = datetime.now(UTC) - timedelta(days=1)
        self.store = self.worker("one")
        self.reads = JobReads(pool, LargeParameters(Objects("memory:///")))

    def worker(self, name: str) -> JobStore:
        """Be another process."""
        return JobStore(self.pool, worker=name, on_announced=lambda: None)

    moment = timedelta(seconds=1)
    """Until another attempt."""

    @staticmethod
    def soon() -> datetime:
        """Tell the time in an hour."""
        return datetime.now(UTC) + timedelta(hours=1)

    async def submit(self, **changes: Any) -> NewJob:
        """Store a job, which has to be new."""
        job = new_job(**changes)
        assert await self.store.accept([job]) == [Accepted(job_id=job.id, created=True)]
        return job

    async def accept(self, *jobs: NewJob) -> list[tuple[UUID, bool]]:
        """Store submissions together; none may be refused."""
        outcomes = await self.store.accept(jobs)
        assert [o.problem for o in outcomes if o.problem is not None] == []
        return [(outcome.job_id, outcome.created) for outcome in outcomes]

    async def refused(self, *jobs: NewJob) -> list[str | None]:
        """Store submissions together; the codes of the problems."""
        return [o.problem and o.problem.code for o in await self.store.accept(jobs)]

    async def claim(self, limit: int = 100, types: tuple[str, ...] = (WAIT,)) -> list[ClaimedJob]:
        """Take jobs like a worker."""
        return await self.store.claim(types, limit=limit, lease_seconds=LEASE_SECONDS)

    async def claimed(self, limit: int = 100, types: tuple[str, ...] = (WAIT,)) -> set[UUID]:
        """Take jobs like a worker; their ids."""
        return {job.id for job in await self.claim(limit, types)}

    async def start(self, **changes: Any) -> ClaimedJob:
        """Store a job and take it."""
        job = await self.submit(**changes)
        (claimed,) = await self.claim(1, (job.type,))
        assert claimed.id == job.id
        return claimed

    async def end(self, job: ClaimedJob, verdict: Verdict, **fields: Any) -> bool:
        """Report how an attempt ended; whether that was still wanted."""
        outcome = Outcome(job=job, verdict=verdict, **fields)
        return await self.store.finish([outcome]) == {job.lease_token}

    async def succeed(self, *jobs: ClaimedJob) -> None:
        """Report that attempts succeeded."""
        outcomes = [Outcome(job=job, verdict=Verdict.SUCCEEDED, result={}) for job in jobs]
        assert await self.store.finish(outcomes) == {job.lease_token for job in jobs}

    async def fail(self, job: ClaimedJob) -> None:
        """Report that a job failed for good."""
        assert await self.end(job, Verdict.FAILED, error=NEVER)

    @staticmethod
    def beat(
        job: ClaimedJob, *, moved: bool = False, checkpoint: dict[str, Any] | None = None
    ) -> ProgressUpdate:
        """Tell how far an attempt is."""
        progress = Progress(done=1, total=2)
        return ProgressUpdate(job=job, progress=progress, moved=moved, checkpoint=checkpoint)

    async def cancel(self, job_id: UUID, *, tenant: str = "acme") -> bool:
        """Cancel a job like its owner."""
        return await self.store.cancel(job_id, tenant=tenant)

    async def view(self, job_id: UUID) -> JobView:
        """Look at a job like an operator."""
        return (await self.reads.views([job_id], tenant=None))[job_id]

    async def state(self, job_id: UUID) -> str:
        """Look where a job is in its life."""
        return (await self.view(job_id)).state.value

    async def error(self, job_id: UUID) -> str | None:
        """Return the code of the error of a job."""
        view = await self.view(job_id)
        return view.error and view.error.code

    async def events(self, job_id: UUID) -> list[str]:
        """Return the kinds of the events about a job, in order."""
        return [kind for subject, kind in await self.told() if subject == job_id]

    async def told(self) -> list[tuple[UUID, str]]:
        """Return all events that wait to be relayed, in order: which job, and what."""
        rows = await self.pool.fetch(
            "SELECT unnest(type) AS type, unnest(body) AS body FROM outbox_batches ORDER BY id"
        )
        return [
            (UUID(json.loads(row["body"])["subject"]), row["type"].split(".")[2]) for row in rows
        ]

    async def age(self, job_id: UUID, **by: float) -> None:
        """Let so many seconds pass for a job that has not ended."""
        await self.pool.execute(
            """
            UPDATE jobs SET run_at = run_at - $2::interval, ready_at = ready_at - $2::interval,
                   rank = rank - $2::interval, submitted_at = submitted_at - $2::interval,
                   deadline_at = deadline_at - $2::interval,
                   lease_until = lease_until - $2::interval
            WHERE id = $1
            """,
            job_id,
            timedelta(**by),
        )

    async def lose(self, job: ClaimedJob) -> None:
        """Let the worker of a job go silent, and be noticed."""
        await self.age(job.id, seconds=LEASE_SECONDS + 1)
        assert await self.store.rescue() == 1

    async def limit(self, name: str, *, tenant: str = "acme", **fields: Any) -> None:
        """Set a limit of running jobs (`running_max`), of starts, or a pause."""
        await self.pool.execute(
            """
            INSERT INTO job_limits (tenant, name, job_type, limit_key, running_max, starts_max,
                                    per_seconds, paused, note, starts_left)
            VALUES ($1, $2, $3, $4, $5, $6::integer, $7, $8, '', $6::integer)
            """,
            tenant,
            name,
            *(fields.get(f) for f in ("job_type", "limit_key", "running_max", "starts_max")),
            fields.get("per_seconds"),
            fields.get("paused", False),
        )

    async def backlog(self, number: int, **changes: Any) -> None:
        """Have many jobs wait, the first one since yesterday: since the same moment each time."""
        job = new_job(**changes)
        await self.pool.execute(
            """
            INSERT INTO jobs (id, tenant, type, state, priority, parameters, ready_at, rank,
                              attempts_max, timeout_seconds, limit_key)
            SELECT gen_random_uuid(), $2, $3, 'queued', 2, '{}', at, at, 3, 10, coalesce($4, '')
            FROM (SELECT $5::timestamptz + n * interval '1 millisecond' AS at
                  FROM generate_series(1, $1) AS n) AS moments
            """,
            number,
            job.tenant,
            job.type,
            job.limit_key,
            self._yesterday,
        )


async def somebody_waits(pool: Pool) -> None:
    """Return when a statement waits for another transaction."""
    async with asyncio.timeout(10):
        while not await pool.fetchval(
            """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
            """
        ):
            await asyncio.sleep(0.01)
