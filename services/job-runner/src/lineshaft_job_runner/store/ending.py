"""How jobs end: from `jobs` into `job_history`, and what their end sets free."""

import json
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from lineshaft_common import outbox
from lineshaft_common.postgres import Connection
from lineshaft_contracts.jobs import Artifact, JobError, JobState

from lineshaft_job_runner import announcements
from lineshaft_job_runner.job import (
    RANK_ALLOWANCE,
    Ending,
    JobRef,
    StoredArtifact,
)

ALLOWANCES = tuple(RANK_ALLOWANCE.values())
"""By priority number."""

DEPENDENCY_FAILED = JobError(
    code="dependency_failed",
    message="A job that it comes after did not succeed.",
    retryable=False,
)

_END = """
WITH gone AS (
    DELETE FROM jobs
    USING unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                 $7::bigint[], $8::text[])
          AS u (ended_id, became, result, last_error, artifacts, done, total, message)
    WHERE jobs.id = u.ended_id
    RETURNING jobs.*, u.*
), kept AS (
    INSERT INTO job_history (
        id, tenant, type, state, priority, attempt, attempts_max, timeout_seconds,
        cancel_requested, child_count, progress_done, progress_total, submitted_at, run_at,
        ready_at, deadline_at, started_at, finished_at, parent_id, worker, idempotency_key,
        unique_key, order_key, limit_key, schedule, traceparent, progress_message, parameters,
        result, error, attempts, artifacts)
    SELECT id, tenant, type, became::job_state, priority, attempt, attempts_max, timeout_seconds,
           cancel_requested, child_count, coalesce(done, progress_done),
           coalesce(total, progress_total), submitted_at, run_at, ready_at, deadline_at,
           started_at, now(), parent_id, worker, idempotency_key, unique_key, order_key,
           limit_key, schedule, traceparent, coalesce(message, progress_message), parameters,
           result::jsonb, coalesce(last_error::jsonb, error), attempts, artifacts::jsonb
    FROM gone
)
SELECT id, tenant, type, attempt, traceparent, blockers, awaited, unique_key, order_key,
       child_count
FROM gone
"""

_RELEASE = """
WITH freed AS (
    SELECT jobs.id, u.number, greatest(jobs.run_at, now()) AS ready
    FROM jobs JOIN unnest($1::uuid[], $2::integer[]) AS u (id, number) ON u.id = jobs.id
    WHERE jobs.state = 'waiting'
    ORDER BY jobs.id FOR UPDATE OF jobs
)
UPDATE jobs SET blockers = blockers - freed.number,
       state = CASE WHEN blockers > freed.number THEN 'waiting'
                    WHEN run_at > now() THEN 'scheduled' ELSE 'queued' END::job_state,
       ready_at = freed.ready, rank = freed.ready + ($3::interval[])[priority + 1]
FROM freed WHERE jobs.id = freed.id
RETURNING jobs.id, tenant, type, attempt, traceparent, state::text AS state, run_at, order_key
"""

_GRANT_TURNS = """
UPDATE jobs SET turn = true
FROM unnest($1::text[], $2::text[]) AS k (tenant, order_key)
CROSS JOIN LATERAL (
    SELECT id FROM jobs
    WHERE tenant = k.tenant AND order_key = k.order_key AND NOT turn AND state = 'queued'
    ORDER BY ready_at, number LIMIT 1
) AS following
WHERE jobs.id = following.id AND NOT EXISTS (
    SELECT FROM jobs AS holder
    WHERE holder.tenant = k.tenant AND holder.order_key = k.order_key AND holder.turn
)
"""


def ref(row: Any) -> JobRef:
    """Say which job a row is about."""
    return JobRef(
        job_id=row["id"],
        job_type=row["type"],
        attempt=row["attempt"],
        tenant=row["tenant"],
        traceparent=row["traceparent"],
    )


async def end(connection: Connection, endings: Sequence[Ending]) -> None:
    """End jobs whose rows this transaction has locked, with all that follows from it.

    Who waited for them is queued, or cancelled with them; the next of an order key gets its turn;
    the children of a job that was given up are cancelled; unique keys become free.
    """
    pending = list(endings)
    while pending:
        rows = await _move(connection, pending)
        by_id = {ending.job_id: ending for ending in pending}
        await outbox.add(
            connection, [announcements.ended(ref(row), by_id[row["id"]]) for row in rows]
        )
        ended = {row["id"]: by_id[row["id"]].state for row in rows}
        await _free_unique_keys(connection, [r["id"] for r in rows if r["unique_key"] is not None])
        await _forget_dependencies(connection, [r["id"] for r in rows if r["blockers"]])
        pending = await _release_dependents(
            connection, {r["id"]: ended[r["id"]] for r in rows if r["awaited"]}
        )
        pending += await _give_children_up(
            connection,
            [
                r["id"]
                for r in rows
                if r["child_count"] and ended[r["id"]] is not JobState.SUCCEEDED
            ],
        )
        await grant_turns(connection, ((r["tenant"], r["order_key"]) for r in rows))


async def _move(connection: Connection, endings: Sequence[Ending]) -> list[Any]:
    """Move rows from `jobs` to `job_history`."""
    return await connection.fetch(
        _END,
        [e.job_id for e in endings],
        [e.state.value for e in endings],
        [written(e.result) for e in endings],
        [e.error and e.error.model_dump_json() for e in endings],
        [_artifacts(e.artifacts) for e in endings],
        [e.progress and e.progress.done for e in endings],
        [e.progress and e.progress.total for e in endings],
        [e.progress and e.progress.message for e in endings],
    )


