"""A claim costs what it claims, whatever else waits."""

import asyncio
import json
from typing import Any

import pytest
from lineshaft_job_runner.store import claiming

from .driver import WAIT, WORK, Jobs

pytestmark = pytest.mark.integration

BACKLOG = 200_000
GROUPS = 3_000


async def explain(jobs: Jobs) -> dict[str, Any]:
    """Explain what a claim reads to choose among the jobs."""
    text = await jobs.pool.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {claiming.CANDIDATES}",
        [WAIT],
        10,
        claiming.CANDIDATES_MAX,
        *claiming.Positions().columns,
        claiming.KEYS_MAX,
    )
    return json.loads(text)[0]["Plan"]


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


def blocks(plan: dict[str, Any]) -> int:
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


async def settle(jobs: Jobs) -> None:
    """Do what autovacuum does soon after; while that looks at the table, nobody else can."""
    async with asyncio.timeout(60):
        while True:
            await jobs.pool.execute("VACUUM ANALYZE jobs", timeout=60)
            if await jobs.pool.fetchval(
                "SELECT relallvisible = relpages FROM pg_class WHERE relname = 'jobs'"
            ):
                return


async def many_groups(jobs: Jobs) -> None:
    """Let jobs wait of which each uses something of its own."""
    await jobs.pool.execute(
        """
        INSERT INTO jobs (id, tenant, type, state, priority, parameters, ready_at, rank,
                          attempts_max, timeout_seconds, limit_key)
        SELECT gen_random_uuid(), 't' || n % 50, $2, 'queued', 2, '{}', now(), now(), 3, 10,
               'k' || n FROM generate_series(1, $1) AS n
        """,
        GROUPS,
        WAIT,
    )


def reads_the_index_alone(plan: dict[str, Any]) -> None:
    waiting = [node for node in nodes(plan) if node.get("Index Name") == "jobs_candidates"]
    assert {node["Node Type"] for node in waiting} == {"Index Only Scan"}
    assert sum(node["Heap Fetches"] for node in waiting) == 0
    assert not [node for node in nodes(plan) if node["Node Type"] == "Seq Scan"]


async def test_what_a_claim_reads_grows_with_the_groups_and_not_with_the_backlog(
    jobs: Jobs,
) -> None:
    await jobs.backlog(20)
    await jobs.backlog(20, type=WORK)
    await settle(jobs)
    small = await explain(jobs)
    await jobs.backlog(BACKLOG)
    await settle(jobs)
    large = await explain(jobs)
    reads_the_index_alone(large)
    assert blocks(large) < min(100, blocks(small) + 50)
    await many_groups(jobs)
    await settle(jobs)
    wide = await explain(jobs)
    reads_the_index_alone(wide)
    assert blocks(wide) < 10 * GROUPS
    assert len(await jobs.claim(10)) == 10
