"""Statistics over one tenant's jobs: how many there are now, and what became of the others."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from lineshaft_common.postgres import Pool
from lineshaft_contracts.job_statistics import JobStats, JobTypeStats, Quantiles, StatsWindow

WINDOWS = {"5m": 300, "1h": 3600, "24h": 86_400}
ENDS = ("succeeded", "failed", "cancelled", "quarantined")

_ATTEMPTS = """
    WITH ended AS (
        SELECT j.type, a.number, a.outcome, a.started_at, a.finished_at, a.ready_at,
               a.error->>'code' AS code
        FROM job_attempts a JOIN jobs j ON j.id = a.job_id AND j.tenant = $1
        WHERE a.finished_at > now() - make_interval(secs => $2)
    ), codes AS (
        SELECT type, jsonb_object_agg(code, number) AS errors
        FROM (SELECT type, code, count(*) AS number FROM ended
              WHERE code IS NOT NULL GROUP BY type, code) counted
        GROUP BY type
    )
    SELECT type,
           count(*) FILTER (WHERE number > 1 AND outcome <> 'released') AS retries,
           percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
               ORDER BY extract(epoch FROM finished_at - started_at)::float8) AS run,
           percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
               ORDER BY greatest(extract(epoch FROM started_at - ready_at), 0)::float8) AS wait,
           coalesce((SELECT errors FROM codes WHERE codes.type = ended.type), '{}') AS errors
    FROM ended GROUP BY type
"""
"""The attempts of one tenant that ended in the last $2 seconds, by job type."""


async def look(pool: Pool, *, tenant: str) -> JobStats:
    """Count jobs now, and look back over each window."""
    rows = await pool.fetch(
        """
        SELECT type, state::text AS state, count(*) AS number,
               max(extract(epoch FROM now() - submitted_at)) FILTER (WHERE state = 'queued')
                   ::float8 AS oldest
        FROM jobs WHERE tenant = $1 GROUP BY type, state
        """,
        tenant,
    )
    counts: defaultdict[str, int] = defaultdict(int)
    by_type: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        counts[row["state"]] += row["number"]
        by_type[row["type"]][row["state"]] = row["number"]
    oldest = [row["oldest"] for row in rows if row["oldest"] is not None]
    windows = await asyncio.gather(*(_window(pool, tenant, s) for s in WINDOWS.values()))
    return JobStats(
        counts=dict(counts),
        by_type=dict(by_type),
        oldest_queued_seconds=max(oldest, default=None),
        windows=dict(zip(WINDOWS, windows, strict=True)),
    )


async def _window(pool: Pool, tenant: str, seconds: int) -> StatsWindow:
    async with pool.acquire() as connection:
        ended = await connection.fetch(
            """
            SELECT type, state::text AS state, count(*) AS number FROM jobs
            WHERE tenant = $1 AND finished_at > now() - make_interval(secs => $2)
            GROUP BY type, state
            """,
            tenant,
            float(seconds),
        )
        attempts = await connection.fetch(_ATTEMPTS, tenant, float(seconds))
    counts: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(ENDS, 0))
    for row in ended:
        counts[row["type"]][row["state"]] = row["number"]
    tried = {row["type"]: row for row in attempts}
    types = tuple(
        _type_stats(job_type, counts[job_type], tried.get(job_type))
        for job_type in sorted(tried.keys() | counts.keys())
    )
    total = sum(row["number"] for row in ended)
    return StatsWindow(seconds=seconds, ended_per_minute=total * 60 / seconds, types=types)


def _type_stats(job_type: str, counts: dict[str, int], tried: Any | None) -> JobTypeStats:
    judged = counts["succeeded"] + counts["failed"] + counts["quarantined"]
    return JobTypeStats(
        job_type=job_type,
        counts=counts,
        success_rate=counts["succeeded"] / judged if judged else None,
        run_seconds=_quantiles(tried and tried["run"]),
        wait_seconds=_quantiles(tried and tried["wait"]),
        retries=tried["retries"] if tried else 0,
        errors=json.loads(tried["errors"]) if tried else {},
    )


def _quantiles(values: Sequence[float] | None) -> Quantiles:
    return Quantiles(**dict(zip(("p50", "p95", "p99"), values or (), strict=False)))
