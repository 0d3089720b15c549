"""Daily partitions: made before they are needed, dropped when they are too old."""

from datetime import UTC, date, datetime, timedelta

from lineshaft_common.postgres import Pool

DAYS_AHEAD = 2
LOCK = "lineshaft_monitor_partitions"


class Partitions:
    """Keeps the partitions of samples and spans; replicas take turns by an advisory lock."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def maintain(self, retention_days: dict[str, int], today: date | None = None) -> int:
        """Make the partitions of the next days and drop old ones; return how many were dropped.

        `retention_days` is by table. There is no default partition: a row that finds none is an
        error, not a surprise later.
        """
        today = today or datetime.now(UTC).date()
        dropped = 0
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", LOCK)
            for table, days in retention_days.items():
                for ahead in range(-1, DAYS_AHEAD + 1):
                    day = today + timedelta(days=ahead)
                    await connection.execute("SELECT ensure_partition($1, $2)", table, day)
                dropped += await connection.fetchval(
                    "SELECT drop_partitions($1, $2)", table, today - timedelta(days=days)
                )
        return dropped
