"""What limits and pauses let start."""

from typing import Any

import pytest

from .driver import WAIT, WORK, Jobs

pytestmark = pytest.mark.integration


async def flood(jobs: Jobs) -> None:
    """Let five jobs of each of two tenants, two types and two keys wait."""
    for tenant in ("acme", "rival"):
        for job_type in (WAIT, WORK):
            for limit_key in (None, "press-7"):
                await jobs.backlog(5, tenant=tenant, type=job_type, limit_key=limit_key)


async def started(jobs: Jobs, limit: int = 100) -> dict[tuple[str, str, str], int]:
    """Claim jobs; how many were started by tenant, type and key."""
    await jobs.claim(limit, (WAIT, WORK))
    rows = await jobs.pool.fetch(
        """
        SELECT tenant, type, limit_key, count(*) AS number FROM jobs WHERE state = 'running'
        GROUP BY tenant, type, limit_key
        """
    )
    return {(row["tenant"], row["type"], row["limit_key"]): row["number"] for row in rows}


@pytest.mark.parametrize(
    ("limit", "running"),
    [
        ({}, {"acme": 3, "rival": 20}),
        ({"job_type": WAIT}, {"acme": 13, "rival": 20}),
        ({"limit_key": "press-7"}, {"acme": 13, "rival": 20}),
        ({"job_type": WAIT, "limit_key": "press-7"}, {"acme": 18, "rival": 20}),
        ({"job_type": "trial.other"}, {"acme": 20, "rival": 20}),
    ],
    ids=["tenant", "type", "key", "type and key", "another type"],
)
async def test_no_more_than_the_limit_run_of_what_it_names(
    jobs: Jobs, limit: dict[str, Any], running: dict[str, int]
) -> None:
    await flood(jobs)
    await jobs.limit("three", running_max=3, **limit)
    counts = await started(jobs)
    assert {
        tenant: sum(n for (owner, _, _), n in counts.items() if owner == tenant)
        for tenant in ("acme", "rival")
    } == running
    assert await started(jobs) == counts


async def test_a_limit_of_all_tenants_counts_their_jobs_together_and_shares_it(
    jobs: Jobs,
) -> None:
    await flood(jobs)
    await jobs.limit("press", tenant="", limit_key="press-7", running_max=4)
    await jobs.limit("no-work", tenant="", job_type=WORK, paused=True)
    assert await started(jobs) == {
        ("acme", WAIT, ""): 5,
        ("acme", WAIT, "press-7"): 2,
        ("rival", WAIT, ""): 5,
        ("rival", WAIT, "press-7"): 2,
    }


async def test_the_narrowest_of_several_limits_holds(jobs: Jobs) -> None:
    await jobs.backlog(20, limit_key="press-7")
    await jobs.limit("wide", running_max=10)
    await jobs.limit("narrow", limit_key="press-7", running_max=2)
    assert len(await jobs.claim()) == 2


async def test_a_place_is_free_again_when_a_job_ends(jobs: Jobs) -> None:
    await jobs.backlog(5)
    await jobs.limit("one", running_max=1)
    for _ in range(3):
        (claimed,) = await jobs.claim()
        assert await jobs.claim() == []
        await jobs.succeed(claimed)


async def test_a_pause_stops_starts_and_nothing_else(jobs: Jobs) -> None:
    running = await jobs.start()
    await jobs.submit()
    await jobs.limit("pause", job_type=WAIT, paused=True)
    other = await jobs.submit(type=WORK)
    assert await jobs.claimed(types=(WAIT, WORK)) == {other.id}
    await jobs.succeed(running)
    await jobs.pool.execute("DELETE FROM job_limits")
    assert len(await jobs.claim()) == 1


async def test_a_rate_gives_starts_that_come_back_with_time(jobs: Jobs) -> None:
    await jobs.backlog(50)
    await jobs.limit("rate", starts_max=10, per_seconds=600.0)
    await jobs.succeed(*await jobs.claim(4))
    assert len(await jobs.claim(100)) == 6
    assert await jobs.claim() == []
    await jobs.pool.execute("UPDATE job_limits SET counted_at = now() - interval '185 seconds'")
    assert len(await jobs.claim()) == 3
    assert await jobs.claim() == []
    await jobs.pool.execute("UPDATE job_limits SET counted_at = now() - interval '1 day'")
    assert len(await jobs.claim()) == 10


async def test_a_rate_is_not_spent_on_jobs_that_another_limit_stops(jobs: Jobs) -> None:
    await jobs.backlog(50)
    await jobs.limit("rate", starts_max=10, per_seconds=600.0)
    await jobs.limit("two", running_max=2)
    assert len(await jobs.claim()) == 2
    left = await jobs.pool.fetchval("SELECT starts_left FROM job_limits WHERE name = 'rate'")
    assert 8 <= left < 8.5


async def test_a_limit_that_is_used_up_does_not_hold_up_others_behind_it(jobs: Jobs) -> None:
    await jobs.backlog(3_000, limit_key="press-7")
    await jobs.limit("press", limit_key="press-7", running_max=1)
    free = await jobs.submit()
    assert len(await jobs.claim(1)) == 1
    assert await jobs.claimed(1) == {free.id}
