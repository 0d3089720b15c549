"""The registry of job types: which worker serves which, and which queued jobs nobody serves."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from lineshaft_common.postgres import Pool
from lineshaft_contracts.job_catalogue import JobTypeView
from lineshaft_contracts.job_work import SERVED_FOR

COUNTED_MAX = 10_000
"""Jobs of one tenant and type beyond this number are not counted: there are many."""
GROUPS_MAX = 10_000
"""Pairs of tenant and type that are looked at."""
EXPIRED_KEPT = timedelta(days=1)

SERVE = """
INSERT INTO served_types (worker, type, built_in, view, until)
SELECT $1, u.type, $4, u.view::jsonb, now() + $5
FROM unnest($2::text[], $3::text[]) AS u (type, view)
ON CONFLICT (worker, type) DO UPDATE
SET built_in = excluded.built_in, view = excluded.view, seen_at = now(), until = excluded.until,
    since = CASE WHEN served_types.view = excluded.view AND served_types.until > now()
                 THEN served_types.since ELSE now() END
RETURNING until
"""

UNSERVED = """
WITH RECURSIVE groups (tenant, type) AS (
    (SELECT tenant, type FROM jobs WHERE state = 'queued' AND turn
     ORDER BY tenant, type LIMIT 1)
    UNION ALL
    SELECT following.tenant, following.type FROM groups CROSS JOIN LATERAL (
        SELECT tenant, type FROM jobs
        WHERE state = 'queued' AND turn AND (tenant, type) > (groups.tenant, groups.type)
        ORDER BY tenant, type LIMIT 1
    ) AS following
)
SELECT found.type, sum(counted.jobs)::bigint AS jobs
FROM (SELECT tenant, type FROM groups LIMIT $2) AS found
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM jobs WHERE state = 'queued' AND turn
        AND tenant = found.tenant AND type = found.type LIMIT $3
    ) AS bounded
) AS counted
WHERE NOT EXISTS (SELECT FROM served_types s WHERE s.type = found.type AND s.until > now())
  AND $1 = (SELECT worker FROM served_types WHERE built_in AND until > now()
            ORDER BY since, worker LIMIT 1)
GROUP BY found.type ORDER BY jobs DESC, found.type
"""
"""Steps from one (tenant, type) to the next along the index of candidates: what it costs grows
with the number of groups, not with the jobs that wait."""


class ServedTypeStore:
    """Announcements and offers hold for SERVED_FOR by the database's clock."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def announce(self, worker: str, views: Sequence[JobTypeView]) -> None:
        """Say that a job-runner serves these types; offers of the same types end."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "DELETE FROM served_types WHERE NOT built_in AND type = ANY($1::text[])",
                [view.name for view in views],
            )
            await connection.execute(SERVE, worker, *_columns(views), True, SERVED_FOR)  # noqa: FBT003 - a value of the table.

    async def offer(self, worker: str, views: Sequence[JobTypeView]) -> datetime:
        """Say that a worker over AMQP serves these types; returns until when."""
        return await self._pool.fetchval(SERVE, worker, *_columns(views), False, SERVED_FOR)  # noqa: FBT003 - a value of the table.

    async def built_in(self, types: Sequence[str]) -> list[str]:
        """List those of `types` that a live job-runner serves itself."""
        rows = await self._pool.fetch(
            """
            SELECT DISTINCT type FROM served_types
            WHERE built_in AND until > now() AND type = ANY($1::text[]) ORDER BY type
            """,
            types,
        )
        return [row["type"] for row in rows]

    async def offered(self, worker: str) -> frozenset[str]:
        """List what a worker over AMQP offers at present."""
        rows = await self._pool.fetch(
            "SELECT type FROM served_types WHERE worker = $1 AND NOT built_in AND until > now()",
            worker,
        )
        return frozenset(row["type"] for row in rows)

    async def views(self) -> list[JobTypeView]:
        """Describe each type that somebody serves; of several descriptions the newest one."""
        rows = await self._pool.fetch(
            """
            SELECT DISTINCT ON (type) view FROM served_types WHERE until > now()
            ORDER BY type, built_in DESC, since DESC, worker
            """
        )
        return [JobTypeView.model_validate_json(row["view"]) for row in rows]

    async def withdraw(self, worker: str) -> None:
        """Say that a job-runner serves nothing any more."""
        await self._pool.execute("DELETE FROM served_types WHERE worker = $1 AND built_in", worker)

    async def forget(self) -> None:
        """Delete what was not repeated for long."""
        await self._pool.execute(
            "DELETE FROM served_types WHERE until < now() - $1::interval", EXPIRED_KEPT
        )

    async def unserved(self, worker: str) -> dict[str, int]:
        """Count queued jobs by type where no live worker serves the type.

        Only the job-runner that serves longest is told; the others get nothing, so that each
        job is counted once.
        """
        rows = await self._pool.fetch(UNSERVED, worker, GROUPS_MAX, COUNTED_MAX)
        return {row["type"]: row["jobs"] for row in rows}


def _columns(views: Sequence[JobTypeView]) -> tuple[list[str], list[str]]:
    return [view.name for view in views], [view.model_dump_json() for view in views]
