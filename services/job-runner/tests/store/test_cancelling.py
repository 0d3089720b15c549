"""A cancellation holds also when it overtakes its job: they travel through queues of their own."""

import pytest
from lineshaft_contracts.envelope import uuid7

from .driver import Jobs

pytestmark = pytest.mark.integration


async def test_a_job_that_comes_after_its_cancellation_is_cancelled(jobs: Jobs) -> None:
    early, other = uuid7(), uuid7()
    for _ in range(2):
        assert not await jobs.cancel(early)
    assert not await jobs.cancel(other, tenant="rival")
    assert await jobs.store.catch_up() == 0
    await jobs.submit(id=early)
    await jobs.submit(id=other)
    assert await jobs.store.catch_up() == 1
    assert await jobs.state(early) == "cancelled"
    assert await jobs.state(other) == "queued"
    assert await jobs.store.catch_up() == 0


async def test_one_that_runs_by_then_is_asked_to_stop(jobs: Jobs) -> None:
    early = uuid7()
    await jobs.cancel(early)
    running = await jobs.start(id=early)
    assert await jobs.store.catch_up() == 1
    held = await jobs.store.heartbeat([jobs.beat(running)], lease_seconds=60)
    assert held == {running.lease_token: True}


async def test_nothing_is_remembered_of_jobs_that_have_ended_or_never_came(jobs: Jobs) -> None:
    ended = await jobs.start()
    await jobs.succeed(ended)
    assert not await jobs.cancel(ended.id)
    assert await jobs.pool.fetchval("SELECT count(*) FROM job_cancellations") == 0
    await jobs.cancel(uuid7())
    await jobs.pool.execute("UPDATE job_cancellations SET asked_at = now() - interval '2 hours'")
    await jobs.store.catch_up()
    assert await jobs.pool.fetchval("SELECT count(*) FROM job_cancellations") == 0
