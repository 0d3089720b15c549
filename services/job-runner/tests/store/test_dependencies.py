"""Jobs that come after others."""

import asyncio

import pytest
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.jobs import AfterFailure
from lineshaft_job_runner.job import Verdict

from .driver import NOT_YET, Jobs, new_job

pytestmark = pytest.mark.integration

RUN = AfterFailure.RUN


async def links(jobs: Jobs) -> int:
    return await jobs.pool.fetchval("SELECT count(*) FROM job_dependencies")


async def test_a_job_waits_until_all_that_it_comes_after_have_succeeded(jobs: Jobs) -> None:
    one, two = await jobs.submit(), await jobs.submit()
    job = await jobs.submit(after=(one.id, two.id, one.id))
    first, second = await jobs.claim()
    assert (await jobs.view(job.id)).after == tuple(sorted((one.id, two.id)))
    await jobs.succeed(first)
    assert await jobs.state(job.id) == "waiting"
    await jobs.succeed(second)
    assert await jobs.claimed() == {job.id}
    assert await jobs.events(job.id) == ["waiting", "queued", "started"]
    assert await links(jobs) == 0


async def test_two_that_a_job_comes_after_may_end_together_or_at_once(jobs: Jobs) -> None:
    firsts = [await jobs.submit() for _ in range(4)]
    job = await jobs.submit(after=tuple(first.id for first in firsts))
    one, two, *rest = await jobs.claim()
    await jobs.succeed(one, two)
    await asyncio.gather(*(jobs.succeed(each) for each in rest))
    assert await jobs.claimed() == {job.id}
    assert await jobs.events(job.id) == ["waiting", "queued", "started"]


async def test_a_failed_attempt_that_is_tried_again_decides_nothing(jobs: Jobs) -> None:
    first = await jobs.start()
    job = await jobs.submit(after=(first.id,))
    await jobs.end(first, Verdict.FAILED, error=NOT_YET, retry_in=jobs.moment)
    assert await jobs.state(job.id) == "waiting"


@pytest.mark.parametrize("end", ["failed", "cancelled", "quarantined"])
async def test_a_job_is_cancelled_with_what_it_comes_after(jobs: Jobs, end: str) -> None:
    first, other = await jobs.start(), await jobs.submit()
    job = await jobs.submit(after=(other.id, first.id))
    if end == "failed":
        await jobs.fail(first)
    elif end == "cancelled":
        await jobs.cancel(first.id)
        await jobs.end(first, Verdict.CANCELLED)
    else:
        await jobs.pool.execute("UPDATE jobs SET losses = 2 WHERE id = $1", first.id)
        await jobs.lose(first)
    assert await jobs.state(first.id) == end
    assert await jobs.state(job.id) == "cancelled"
    assert await jobs.error(job.id) == "dependency_failed"
    assert await jobs.events(job.id) == ["waiting", "cancelled"]
    assert await links(jobs) == 0
    await jobs.succeed(*await jobs.claim())
    assert await jobs.state(job.id) == "cancelled"


async def test_a_job_that_says_so_runs_whatever_became_of_the_others(jobs: Jobs) -> None:
    first, second = await jobs.start(), await jobs.submit()
    job = await jobs.submit(after=(first.id, second.id), after_failure=RUN)
    await jobs.fail(first)
    assert await jobs.state(job.id) == "waiting"
    await jobs.cancel(second.id)
    assert await jobs.claimed() == {job.id}


async def test_a_job_after_jobs_that_have_succeeded_starts_at_once(jobs: Jobs) -> None:
    first = await jobs.start()
    await jobs.succeed(first)
    job = await jobs.submit(after=(first.id,))
    assert await jobs.claimed() == {job.id}
    assert await jobs.events(job.id) == ["waiting", "queued", "started"]


