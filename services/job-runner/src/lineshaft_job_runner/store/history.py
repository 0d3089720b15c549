"""The days of `job_history`: made ahead, and dropped whole when they are old."""

from datetime import date, timedelta
from uuid import UUID

from lineshaft_common.postgres import Pool

from lineshaft_job_runner.store import keys

KEYS_MAX = 1_000
_FIRST = UUID(int=0)


class HistoryStore:
    """One table for each day of UTC, and one for what belongs to no day that was made."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def make_days(self) -> None:
        """Make the tables of today and of the two days to come."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('job_history'))")
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
        """Drop the table of a day; returns how many jobs it held."""
        table = f"job_history_{day:%Y%m%d}"
        async with self._pool.acquire() as connection, connection.transaction():
            number = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 - a date.
            await connection.execute(
                f"DELETE FROM job_records WHERE job_id IN (SELECT id FROM {table})"  # noqa: S608
            )
            await connection.execute(f"DROP TABLE {table}")
        return number

    async def forget_keys(self) -> int:
        """Delete some keys whose time is over; returns how many."""
        async with self._pool.acquire() as connection:
            return await keys.forget_expired(connection, limit=KEYS_MAX)