async def _free_unique_keys(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Forget the unique keys that lasted as long as their jobs."""
    if job_ids:
        await connection.execute(
            "DELETE FROM job_keys WHERE job_id = ANY($1::uuid[]) AND expires_at IS NULL", job_ids
        )


async def _forget_dependencies(connection: Connection, job_ids: Sequence[UUID]) -> None:
    """Forget what jobs waited for that ended before it did."""
    if job_ids:
        await connection.execute(
            "DELETE FROM job_dependencies WHERE job_id = ANY($1::uuid[])", job_ids
        )


async def _release_dependents(connection: Connection, ended: dict[UUID, JobState]) -> list[Ending]:
    """Queue the jobs that waited for nothing else; returns those that are not wanted any more."""
    if not ended:
        return []
    rows = await connection.fetch(
        """
        WITH met AS (
            DELETE FROM job_dependencies
            USING unnest($1::uuid[], $2::boolean[]) AS u (id, succeeded)
            WHERE on_job_id = u.id
            RETURNING job_id, cancels AND NOT succeeded AS doomed
        )
        SELECT job_id, count(*)::integer AS number, bool_or(doomed) AS doomed
        FROM met GROUP BY job_id
        """,
        list(ended),
        [state is JobState.SUCCEEDED for state in ended.values()],
    )
    await release(connection, {r["job_id"]: r["number"] for r in rows if not r["doomed"]})
    doomed = await lock(connection, [r["job_id"] for r in rows if r["doomed"]])
    return [
        Ending(job_id=job_id, state=JobState.CANCELLED, error=DEPENDENCY_FAILED)
        for job_id in doomed
    ]


async def lock(connection: Connection, job_ids: Sequence[UUID]) -> list[UUID]:
    """Lock live jobs, in one order everywhere; returns those that are there."""
    if not job_ids:
        return []
    rows = await connection.fetch(
        "SELECT id FROM jobs WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", job_ids
    )
    return [row["id"] for row in rows]


async def link(connection: Connection, links: Sequence[tuple[UUID, UUID, bool]]) -> None:
    """Store (on, job, cancels): the second waits for the first, whose row is locked."""
    if not links:
        return
    await connection.execute(
        """
        WITH linked AS (
            INSERT INTO job_dependencies (on_job_id, job_id, cancels)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::boolean[])
        )
        UPDATE jobs SET awaited = true WHERE id = ANY($1::uuid[]) AND NOT awaited
        """,
        [on for on, _, _ in links],
        [job for _, job, _ in links],
        [cancels for _, _, cancels in links],
    )


async def release(connection: Connection, met: dict[UUID, int]) -> None:
    """Take so many blockers from each job; waiting -> scheduled | queued when none is left."""
    if not met:
        return
    rows = await connection.fetch(_RELEASE, list(met), list(met.values()), ALLOWANCES)
    freed = [row for row in rows if row["state"] != JobState.WAITING]
    await grant_turns(connection, ((row["tenant"], row["order_key"]) for row in freed))
    await outbox.add(
        connection,
        [
            announcements.waits(ref(row), state=JobState(row["state"]), run_at=row["run_at"])
            for row in freed
        ],
    )


async def _give_children_up(connection: Connection, parents: Sequence[UUID]) -> list[Ending]:
    """Ask running children to stop; returns the ends of the others."""
    if not parents:
        return []
    rows = await connection.fetch(
        """
        SELECT id, state::text AS state FROM jobs WHERE parent_id = ANY($1::uuid[])
        ORDER BY id FOR UPDATE
        """,
        parents,
    )
    await connection.execute(
        "UPDATE jobs SET cancel_requested = true WHERE id = ANY($1::uuid[])",
        [row["id"] for row in rows],
    )
    return [
        Ending(job_id=row["id"], state=JobState.CANCELLED)
        for row in rows
        if row["state"] != JobState.RUNNING
    ]


async def grant_turns(connection: Connection, keys: Iterable[tuple[str, str | None]]) -> None:
    """Give the turn of each (tenant, order key) that nobody holds to the next queued job.

    The locks go to the end of the transaction: two of them never choose for the same key.
    """
    wanted = sorted({(tenant, key) for tenant, key in keys if key is not None})
    if not wanted:
        return
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest($1::text[]) AS name",
        [f"order/{tenant}/{key}" for tenant, key in wanted],
    )
    await connection.execute(
        _GRANT_TURNS, [tenant for tenant, _ in wanted], [key for _, key in wanted]
    )


def written(value: dict[str, Any] | None) -> str | None:
    """Write JSON; NaN has to have been refused before."""
    return None if value is None else json.dumps(value, allow_nan=False)


def _artifacts(stored: Sequence[StoredArtifact]) -> str | None:
    if not stored:
        return None
    return json.dumps([s.artifact.model_dump() | {"object_key": s.object_key} for s in stored])


def read_artifacts(text: str | None) -> tuple[StoredArtifact, ...]:
    """Read what `_artifacts` wrote."""
    return tuple(
        StoredArtifact(artifact=Artifact.model_validate(entry), object_key=entry["object_key"])
        for entry in json.loads(text or "[]")
    )
