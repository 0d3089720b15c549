"""How ended jobs run again: from `job_history` back into `jobs`, with an entry in the audit."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from lineshaft_common import outbox
from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.job_control import JobsRedriven, Redrive
from lineshaft_contracts.jobs import JobState

from lineshaft_job_runner import announcements
from lineshaft_job_runner.store import audit, ending
from lineshaft_job_runner.store.ending import ALLOWANCES, ref
from lineshaft_job_runner.store.ids import born

REVIVABLE = ("failed", "quarantined", "cancelled")
ATTEMPTS = 3
"""Of a type that nobody serves."""

_WANTED = """
    tenant = $1 AND state = ANY($2::text[]::job_state[]) AND state <> 'succeeded'
    AND ($3::text IS NULL OR type = $3)
    AND ($4::text IS NULL OR error->>'code' = $4)
    AND ($5::timestamptz IS NULL OR finished_at > $5)
    AND ($6::timestamptz IS NULL OR finished_at < $6)
"""
_COUNT = f"SELECT count(*) FROM job_history WHERE {_WANTED}"  # noqa: S608 - of constants only.
_CHOOSE = f"""
    SELECT id, tenant, type, finished_at, unique_key FROM job_history
    WHERE {_WANTED} ORDER BY finished_at, id LIMIT $7 FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - of constants only.

_REVIVE = """
WITH back AS (
    DELETE FROM job_history h
    USING unnest($1::uuid[], $2::timestamptz[], $3::integer[], $4::interval[])
          AS u (wanted, ended_at, more, starts_in)
    WHERE h.id = u.wanted AND h.finished_at = u.ended_at
    RETURNING h.*, u.more, now() + u.starts_in AS starts_at
)
INSERT INTO jobs (
    id, tenant, type, state, priority, parameters, idempotency_key, submitted_at, run_at, ready_at,
    rank, attempt, attempts_max, timeout_seconds, progress_done, progress_total, progress_message,
    started_at, error, traceparent, child_count, parent_id, unique_key, order_key, turn, limit_key,
    schedule, attempts)
SELECT id, tenant, type,
       CASE WHEN starts_at > now() THEN 'scheduled' ELSE 'queued' END::job_state, priority,
       parameters, idempotency_key, submitted_at, starts_at, greatest(starts_at, now()),
       greatest(starts_at, now()) + ($5::interval[])[priority + 1], attempt, attempt + more,
       timeout_seconds, progress_done, progress_total, progress_message, started_at, error,
       traceparent, child_count, parent_id, unique_key, order_key, order_key IS NULL, limit_key,
       schedule,
       CASE WHEN worker IS NULL THEN attempts
            ELSE coalesce(attempts, '[]') || jsonb_build_object(
                'number', attempt, 'worker', worker, 'started_at', started_at,
                'finished_at', finished_at,
                'outcome', CASE state WHEN 'quarantined' THEN 'lost' ELSE state::text END,
                'error', error) END
FROM back ORDER BY starts_at NULLS FIRST, id
RETURNING id, tenant, type, attempt, traceparent, state::text AS state, run_at, order_key
"""

_TAKE_UNIQUE = """
INSERT INTO job_keys AS k (tenant, type, kind, key, job_id)
SELECT u.tenant, u.type, 'unique', u.key, u.id
FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) AS u (tenant, type, key, id)
ORDER BY u.tenant, u.type, u.key
ON CONFLICT (tenant, type, kind, key) DO UPDATE
SET job_id = excluded.job_id,
    expires_at = CASE WHEN k.expires_at > now() THEN k.expires_at END
WHERE k.job_id = excluded.job_id OR k.expires_at <= now()
RETURNING job_id
"""