async def test_a_job_after_one_that_has_failed_is_cancelled_or_starts_at_once(jobs: Jobs) -> None:
    first, live = await jobs.start(), await jobs.submit()
    await jobs.fail(first)
    cancelled = await jobs.submit(after=(live.id, first.id))
    follower = new_job(after=(cancelled.id,))
    assert await jobs.accept(follower) == [(follower.id, True)]
    runs = await jobs.submit(after=(first.id,), after_failure=RUN)
    for job in (cancelled, follower):
        assert await jobs.state(job.id) == "cancelled"
        assert await jobs.error(job.id) == "dependency_failed"
    assert await jobs.claimed() == {live.id, runs.id}
    assert await links(jobs) == 0


async def test_a_job_after_one_that_is_not_there_is_refused_and_leaves_nothing(
    jobs: Jobs,
) -> None:
    first = await jobs.submit()
    theirs = await jobs.submit(tenant="rival")
    job = new_job(
        after=(first.id, uuid7(), theirs.id), idempotency_key="i", unique_key="u", order_key="o"
    )
    (outcome,) = await jobs.store.accept([job])
    assert outcome.problem is not None
    assert (outcome.problem.code, outcome.problem.status) == ("unknown_dependency", 422)
    assert [e.pointer for e in outcome.problem.errors] == ["/after/1", "/after/2"]
    assert await jobs.reads.views([job.id], tenant=None) == {}
    assert await jobs.events(job.id) == []
    assert await links(jobs) == 0
    await jobs.submit(idempotency_key="i", unique_key="u", order_key="o")


async def test_a_job_may_come_after_those_before_it_in_the_same_batch_only(jobs: Jobs) -> None:
    one = new_job()
    two = new_job(after=(one.id,))
    itself = new_job(id=(own := uuid7()), after=(own,))
    late = new_job()
    early = new_job(after=(late.id,))
    follower = new_job(after=(early.id,))
    assert await jobs.refused(one, two, itself, early, late, follower) == [
        None,
        None,
        "unknown_dependency",
        "unknown_dependency",
        None,
        "unknown_dependency",
    ]
    assert await jobs.claimed() == {one.id, late.id}
    assert await jobs.state(two.id) == "waiting"


async def test_the_end_of_the_first_of_a_chain_is_the_end_of_all(jobs: Jobs) -> None:
    chain = [new_job()]
    for _ in range(10):
        chain.append(new_job(after=(chain[-1].id,)))
    runs = new_job(after=(chain[5].id,), after_failure=RUN)
    await jobs.accept(*chain, runs)
    await jobs.cancel(chain[0].id)
    assert {await jobs.state(job.id) for job in chain} == {"cancelled"}
    assert await jobs.claimed() == {runs.id}
    assert await links(jobs) == 0


async def test_a_job_that_is_cancelled_while_it_waits_is_not_woken_later(jobs: Jobs) -> None:
    first = await jobs.start()
    job = await jobs.submit(after=(first.id,))
    follower = await jobs.submit(after=(job.id,))
    assert await jobs.cancel(job.id)
    assert await jobs.state(follower.id) == "cancelled"
    assert await links(jobs) == 0
    await jobs.succeed(first)
    assert await jobs.claim() == []
    assert await jobs.events(job.id) == ["waiting", "cancelled"]


async def test_a_job_for_a_later_time_waits_for_its_time_after_the_others(jobs: Jobs) -> None:
    first = await jobs.start()
    job = await jobs.submit(after=(first.id,), run_at=jobs.soon())
    await jobs.succeed(first)
    assert await jobs.state(job.id) == "scheduled"
    assert await jobs.store.promote() == 0
    await jobs.age(job.id, hours=2)
    assert await jobs.store.promote() == 1
    assert await jobs.events(job.id) == ["waiting", "scheduled", "queued"]


async def test_a_job_that_ends_while_another_is_put_behind_it_sets_that_free(jobs: Jobs) -> None:
    for _ in range(20):
        first = await jobs.start()
        job = new_job(after=(first.id,))
        await asyncio.gather(jobs.succeed(first), jobs.accept(job))
        assert await jobs.claimed() == {job.id}
