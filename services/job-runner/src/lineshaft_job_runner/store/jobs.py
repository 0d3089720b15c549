"""The life of jobs in PostgreSQL: a transition is one statement, guarded by the old state."""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from lineshaft_common import outbox
from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.jobs import JobError, JobState

from lineshaft_job_runner import announcements
from lineshaft_job_runner.job import (
    LOSSES_MAX,
    PRIORITIES,
    PRIORITY_NUMBERS,
    RANK_ALLOWANCE,
    ClaimedJob,
    NewJob,
    Outcome,
    ProgressUpdate,
    Verdict,
)

DUE_MAX = 1_000
LOST = JobError(code="worker_lost", message="The worker process ended under the job.")

CLAIM = """
WITH picked AS (
    SELECT ready.id FROM unnest($1::text[]) AS served (type)
    CROSS JOIN LATERAL (
        SELECT id, rank FROM jobs WHERE state = 'queued' AND type = served.type
        ORDER BY rank, id LIMIT $2 FOR UPDATE SKIP LOCKED
    ) ready
    ORDER BY ready.rank, ready.id LIMIT $2
)
UPDATE jobs SET state = 'running', attempt = attempt + 1, worker = $3,
       lease_token = gen_random_uuid(), lease_until = now() + $4,
       started_at = now(), error = NULL,
       progress_done = 0, progress_total = 0, progress_message = ''
FROM picked WHERE jobs.id = picked.id AND jobs.state = 'queued'
RETURNING jobs.id, tenant, type, priority, parameters, attempt, attempts_max,
          timeout_seconds, lease_token, traceparent, rank
"""
"""Per type, so that each reads its own end of the index, then the first of all by rank."""

FINISH = """
WITH ended AS (
    SELECT u.id, u.token, u.result, u.error, u.done, u.total, u.message,
           CASE WHEN NOT c.unwanted THEN u.state ELSE 'cancelled' END AS state,
           CASE WHEN NOT c.unwanted THEN u.retry_in END AS retry_in,
           CASE WHEN NOT c.unwanted THEN u.refund ELSE 0 END AS refund,
           u.allowance
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[],
                $6::smallint[], $7::interval[], $8::interval[], $9::bigint[],
                $10::bigint[], $11::text[])
         AS u (id, token, state, result, error, refund, retry_in, allowance, done,
               total, message)
    JOIN jobs ON jobs.id = u.id AND jobs.lease_token = u.token
         AND jobs.state = 'running'
    CROSS JOIN LATERAL (
        SELECT jobs.cancel_requested AND u.state IN ('queued', 'retrying')
               AS unwanted
    ) c
    ORDER BY u.id FOR UPDATE OF jobs
)
UPDATE jobs SET state = u.state::job_state, lease_token = NULL,
       lease_until = NULL, result = u.result::jsonb, error = u.error::jsonb,
       attempt = attempt - u.refund, run_at = now() + u.retry_in,
       rank = CASE WHEN u.retry_in IS NULL THEN rank
                   ELSE now() + u.retry_in + u.allowance END,
       finished_at = CASE WHEN u.state IN ('succeeded', 'failed', 'cancelled')
                          THEN now() END,
       progress_done = u.done, progress_total = u.total,
       progress_message = u.message
FROM ended AS u
WHERE jobs.id = u.id AND jobs.lease_token = u.token AND jobs.state = 'running'
RETURNING u.token, jobs.run_at, jobs.state::text AS state
"""
"""A job that somebody wants cancelled is not queued again: `cancelled` takes the place."""