class RevivingStore:
    """Ended jobs of one tenant at a time; a job keeps its id, its attempts and its trace."""

    def __init__(self, pool: Pool, *, on_announced: Callable[[], None]) -> None:
        self._pool = pool
        self._on_announced = on_announced

    async def type_of(self, job_id: UUID, *, tenant: str) -> str | None:
        """Return the type of a job that may run again, else None."""
        return await self._pool.fetchval(
            """
            SELECT type FROM job_history WHERE id = $1 AND tenant = $2 AND finished_at >= $3
              AND state::text = ANY($4::text[])
            """,
            job_id,
            tenant,
            born(job_id),
            REVIVABLE,
        )

    async def retry(self, job_id: UUID, *, tenant: str, actor: str, attempts: int) -> bool:
        """Queue one job again; failed | quarantined | cancelled -> queued. False: not possible."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                """
                SELECT id, tenant, type, finished_at, unique_key FROM job_history
                WHERE id = $1 AND tenant = $2 AND finished_at >= $3
                  AND state::text = ANY($4::text[]) FOR UPDATE
                """,
                job_id,
                tenant,
                born(job_id),
                REVIVABLE,
            )
            revived = await _revive(connection, rows, {row["type"]: attempts for row in rows})
            if revived:
                await audit.add(
                    connection,
                    tenant=tenant,
                    actor=actor,
                    action="retry",
                    details={"job_id": str(job_id)},
                )
        self._on_announced()
        return bool(revived)

    async def redrive(
        self, redrive: Redrive, *, tenant: str, actor: str, attempts: Mapping[str, int]
    ) -> JobsRedriven:
        """Queue many jobs again, the longest ended first; those whose unique key is taken stay."""
        conditions = _conditions(redrive, tenant)
        async with self._pool.acquire() as connection, connection.transaction():
            matched = await connection.fetchval(_COUNT, *conditions)
            revived: list[Any] = []
            if not redrive.dry_run:
                rows = await connection.fetch(_CHOOSE, *conditions, redrive.jobs_max)
                revived = await _revive(connection, rows, attempts, per_second=redrive.per_second)
            entry = await audit.add(
                connection,
                tenant=tenant,
                actor=actor,
                action="redrive",
                details={
                    **redrive.model_dump(mode="json"),
                    "matched": matched,
                    "redriven": len(revived),
                },
            )
            now = await connection.fetchval("SELECT now()")
        self._on_announced()
        last = max((row["run_at"] or now for row in revived), default=None)
        return JobsRedriven(id=entry, matched=matched, redriven=len(revived), last_run_at=last)


def _conditions(redrive: Redrive, tenant: str) -> tuple[Any, ...]:
    return (
        tenant,
        [state.value for state in redrive.states],
        redrive.job_type,
        redrive.error_code,
        redrive.ended_after,
        redrive.ended_before,
    )


async def _revive(
    connection: Connection,
    rows: Sequence[Any],
    attempts: Mapping[str, int],
    *,
    per_second: float | None = None,
) -> list[Any]:
    rows = await _with_free_keys(connection, rows)
    if not rows:
        return []
    revived = await connection.fetch(
        _REVIVE,
        [row["id"] for row in rows],
        [row["finished_at"] for row in rows],
        [attempts.get(row["type"], ATTEMPTS) for row in rows],
        [
            None if per_second is None else timedelta(seconds=n / per_second)
            for n in range(len(rows))
        ],
        ALLOWANCES,
    )
    await ending.grant_turns(
        connection,
        ((r["tenant"], r["order_key"]) for r in revived if r["state"] == JobState.QUEUED),
    )
    await outbox.add(
        connection,
        [
            announcements.waits(ref(row), state=JobState(row["state"]), run_at=row["run_at"])
            for row in revived
        ],
    )
    await connection.execute("SELECT pg_notify('lineshaft_jobs', '')")
    return revived


async def _with_free_keys(connection: Connection, rows: Sequence[Any]) -> list[Any]:
    """Take the unique keys again; a job whose key is somebody else's now stays ended."""
    keyed: dict[tuple[str, str, str], Any] = {}
    for row in rows:
        if row["unique_key"] is not None:
            keyed.setdefault((row["tenant"], row["type"], row["unique_key"]), row)
    if not keyed:
        return list(rows)
    taken = await connection.fetch(
        _TAKE_UNIQUE,
        [tenant for tenant, _, _ in keyed],
        [job_type for _, job_type, _ in keyed],
        [key for _, _, key in keyed],
        [row["id"] for row in keyed.values()],
    )
    ours = {row["job_id"] for row in taken}
    return [row for row in rows if row["unique_key"] is None or row["id"] in ours]
