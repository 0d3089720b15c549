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
        SELECT type, started_at, finished_at, ready_at, attempts, error->>'code' AS code,
               state <> 'cancelled' AS judged
        FROM job_history
        WHERE tenant = $1 AND finished_at > now() - make_interval(secs => $2)
          AND worker IS NOT NULL
    ), earlier AS (
        SELECT tried.type, a->>'outcome' AS outcome, a->'error'->>'code' AS code
        FROM (SELECT type, attempts FROM ended WHERE attempts IS NOT NULL
              UNION ALL
              SELECT type, attempts FROM jobs WHERE tenant = $1 AND attempts IS NOT NULL) AS tried
        CROSS JOIN LATERAL jsonb_array_elements(attempts) AS a
        WHERE (a->>'finished_at')::timestamptz > now() - make_interval(secs => $2)
    ), codes AS (
        SELECT type, jsonb_object_agg(code, number) AS errors
        FROM (SELECT type, code, count(*) AS number
              FROM (SELECT type, code FROM ended WHERE judged
                    UNION ALL SELECT type, code FROM earlier) AS told
              WHERE code IS NOT NULL GROUP BY type, code) AS counted
        GROUP BY type
    ), measured AS (
        SELECT type,
               percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
                   ORDER BY extract(epoch FROM finished_at - started_at)::float8) AS run,
               percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
                   ORDER BY greatest(extract(epoch FROM started_at - ready_at), 0)::float8) AS wait
        FROM ended GROUP BY type
    )
    SELECT type, run, wait, coalesce(errors, '{}') AS errors,
           (SELECT count(*) FROM earlier
            WHERE earlier.type = known.type AND outcome IN ('failed', 'lost')) AS retries
    FROM (SELECT type FROM ended UNION SELECT type FROM earlier) AS known
    LEFT JOIN measured USING (type) LEFT JOIN codes USING (type)
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
        UNION ALL
        SELECT type, state::text, count(*), NULL
        FROM job_history WHERE tenant = $1 GROUP BY type, state
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
            SELECT type, state::text AS state, count(*) AS number FROM job_history
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
