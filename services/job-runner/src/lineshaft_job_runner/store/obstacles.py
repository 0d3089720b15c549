"""What stands in the way of a job: the facts that explanations are made of."""

from typing import Any
from uuid import UUID

from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.jobs import JobState

from lineshaft_job_runner.allocation import Group
from lineshaft_job_runner.explaining import Facts
from lineshaft_job_runner.store import limits
from lineshaft_job_runner.store.ids import born

COUNTED_MAX = 10_000
"""More jobs ahead than these are not counted."""
SHOWN_MAX = 100
TENANTS_MAX = 100


class Obstacles:
    """Reads at one moment: all statements see the same snapshot."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def facts(self, job_id: UUID, *, tenant: str, served: frozenset[str]) -> Facts | None:
        """Return what is known of a job of the tenant; None when there is no such job."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow(
                """
                SELECT type, state::text AS state, limit_key, order_key, turn, run_at, worker,
                       started_at, child_count, rank, number
                FROM jobs WHERE id = $1 AND tenant = $2
                """,
                job_id,
                tenant,
            )
            if row is None:
                return await _ended(connection, job_id, tenant)
            group = Group(tenant, row["type"], row["limit_key"])
            after = await _after(connection, job_id)
            holder = await _holder(connection, tenant, row["order_key"])
            queued = row["state"] == JobState.QUEUED
            return Facts(
                state=JobState(row["state"]),
                group=group,
                run_at=row["run_at"],
                worker=row["worker"],
                started_at=row["started_at"],
                after=after,
                waits_for_children=row["child_count"] > 0,
                order_key=row["order_key"],
                turn=row["turn"],
                turn_of=holder,
                served=row["type"] in served,
                ahead=await _ahead(connection, group, row) if queued else 0,
                running=await limits.running(connection),
                limits=await limits.of_claims(connection),
                waiting_tenants=await _tenants(connection) if queued else (),
            )


async def _ended(connection: Connection, job_id: UUID, tenant: str) -> Facts | None:
    row = await connection.fetchrow(
        """
        SELECT type, state::text AS state, limit_key, finished_at FROM job_history
        WHERE id = $1 AND tenant = $2 AND finished_at >= $3
        """,
        job_id,
        tenant,
        born(job_id),
    )
    if row is None:
        return None
    return Facts(
        state=JobState(row["state"]),
        group=Group(tenant, row["type"], row["limit_key"]),
        finished_at=row["finished_at"],
    )


async def _after(connection: Connection, job_id: UUID) -> list[UUID]:
    rows = await connection.fetch(
        "SELECT on_job_id FROM job_dependencies WHERE job_id = $1 ORDER BY on_job_id LIMIT $2",
        job_id,
        SHOWN_MAX,
    )
    return [row["on_job_id"] for row in rows]


async def _holder(connection: Connection, tenant: str, order_key: str | None) -> UUID | None:
    if order_key is None:
        return None
    return await connection.fetchval(
        "SELECT id FROM jobs WHERE tenant = $1 AND order_key = $2 AND turn", tenant, order_key
    )


async def _ahead(connection: Connection, group: Group, row: Any) -> int:
    """Count the jobs of the same group that are claimed before."""
    return await connection.fetchval(
        """
        SELECT count(*) FROM (
            SELECT FROM jobs
            WHERE state = 'queued' AND turn AND tenant = $1 AND type = $2 AND limit_key = $3
              AND (rank, number) < ($4, $5) LIMIT $6
        ) AS before
        """,
        *group,
        row["rank"],
        row["number"],
        COUNTED_MAX,
    )


async def _tenants(connection: Connection) -> list[str]:
    """List tenants with jobs that could start, by stepping along the index."""
    rows = await connection.fetch(
        """
        WITH RECURSIVE tenants (tenant) AS (
            (SELECT tenant FROM jobs WHERE state = 'queued' AND turn ORDER BY tenant LIMIT 1)
            UNION ALL
            SELECT (SELECT jobs.tenant FROM jobs
                    WHERE state = 'queued' AND turn AND jobs.tenant > tenants.tenant
                    ORDER BY jobs.tenant LIMIT 1)
            FROM tenants WHERE tenants.tenant IS NOT NULL
        )
        SELECT tenant FROM tenants WHERE tenant IS NOT NULL LIMIT $1
        """,
        TENANTS_MAX,
    )
    return [row["tenant"] for row in rows]
