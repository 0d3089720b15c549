"""Limits and pauses, and what is left of their rates."""

from collections.abc import Mapping
from typing import Any

from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.job_control import JobLimit, JobLimitView

from lineshaft_job_runner.allocation import Group, Limit
from lineshaft_job_runner.store import audit

LIMITS_MAX = 1_000
"""Of one tenant, and of the platform; every claim looks at all of them."""

_STARTS_LEFT = """
    least(l.starts_max, l.starts_left
          + extract(epoch FROM clock_timestamp() - l.counted_at) * l.starts_max / l.per_seconds
    )::float8
"""
_COLUMNS = f"""
    tenant, name, job_type, limit_key, running_max, starts_max, per_seconds, paused, note,
    {_STARTS_LEFT} AS starts_left
"""
_ALL = f"SELECT {_COLUMNS} FROM job_limits AS l"  # noqa: S608 - of constants only.
_OF_TENANT = f"{_ALL} WHERE tenant IN ($1, '') ORDER BY tenant = '', name"
_ONE = f"{_ALL} WHERE tenant = $1 AND name = $2"
_SET = f"""
    INSERT INTO job_limits AS l (tenant, name, job_type, limit_key, running_max, starts_max,
                                 per_seconds, paused, note, starts_left)
    VALUES ($1, $2, $3, $4, $5, $6::integer, $7, $8, $9, $6::integer)
    ON CONFLICT (tenant, name) DO UPDATE
    SET job_type = $3, limit_key = $4, running_max = $5, starts_max = $6::integer,
        per_seconds = $7, paused = $8, note = $9, counted_at = clock_timestamp(),
        starts_left = CASE WHEN (l.starts_max, l.per_seconds)
                                IS NOT DISTINCT FROM ($6::integer, $7::float8)
                           THEN {_STARTS_LEFT} ELSE $6::integer END
"""  # noqa: S608 - of constants only.
_SPEND = f"""
    UPDATE job_limits AS l
    SET starts_left = {_STARTS_LEFT} - u.number, counted_at = clock_timestamp()
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
    ) -> JobLimitView | None:
        """Make or replace a limit; None when there are too many.

        A changed rate starts with all its starts left; another change, and none at all, leaves
        them as they are.
        """
        owner = "" if every_tenant else tenant
        async with self._pool.acquire() as connection, connection.transaction():
            if await _is_one_too_many(connection, owner, name):
                return None
            await connection.execute(
                _SET,
                owner,
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
            row = await connection.fetchrow(_ONE, owner, name)
            return _view(row, await running(connection))

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


async def _is_one_too_many(connection: Connection, owner: str, name: str) -> bool:
    """Whether a limit would be one more than there may be; the lock makes the count exact."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"limits of {owner}"
    )
    return await connection.fetchval(
        """
        SELECT count(*) >= $3 AND NOT coalesce(bool_or(name = $2), false)
        FROM job_limits WHERE tenant = $1
        """,
        owner,
        name,
        LIMITS_MAX,
    )


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