class JobStore:
    """Jobs and their attempts. Times are the database's own; workers' clocks do not count.

    `on_announced` is called when events were committed to the outbox.
    """

    def __init__(self, pool: Pool, *, worker: str, on_announced: Callable[[], None]) -> None:
        self._pool = pool
        self._worker = worker
        self._on_announced = on_announced

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Connection]:
        async with self._pool.acquire() as connection, connection.transaction():
            yield connection
        self._on_announced()

    async def accept(self, jobs: Sequence[NewJob]) -> list[tuple[UUID, bool] | None]:
        """Store submissions; for each the id of its job and whether it is new.

        A job id or idempotency key that is there already gives the earlier job; None stands for
        an id that belongs to another tenant.
        """
        async with self._transaction() as connection:
            created = {row["id"] for row in await self._insert(connection, jobs)}
            fresh = [job for job in _first_of_each(jobs) if job.id in created]
            await outbox.add(connection, [announcements.accepted(job) for job in fresh])
            await connection.execute("SELECT pg_notify('lineshaft_jobs', '')")
            earlier = await connection.fetch(
                """
                SELECT u.position, j.id
                FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[])
                     WITH ORDINALITY AS u (id, tenant, type, key, position)
                JOIN jobs j ON j.tenant = u.tenant
                    AND (j.id = u.id OR (j.type = u.type AND j.idempotency_key = u.key))
                """,
                [job.id for job in jobs],
                [job.tenant for job in jobs],
                [job.type for job in jobs],
                [job.idempotency_key for job in jobs],
            )
        found = {row["position"] - 1: row["id"] for row in earlier}
        first = {id(job) for job in fresh}
        return [(found[n], id(job) in first) if n in found else None for n, job in enumerate(jobs)]

    async def _insert(self, connection: Connection, jobs: Sequence[NewJob]) -> Sequence[Any]:
        return await connection.fetch(
            """
            INSERT INTO jobs (id, tenant, type, state, priority, parameters, idempotency_key,
                              run_at, rank, attempts_max, timeout_seconds, traceparent)
            SELECT u.id, u.tenant, u.type,
                   CASE WHEN u.run_at > now() THEN 'scheduled' ELSE 'queued' END::job_state,
                   u.priority, u.parameters::jsonb, u.key, u.run_at,
                   greatest(u.run_at, now()) + u.allowance,
                   u.attempts_max, u.timeout_seconds, u.traceparent
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::text[],
                        $6::text[], $7::timestamptz[], $8::interval[], $9::smallint[],
                        $10::real[], $11::text[])
                 AS u (id, tenant, type, priority, parameters, key, run_at, allowance,
                       attempts_max, timeout_seconds, traceparent)
            ON CONFLICT DO NOTHING
            RETURNING id
            """,
            [job.id for job in jobs],
            [job.tenant for job in jobs],
            [job.type for job in jobs],
            [PRIORITY_NUMBERS[job.priority] for job in jobs],
            [job.parameters for job in jobs],
            [job.idempotency_key for job in jobs],
            [job.run_at for job in jobs],
            [RANK_ALLOWANCE[job.priority] for job in jobs],
            [job.attempts_max for job in jobs],
            [job.timeout_seconds for job in jobs],
            [job.traceparent for job in jobs],
        )

    async def claim(
        self, types: Sequence[str], *, limit: int, lease_seconds: float
    ) -> list[ClaimedJob]:
        """Take up to `limit` ready jobs, in order of rank, under a lease; queued -> running."""
        async with self._transaction() as connection:
            rows = await connection.fetch(
                CLAIM,
                types,
                limit,
                self._worker,
                timedelta(seconds=lease_seconds),
            )
            if not rows:
                return []
            waits = await self._start_attempts(connection, rows)
            claimed = [_claimed(row, waits[row["lease_token"]]) for row in rows]
            await outbox.add(
                connection, [announcements.started(job, self._worker) for job in claimed]
            )
        return claimed

    async def _start_attempts(
        self, connection: Connection, rows: Sequence[Any]
    ) -> dict[UUID, float]:
        attempts = await connection.fetch(
            """
            INSERT INTO job_attempts (job_id, number, lease_token, worker, ready_at)
            SELECT u.job_id, u.number, u.token, $5, u.rank - u.allowance
            FROM unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::timestamptz[], $6::interval[])
                 AS u (job_id, number, token, rank, allowance)
            RETURNING lease_token, extract(epoch FROM started_at - ready_at)::float8 AS waited
            """,
            [row["id"] for row in rows],
            [row["attempt"] for row in rows],
            [row["lease_token"] for row in rows],
            [row["rank"] for row in rows],
            self._worker,
            [RANK_ALLOWANCE[PRIORITIES[row["priority"]]] for row in rows],
        )
        return {row["lease_token"]: max(0.0, row["waited"]) for row in attempts}

    async def heartbeat(
        self, updates: Sequence[ProgressUpdate], *, lease_seconds: float
    ) -> dict[UUID, bool]:
        """Extend leases, store and announce progress; by lease token whether to cancel the job.

        A token that is missing in the answer is no longer current: the job is somebody else's.
        """
        async with self._transaction() as connection:
            rows = await connection.fetch(
                """
                UPDATE jobs SET lease_until = now() + $6, progress_done = u.done,
                       progress_total = u.total, progress_message = u.message
                FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[])
                     AS u (id, token, done, total, message)
                WHERE jobs.id = u.id AND jobs.lease_token = u.token AND state = 'running'
                RETURNING u.token, cancel_requested
                """,
                [u.job.id for u in updates],
                [u.job.lease_token for u in updates],
                [u.progress.done for u in updates],
                [u.progress.total for u in updates],
                [u.progress.message for u in updates],
                timedelta(seconds=lease_seconds),
            )
            held = {row["token"]: row["cancel_requested"] for row in rows}
            news = [u for u in updates if u.moved and u.job.lease_token in held]
            await outbox.add(connection, [announcements.progressed(u) for u in news])
        return held

    async def finish(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """Store how attempts ended; the jobs for which this worker still held the lease.

        running -> succeeded | failed | retrying | cancelled | queued, and nothing for the rest.
        A job that somebody wants cancelled is not queued and not tried again: it is cancelled.
        """
        async with self._transaction() as connection:
            rows = await connection.fetch(
                FINISH,
                [o.job.id for o in outcomes],
                [o.job.lease_token for o in outcomes],
                [o.state.value for o in outcomes],
                [_json(o.result) for o in outcomes],
                [o.error and o.error.model_dump_json() for o in outcomes],
                [int(o.verdict is Verdict.RELEASED) for o in outcomes],
                [o.retry_in for o in outcomes],
                [RANK_ALLOWANCE[o.job.priority] for o in outcomes],
                [o.progress.done for o in outcomes],
                [o.progress.total for o in outcomes],
                [o.progress.message for o in outcomes],
            )
            became = {row["token"]: row for row in rows}
            held = [(o, became[t]) for o in outcomes if (t := o.job.lease_token) in became]
            await self._end_attempts(connection, [o for o, _ in held])
            await self._store_artifacts(connection, [o for o, _ in held])
            await outbox.add(
                connection,
                [
                    announcements.ended(o, state=JobState(row["state"]), run_at=row["run_at"])
                    for o, row in held
                ],
            )
        return {o.job.id for o, _ in held}

    async def _end_attempts(self, connection: Connection, outcomes: Sequence[Outcome]) -> None:
        await connection.execute(
            """
            UPDATE job_attempts
            SET finished_at = now(), outcome = u.outcome, error = u.error::jsonb
            FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[])
                 AS u (job_id, token, outcome, error)
            WHERE job_attempts.job_id = u.job_id AND lease_token = u.token
            """,
            [o.job.id for o in outcomes],
            [o.job.lease_token for o in outcomes],
            [o.verdict.value for o in outcomes],
            [o.error and o.error.model_dump_json() for o in outcomes],
        )

    async def _store_artifacts(self, connection: Connection, outcomes: Sequence[Outcome]) -> None:
        rows = [(o.job.id, stored) for o in outcomes for stored in o.artifacts]
        if not rows:
            return
        await connection.executemany(
            """
            INSERT INTO job_artifacts (job_id, name, object_key, media_type, bytes, sha256, rows,
                                       pages)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
            """,
            [
                (
                    job_id,
                    s.artifact.name,
                    s.object_key,
                    s.artifact.media_type,
                    s.artifact.bytes,
                    s.artifact.sha256,
                    s.artifact.rows,
                    s.artifact.pages,
                )
                for job_id, s in rows
            ],
        )

    async def promote(self) -> int:
        """Queue the jobs whose time has come; scheduled | retrying -> queued."""
        async with self._transaction() as connection:
            rows = await connection.fetch(
                """
                WITH due AS (
                    SELECT id FROM jobs
                    WHERE state IN ('scheduled', 'retrying') AND run_at <= now()
                    ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED
                )
                UPDATE jobs SET state = 'queued' FROM due WHERE jobs.id = due.id
                RETURNING jobs.id AS job_id, type AS job_type, attempt, tenant, traceparent
                """,
                DUE_MAX,
            )
            await outbox.add(connection, [announcements.queued(**row) for row in rows])
        return len(rows)

    async def rescue(self) -> int:
        """Take jobs from workers that went silent; running -> queued | quarantined | cancelled."""
        async with self._transaction() as connection:
            rows = await connection.fetch(
                """
                WITH expired AS (
                    SELECT id, lease_token AS token FROM jobs
                    WHERE state = 'running' AND lease_until < now()
                    ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED
                ), ended AS (
                    UPDATE job_attempts SET finished_at = now(), outcome = 'lost', error = $3
                    FROM expired WHERE job_id = expired.id AND lease_token = expired.token
                )
                UPDATE jobs SET lease_token = NULL, lease_until = NULL, losses = losses + 1,
                       state = CASE WHEN cancel_requested THEN 'cancelled'
                                    WHEN losses + 1 >= $2 THEN 'quarantined'
                                    ELSE 'queued' END::job_state,
                       finished_at = CASE WHEN cancel_requested OR losses + 1 >= $2
                                          THEN now() END,
                       error = $3
                FROM expired WHERE jobs.id = expired.id
                RETURNING jobs.id AS job_id, type AS job_type, attempt, tenant, traceparent, state
                """,
                DUE_MAX,
                LOSSES_MAX,
                LOST.model_dump_json(),
            )
            await outbox.add(connection, [_rescued(dict(row)) for row in rows])
        return len(rows)

    async def cancel(self, job_id: UUID, *, tenant: str) -> bool:
        """Cancel a waiting job at once, or ask a running one to stop; False when it has ended."""
        async with self._transaction() as connection:
            row = await connection.fetchrow(
                """
                UPDATE jobs SET cancel_requested = true,
                       state = CASE state WHEN 'running' THEN state ELSE 'cancelled' END,
                       finished_at = CASE state WHEN 'running' THEN NULL ELSE now() END
                WHERE id = $1 AND tenant = $2
                  AND state IN ('scheduled', 'queued', 'retrying', 'running')
                RETURNING id AS job_id, type AS job_type, attempt, tenant, traceparent, state
                """,
                job_id,
                tenant,
            )
            if row is None:
                return False
            about = dict(row)
            if about.pop("state") == "cancelled":
                await outbox.add(connection, [announcements.cancelled(**about)])
            await connection.execute("SELECT pg_notify('lineshaft_jobs', 'cancel')")
        return True


def _first_of_each(jobs: Sequence[NewJob]) -> list[NewJob]:
    seen: dict[UUID, NewJob] = {}
    for job in jobs:
        seen.setdefault(job.id, job)
    return list(seen.values())


def _claimed(row: Any, waited_seconds: float) -> ClaimedJob:
    return ClaimedJob(
        id=row["id"],
        tenant=row["tenant"],
        type=row["type"],
        priority=PRIORITIES[int(row["priority"])],
        parameters=json.loads(row["parameters"]),
        attempt=row["attempt"],
        attempts_max=row["attempts_max"],
        timeout_seconds=row["timeout_seconds"],
        lease_token=row["lease_token"],
        traceparent=row["traceparent"],
        waited_seconds=waited_seconds,
    )


def _rescued(row: dict[str, Any]) -> Any:
    match row.pop("state"):
        case "quarantined":
            return announcements.quarantined(**row, error=LOST)
        case "cancelled":
            return announcements.cancelled(**row)
        case _:
            return announcements.queued(**row)


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, allow_nan=False)
