"""Limits and pauses, and what is left of their rates."""

from collections.abc import Mapping
from typing import Any

from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.job_control import JobLimit, JobLimitView

from lineshaft_job_runner.allocation import Group, Limit
from lineshaft_job_runner.store import audit

_STARTS_LEFT = """
    least(starts_max, starts_left
          + extract(epoch FROM clock_timestamp() - counted_at) * starts_max / per_seconds
    )::float8
"""
_COLUMNS = f"""
    tenant, name, job_type, limit_key, running_max, starts_max, per_seconds, paused, note,
    {_STARTS_LEFT} AS starts_left
"""
_ALL = f"SELECT {_COLUMNS} FROM job_limits"  # noqa: S608 - of constants only.
_OF_TENANT = f"{_ALL} WHERE tenant IN ($1, '') ORDER BY tenant = '', name"
_SPEND = f"""
    UPDATE job_limits SET starts_left = {_STARTS_LEFT} - u.number, counted_at = clock_timestamp()
    FROM unnest($1::text[], $2::text[], $3::integer[]) AS u (of_tenant, named, number)
    WHERE tenant = u.of_tenant AND name = u.named
"""  # noqa: S608 - of constants only.


async def of_claims(connection: Connection) -> list[Limit]:
    """Return all limits with what is left of their rates now."""
    return [_limit(row) for row in await connection.fetch(_ALL)]


async def spend(connection: Connection, starts: Mapping[tuple[str, str], int]) -> None:
    """Take starts from the rates; the caller holds the lock of the claims."""
    if starts:
        await connection.execute(
            _SPEND,
            [tenant for tenant, _ in starts],
            [name for _, name in starts],
            list(starts.values()),
        )


class LimitStore:
    """The limits of tenants and, under the empty tenant, those of the platform."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def set(
        self, name: str, limit: JobLimit, *, tenant: str, actor: str, every_tenant: bool
    ) -> JobLimitView:
        """Make or replace a limit; a changed rate starts with all its starts left."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                """
                INSERT INTO job_limits (tenant, name, job_type, limit_key, running_max, starts_max,
                                        per_seconds, paused, note, starts_left)
                VALUES ($1, $2, $3, $4, $5, $6::integer, $7, $8, $9, $6::integer)
                ON CONFLICT (tenant, name) DO UPDATE
                SET job_type = $3, limit_key = $4, running_max = $5, starts_max = $6::integer,
                    per_seconds = $7, paused = $8, note = $9, counted_at = clock_timestamp(),
                    starts_left = CASE
                        WHEN (job_limits.starts_max, job_limits.per_seconds)
                             IS NOT DISTINCT FROM ($6::integer, $7::float8)
                        THEN job_limits.starts_left ELSE $6::integer END
                """,
                "" if every_tenant else tenant,
                name,
                limit.job_type,
                limit.limit_key,
                limit.running_max,
                limit.starts_max,
                limit.per_seconds,
                limit.paused,
                limit.note,
            )
            await audit.add(
                connection,
                tenant=tenant,
                actor=actor,
                action="set_limit",
                details={
                    "name": name,
                    "every_tenant": every_tenant,
                    "limit": limit.model_dump(mode="json"),
                },
            )
            await connection.execute("SELECT pg_notify('lineshaft_jobs', '')")
        views = await self.list(tenant=tenant)
        return next(v for v in views if v.name == name and v.every_tenant == every_tenant)

    async def delete(self, name: str, *, tenant: str, actor: str, every_tenant: bool) -> bool:
        """Remove a limit; False when there is none."""
        async with self._pool.acquire() as connection, connection.transaction():
            found = await connection.fetchval(
                "DELETE FROM job_limits WHERE tenant = $1 AND name = $2 RETURNING true",
                "" if every_tenant else tenant,
                name,
            )
            if not found:
                return False
            await audit.add(
                connection,
                tenant=tenant,
                actor=actor,
                action="delete_limit",
                details={"name": name, "every_tenant": every_tenant},
            )
            await connection.execute("SELECT pg_notify('lineshaft_jobs', '')")
        return True

    async def list(self, *, tenant: str) -> list[JobLimitView]:
        """Return the limits that hold for a tenant's jobs: its own, then the platform's."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_OF_TENANT, tenant)
            counted = await running(connection) if rows else {}
        return [_view(row, counted) for row in rows]


async def running(connection: Connection) -> dict[Group, int]:
    """Count what runs, by group."""
    rows = await connection.fetch(
        """
        SELECT tenant, type, limit_key, count(*) AS number FROM jobs WHERE state = 'running'
        GROUP BY tenant, type, limit_key
        """
    )
    return {Group(row["tenant"], row["type"], row["limit_key"]): row["number"] for row in rows}


def _limit(row: Any) -> Limit:
    return Limit(
        tenant=row["tenant"],
        name=row["name"],
        job_type=row["job_type"],
        limit_key=row["limit_key"],
        running_max=row["running_max"],
        starts_left=row["starts_left"],
        paused=row["paused"],
    )


def _view(row: Any, counted: Mapping[Group, int]) -> JobLimitView:
    left = row["starts_left"]
    return JobLimitView(
        name=row["name"],
        every_tenant=row["tenant"] == "",
        limit=JobLimit(
            job_type=row["job_type"],
            limit_key=row["limit_key"],
            running_max=row["running_max"],
            starts_max=row["starts_max"],
            per_seconds=row["per_seconds"],
            paused=row["paused"],
            note=row["note"],
        ),
        running=_limit(row).running(counted),
        starts_left=None if left is None else max(0, int(left)),
    )
