"""PostgreSQL about itself: connections, cache, size, dead tuples, the longest transaction."""

import time

from lineshaft_common.postgres import Pool

from lineshaft_monitor.samples.series import Key


class Database:
    """The collector of the database that the monitor itself uses."""

    name = "postgres"

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self) -> None:
        """Raise when the database does not answer."""
        await self._pool.fetchval("SELECT 1")

    async def collect(self) -> dict[Key, float]:
        """Read the server's statistics; what this role may not see is left out."""
        started = time.perf_counter()
        await self.check()
        round_trip = time.perf_counter() - started
        row = await self._pool.fetchrow(
            """
            SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
                       AS connections,
                   current_setting('max_connections')::float8 AS connections_max,
                   blks_hit::float8 / nullif(blks_hit + blks_read, 0) AS cache_hit_ratio,
                   xact_commit::float8 AS commits_total, xact_rollback::float8 AS rollbacks_total,
                   deadlocks::float8 AS deadlocks_total,
                   pg_database_size(datname)::float8 AS database_size_bytes,
                   (SELECT coalesce(sum(n_dead_tup), 0)::float8 FROM pg_stat_user_tables)
                       AS dead_tuples,
                   (SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8
                    FROM pg_stat_activity WHERE pid <> pg_backend_pid()
                      AND backend_type = 'client backend') AS longest_transaction_seconds
            FROM pg_stat_database WHERE datname = current_database()
            """
        )
        values = {} if row is None else {k: v for k, v in row.items() if v is not None}
        samples: dict[Key, float] = {
            (f"postgres_{name}", ()): float(value) for name, value in values.items()
        }
        samples["postgres_round_trip_seconds", ()] = round_trip
        if values.get("connections_max"):
            ratio = values["connections"] / values["connections_max"]
            samples["postgres_connections_used_ratio", ()] = ratio
        return samples
