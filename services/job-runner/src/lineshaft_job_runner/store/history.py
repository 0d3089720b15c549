"""The days of `job_history`: made ahead, and dropped whole when they are old."""

from collections.abc import Sequence
from datetime import date, timedelta
from uuid import UUID

from lineshaft_common.postgres import Pool

from lineshaft_job_runner.store import keys

KEYS_MAX = 1_000
RECORDS_MAX = 5_000
"""Rows that one statement deletes."""
_FIRST = UUID(int=0)
_BRIEFLY = "SET LOCAL lock_timeout = '200ms'"
"""Days come and go under a lock that every end of a job waits for, and everybody else behind it:
while a long read is in the way, it is not waited for, but tried again later."""


class HistoryStore:
    """One table for each day of UTC, and one for what belongs to no day that was made."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def make_days(self) -> None:
        """Make the tables of today and of the two days to come; raises when one is locked."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('job_history'))")
            await connection.execute(_BRIEFLY)
            await connection.execute(
                """
                SELECT job_history_make_day((now() AT TIME ZONE 'UTC')::date + days)
                FROM generate_series(0, 2) AS days
                """
            )

    async def days_before(self, age: timedelta) -> list[date]:
        """List the days that were over so long ago, the oldest first."""
        rows = await self._pool.fetch(
            """
            SELECT to_date(right(relname, 8), 'YYYYMMDD') AS day
            FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = 'job_history'::regclass AND relname ~ '^job_history_[0-9]{8}$'
              AND to_date(right(relname, 8), 'YYYYMMDD')
                  < ((now() - $1::interval) AT TIME ZONE 'UTC')::date
            ORDER BY day
            """,
            age,
        )
        return [row["day"] for row in rows]

    async def with_artifacts(self, day: date, *, after: str, limit: int) -> list[tuple[str, str]]:
        """List (tenant, job id) of a day's jobs that may have left artifacts, by job id."""
        rows = await self._pool.fetch(
            """
            SELECT id, tenant FROM job_history
            WHERE finished_at >= $1::date AT TIME ZONE 'UTC'
              AND finished_at < ($1::date + 1) AT TIME ZONE 'UTC'
              AND id > $2 AND (artifacts IS NOT NULL OR attempts IS NOT NULL
                               OR state <> 'succeeded' OR jsonb_typeof(parameters) = 'string')
            ORDER BY id LIMIT $3
            """,
            day,
            UUID(after) if after else _FIRST,
            limit,
        )
        return [(row["tenant"], str(row["id"])) for row in rows]

    async def drop(self, day: date) -> int:
        """Drop the table of a day; returns how many jobs it held. Raises when it is locked."""
        table = f"job_history_{day:%Y%m%d}"
        await self._forget_records(table)
        number = await self._pool.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 - a date.
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(_BRIEFLY)
            await connection.execute(f"DROP TABLE {table}")
        return number

    async def _forget_records(self, table: str) -> None:
        """Delete what the jobs of a table recorded."""
        deleted = RECORDS_MAX
        while deleted == RECORDS_MAX:
            status = await self._pool.execute(
                f"""
                DELETE FROM job_records WHERE ctid = ANY (ARRAY(
                    SELECT r.ctid FROM job_records r JOIN {table} h ON h.id = r.job_id LIMIT $1
                ))
                """,  # noqa: S608 - a name of ours.
                RECORDS_MAX,
            )
            deleted = int(status.split()[-1])

    async def strays(self, age: timedelta, *, limit: int) -> list[tuple[str, str]]:
        """List (tenant, job id) of some jobs that ended so long ago, on a day without a table."""
        rows = await self._pool.fetch(
            """
            SELECT id, tenant FROM job_history_default WHERE finished_at < now() - $1::interval
            ORDER BY id LIMIT $2
            """,
            age,
            limit,
        )
        return [(row["tenant"], str(row["id"])) for row in rows]

    async def forget_strays(self, job_ids: Sequence[str]) -> None:
        """Forget jobs of days without a table."""
        async with self._pool.acquire() as connection, connection.transaction():
            ids = [UUID(job_id) for job_id in job_ids]
            await connection.execute("DELETE FROM job_records WHERE job_id = ANY($1::uuid[])", ids)
            await connection.execute(
                "DELETE FROM job_history_default WHERE id = ANY($1::uuid[])", ids
            )

    async def forget_keys(self) -> int:
        """Delete some keys whose time is over; returns how many."""
        async with self._pool.acquire() as connection:
            return await keys.forget_expired(connection, limit=KEYS_MAX)
