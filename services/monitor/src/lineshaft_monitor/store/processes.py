"""Processes that have reported, kept over restarts of the monitor."""

import json
from collections.abc import Iterable
from typing import Any

from lineshaft_common.postgres import Pool
from lineshaft_contracts.monitoring import ServiceState

from lineshaft_monitor.presence import Process


class ProcessTable:
    """Table `processes`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self) -> list[Process]:
        """Return every process that is remembered."""
        rows = await self._pool.fetch(
            """
            SELECT service, instance, region, version, state, since, last_report_at,
                   interval_seconds, checks, up_seconds, down_seconds
            FROM processes
            """
        )
        return [_process(dict(row)) for row in rows]

    async def save(self, processes: Iterable[Process]) -> None:
        """Store all of them, and delete those that are not among them."""
        rows = [
            (
                *(p.service, p.instance, p.region, p.version, p.state, p.since),
                *(p.last_report_at, p.interval_seconds, json.dumps(p.checks)),
                *(p.up_seconds, p.down_seconds),
            )
            for p in processes
        ]
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                """
                DELETE FROM processes WHERE NOT (service, instance) IN (
                    SELECT * FROM unnest($1::text[], $2::text[])
                )
                """,
                [row[0] for row in rows],
                [row[1] for row in rows],
            )
            await connection.executemany(
                """
                INSERT INTO processes (service, instance, region, version, state, since,
                                       last_report_at, interval_seconds, checks, up_seconds,
                                       down_seconds)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
                ON CONFLICT (service, instance) DO UPDATE
                SET region = excluded.region, version = excluded.version, state = excluded.state,
                    since = excluded.since, last_report_at = excluded.last_report_at,
                    interval_seconds = excluded.interval_seconds, checks = excluded.checks,
                    up_seconds = excluded.up_seconds, down_seconds = excluded.down_seconds
                """,
                rows,
            )


def _process(fields: dict[str, Any]) -> Process:
    fields["state"] = ServiceState(fields["state"])
    fields["checks"] = json.loads(fields["checks"])
    return Process(**fields)
