"""Limits and pauses, and what is left of their rates."""

from collections.abc import Mapping

from lineshaft_common.postgres import Connection

from lineshaft_job_runner.allocation import Limit

_ALL = """
SELECT tenant, name, job_type, limit_key, running_max, starts_max, per_seconds, paused, note,
       least(starts_max, starts_left
             + extract(epoch FROM clock_timestamp() - counted_at) * starts_max / per_seconds
       )::float8 AS starts_left
FROM job_limits
"""


async def of_claims(connection: Connection) -> list[Limit]:
    """Return all limits with what is left of their rates now."""
    return [
        Limit(
            tenant=row["tenant"],
            name=row["name"],
            job_type=row["job_type"],
            limit_key=row["limit_key"],
            running_max=row["running_max"],
            starts_left=row["starts_left"],
            paused=row["paused"],
        )
        for row in await connection.fetch(_ALL)
    ]


async def spend(connection: Connection, starts: Mapping[tuple[str, str], int]) -> None:
    """Take starts from the rates; the caller holds the lock of the claims."""
    if not starts:
        return
    await connection.execute(
        """
        UPDATE job_limits
        SET starts_left = least(starts_max, starts_left
                + extract(epoch FROM clock_timestamp() - counted_at) * starts_max / per_seconds
            ) - u.number,
            counted_at = clock_timestamp()
        FROM unnest($1::text[], $2::text[], $3::integer[]) AS u (tenant, name, number)
        WHERE job_limits.tenant = u.tenant AND job_limits.name = u.name
        """,
        [tenant for tenant, _ in starts],
        [name for _, name in starts],
        list(starts.values()),
    )
