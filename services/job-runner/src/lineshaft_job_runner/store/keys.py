"""Keys by which submitters name their jobs, so that a repeat finds the first."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from lineshaft_common.postgres import Connection

from lineshaft_job_runner.job import NewJob

IDEMPOTENT_FOR = timedelta(days=30)


def key_of(job: NewJob, kind: str) -> str | None:
    """Return the key of one kind (`idempotency` or `unique`)."""
    return job.idempotency_key if kind == "idempotency" else job.unique_key


def _expires_in(job: NewJob, kind: str) -> timedelta | None:
    if kind == "idempotency":
        return IDEMPOTENT_FOR
    return None if job.unique_seconds is None else timedelta(seconds=job.unique_seconds)


async def take(connection: Connection, jobs: Sequence[NewJob], kind: str) -> dict[UUID, UUID]:
    """Take the keys of jobs; by job the id of who has its key now, which is the first."""
    firsts: dict[tuple[str, str, str], NewJob] = {}
    for job in jobs:
        firsts.setdefault((job.tenant, job.type, key_of(job, kind) or ""), job)
    if not firsts:
        return {}
    ordered = sorted(firsts.items())
    rows = await connection.fetch(
        """
        INSERT INTO job_keys AS k (tenant, type, kind, key, job_id, expires_at)
        SELECT u.tenant, u.type, $1, u.key, u.job_id, now() + u.lasts
        FROM unnest($2::text[], $3::text[], $4::text[], $5::uuid[], $6::interval[])
             WITH ORDINALITY AS u (tenant, type, key, job_id, lasts, position)
        ORDER BY u.position
        ON CONFLICT (tenant, type, kind, key) DO UPDATE
        SET job_id = CASE WHEN k.expires_at <= now() THEN excluded.job_id ELSE k.job_id END,
            expires_at = CASE WHEN k.expires_at <= now() THEN excluded.expires_at
                              ELSE k.expires_at END
        RETURNING tenant, type, key, job_id
        """,
        kind,
        [key[0] for key, _ in ordered],
        [key[1] for key, _ in ordered],
        [key[2] for key, _ in ordered],
        [job.id for _, job in ordered],
        [_expires_in(job, kind) for _, job in ordered],
    )
    owners = {(row["tenant"], row["type"], row["key"]): row["job_id"] for row in rows}
    return {job.id: owners[job.tenant, job.type, key_of(job, kind) or ""] for job in jobs}


async def forget(
    connection: Connection, jobs: Sequence[NewJob], kind: str, *, owners: Collection[UUID]
) -> None:
    """Forget the keys of jobs that lead to one of `owners`."""
    await connection.execute(
        """
        DELETE FROM job_keys k
        USING unnest($2::text[], $3::text[], $4::text[]) AS u (tenant, type, key)
        WHERE (k.tenant, k.type, k.kind, k.key) = (u.tenant, u.type, $1, u.key)
          AND k.job_id = ANY($5::uuid[])
        """,
        kind,
        [job.tenant for job in jobs],
        [job.type for job in jobs],
        [key_of(job, kind) for job in jobs],
        list(owners),
    )


async def hand_over(
    connection: Connection, jobs: Sequence[NewJob], owners: Mapping[UUID, UUID]
) -> None:
    """Let the idempotency keys of jobs that are not stored lead to the jobs found instead."""
    keyed = [
        (job.tenant, job.type, job.idempotency_key, job.id, owners[job.id])
        for job in jobs
        if job.id in owners and job.idempotency_key is not None
    ]
    if keyed:
        await connection.executemany(
            """
            UPDATE job_keys SET job_id = $5
            WHERE tenant = $1 AND type = $2 AND kind = 'idempotency' AND key = $3 AND job_id = $4
            """,
            keyed,
        )


async def give_up(
    connection: Connection, jobs: Sequence[NewJob], *, owner: UUID | None = None
) -> None:
    """Forget the keys of jobs that are refused, as far as they, or `owner`, have them."""
    keyed = [
        (job.tenant, job.type, kind, key, owner or job.id)
        for job in jobs
        for kind in ("idempotency", "unique")
        if (key := key_of(job, kind)) is not None
    ]
    if keyed:
        await connection.executemany(
            """
            DELETE FROM job_keys
            WHERE tenant = $1 AND type = $2 AND kind = $3 AND key = $4 AND job_id = $5
            """,
            keyed,
        )


async def forget_expired(connection: Connection, *, limit: int) -> int:
    """Delete keys whose time is over; returns how many."""
    rows = await connection.fetch(
        """
        DELETE FROM job_keys WHERE (tenant, type, kind, key) IN (
            SELECT tenant, type, kind, key FROM job_keys WHERE expires_at <= now()
            ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
        """,
        limit,
    )
    return len(rows)
