"""Schedules in PostgreSQL: set, deleted, listed and planned, each change with its audit row."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.job_schedules import Fire, JobSchedule

from lineshaft_job_runner.schedules.schedule import KeptSchedule
from lineshaft_job_runner.store import audit

SCHEDULES_MAX = 1_000
"""Of one tenant."""


class ScheduleStore:
    """The schedules of all tenants. Times are the database's own."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def now(self) -> datetime:
        """Read the clock that fires go by."""
        return await self._pool.fetchval("SELECT now()")

    async def set(
        self,
        name: str,
        schedule: JobSchedule,
        *,
        tenant: str,
        actor: str,
        plan: Callable[[KeptSchedule | None, datetime], datetime | None],
    ) -> KeptSchedule | None:
        """Make or replace a schedule; None when the tenant has too many.

        `plan` tells the next fire from the schedule that was there and the time; what it raises
        leaves everything as it was. The same schedule again changes nothing.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await _lock(connection, name, tenant)
            earlier = await _find(connection, name, tenant)
            if earlier is None and await _count(connection, tenant) >= SCHEDULES_MAX:
                return None
            now = await connection.fetchval("SELECT clock_timestamp()")
            next_fire_at = plan(earlier, now)
            if earlier is not None and earlier.schedule == schedule:
                return earlier
            row = await connection.fetchrow(
                """
                INSERT INTO job_schedules AS s (tenant, name, schedule, made_at, next_fire_at)
                VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (tenant, name) WHERE deleted_at IS NULL
                DO UPDATE SET schedule = excluded.schedule, next_fire_at = excluded.next_fire_at
                RETURNING id, name, schedule::text AS schedule, made_at, next_fire_at,
                          last_fire_at, last_job_id
                """,
                tenant,
                name,
                schedule.model_dump_json(exclude_none=True),
                now,
                next_fire_at,
            )
            await audit.add(
                connection,
                tenant=tenant,
                actor=actor,
                action="set_schedule",
                details={"name": name, "schedule": schedule.model_dump(mode="json")},
            )
        return _kept(row)

    async def delete(self, name: str, *, tenant: str, actor: str) -> bool:
        """Delete a schedule, False when there is none; its ledger goes later, in batches."""
        async with self._pool.acquire() as connection, connection.transaction():
            deleted = await connection.fetchval(
                """
                UPDATE job_schedules SET deleted_at = now(), next_fire_at = NULL
                WHERE tenant = $1 AND name = $2 AND deleted_at IS NULL RETURNING id
                """,
                tenant,
                name,
            )
            if deleted is None:
                return False
            await audit.add(
                connection,
                tenant=tenant,
                actor=actor,
                action="delete_schedule",
                details={"name": name},
            )
        return True

    async def find(self, name: str, *, tenant: str) -> KeptSchedule | None:
        """Find a schedule by its name."""
        async with self._pool.acquire() as connection:
            return await _find(connection, name, tenant)

    async def all_of(self, tenant: str) -> list[KeptSchedule]:
        """List a tenant's schedules by name."""
        rows = await self._pool.fetch(
            """
            SELECT id, name, schedule::text AS schedule, made_at, next_fire_at, last_fire_at,
                   last_job_id
            FROM job_schedules WHERE tenant = $1 AND deleted_at IS NULL
            ORDER BY name COLLATE "C" LIMIT $2
            """,
            tenant,
            SCHEDULES_MAX,
        )
        return [_kept(row) for row in rows]

    async def past_fires(self, schedule_id: UUID, *, limit: int) -> list[Fire]:
        """Read the newest rows of a schedule's ledger."""
        rows = await self._pool.fetch(
            """
            SELECT fire_at, outcome, job_id, decided_at, detail FROM job_fires
            WHERE schedule_id = $1 ORDER BY fire_at DESC LIMIT $2
            """,
            schedule_id,
            limit,
        )
        return [Fire(**row) for row in rows]

    async def replan(
        self,
        *,
        after: UUID,
        limit: int,
        plan: Callable[[KeptSchedule, datetime], datetime | None],
    ) -> UUID | None:
        """Plan a page of the schedules that are not due anew; the last id, or None at the end."""
        async with self._pool.acquire() as connection, connection.transaction():
            now = await connection.fetchval("SELECT now()")
            rows = await connection.fetch(
                """
                SELECT id, name, schedule::text AS schedule, made_at, next_fire_at, last_fire_at,
                       last_job_id
                FROM job_schedules
                WHERE id > $1 AND deleted_at IS NULL
                  AND (next_fire_at IS NULL OR next_fire_at > now())
                ORDER BY id LIMIT $2 FOR UPDATE
                """,
                after,
                limit,
            )
            plans = {row["id"]: (row["next_fire_at"], plan(_kept(row), now)) for row in rows}
            await connection.execute(
                """
                UPDATE job_schedules s SET next_fire_at = u.next_fire_at
                FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, next_fire_at)
                WHERE s.id = u.id
                """,
                [schedule_id for schedule_id, (was, fire) in plans.items() if was != fire],
                [fire for was, fire in plans.values() if was != fire],
            )
        return rows[-1]["id"] if rows else None


async def _lock(connection: Connection, name: str, tenant: str) -> None:
    """Keep others from setting schedules of the tenant, and from firing or deleting this one."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"schedules of {tenant}"
    )
    await connection.execute(
        """
        SELECT FROM job_schedules WHERE tenant = $1 AND name = $2 AND deleted_at IS NULL
        FOR UPDATE
        """,
        tenant,
        name,
    )


async def _find(connection: Connection, name: str, tenant: str) -> KeptSchedule | None:
    row = await connection.fetchrow(
        """
        SELECT id, name, schedule::text AS schedule, made_at, next_fire_at, last_fire_at,
               last_job_id
        FROM job_schedules WHERE tenant = $1 AND name = $2 AND deleted_at IS NULL
        """,
        tenant,
        name,
    )
    return None if row is None else _kept(row)


async def _count(connection: Connection, tenant: str) -> int:
    return await connection.fetchval(
        "SELECT count(*) FROM job_schedules WHERE tenant = $1 AND deleted_at IS NULL", tenant
    )


def _kept(row: Any) -> KeptSchedule:
    values: dict[str, Any] = dict(row)
    values["schedule"] = JobSchedule.model_validate_json(row["schedule"])
    return KeptSchedule(**values)
