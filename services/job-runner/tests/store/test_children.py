"""Jobs that submit jobs of their own, and wait for them or not."""

import asyncio
from typing import Any

import pytest
from lineshaft_contracts.jobs import ListJobs
from lineshaft_job_runner.job import ClaimedJob, NewJob, Verdict

from .driver import NOT_YET, WAIT, WORK, Jobs, new_job

pytestmark = pytest.mark.integration


def children_of(parent: ClaimedJob, number: int, **changes: Any) -> tuple[NewJob, ...]:
    return tuple(new_job(parent_id=parent.id, type=WORK, **changes) for _ in range(number))


async def waiting(jobs: Jobs, number: int = 2) -> tuple[ClaimedJob, tuple[NewJob, ...]]:
    """Have a job wait for children."""
    parent = await jobs.start()
    children = children_of(parent, number)
    assert await jobs.end(parent, Verdict.WAITING, children=children)
    return parent, children


async def test_a_job_runs_again_after_its_children_and_is_told_how_they_ended(jobs: Jobs) -> None:
    parent, children = await waiting(jobs, 3)
    view = await jobs.view(parent.id)
    assert (view.state, view.children, view.attempt) == ("waiting", {"queued": 3}, 0)
    assert view.after == tuple(sorted(child.id for child in children))
    one, two, three = await jobs.claim(types=(WORK,))
    await jobs.succeed(one)
    await jobs.fail(two)
    assert await jobs.claim() == []
    await jobs.cancel(three.id)
    assert await jobs.claim() == []
    await jobs.end(three, Verdict.CANCELLED)
    (again,) = await jobs.claim()
    assert (again.id, again.attempt) == (parent.id, 1)
    assert again.children == {"succeeded": 1, "failed": 1, "cancelled": 1}
    await jobs.succeed(again)
    assert [a.outcome for a in (await jobs.view(parent.id)).attempts] == ["waiting", "succeeded"]
    assert await jobs.events(parent.id) == [
        "queued",
        "started",
        "waiting",
        "queued",
        "started",
        "succeeded",
    ]


async def test_a_job_that_submits_none_is_told_of_none(jobs: Jobs) -> None:
    job = await jobs.start()
    assert job.children is None
    assert (await jobs.view(job.id)).children is None


async def test_children_of_a_job_that_does_not_wait_run_beside_and_after_it(jobs: Jobs) -> None:
    parent = await jobs.start()
    children = children_of(parent, 2)
    assert await jobs.end(parent, Verdict.SUCCEEDED, result={}, children=children)
    assert await jobs.claimed(types=(WORK,)) == {child.id for child in children}
    assert (await jobs.view(parent.id)).children == {"running": 2}
    page = await jobs.reads.page(ListJobs(parent_id=parent.id), tenant="acme")
    assert {job.id for job in page.jobs} == {child.id for child in children}


async def test_children_of_an_end_that_came_too_late_are_not_stored(jobs: Jobs) -> None:
    parent = await jobs.start()
    await jobs.lose(parent)
    assert not await jobs.end(parent, Verdict.WAITING, children=children_of(parent, 2))
    assert await jobs.claim(types=(WORK,)) == []


async def test_a_job_that_waits_without_children_goes_on_at_once(jobs: Jobs) -> None:
    parent, _ = await waiting(jobs, 0)
    assert await jobs.claimed() == {parent.id}


async def test_a_job_waits_for_the_children_of_its_earlier_attempts_too(jobs: Jobs) -> None:
    parent = await jobs.start()
    first, second = children_of(parent, 2)
    await jobs.end(parent, Verdict.FAILED, error=NOT_YET, retry_in=jobs.moment, children=(first,))
    await jobs.age(parent.id, minutes=1)
    await jobs.store.promote()
    (again,) = await jobs.claim()
    await jobs.end(again, Verdict.WAITING, children=(second,))
    one, two = await jobs.claim(types=(WORK,))
    await jobs.succeed(two)
    assert await jobs.claim() == []
    await jobs.succeed(one)
    (last,) = await jobs.claim()
    assert last.children == {"succeeded": 2}


async def test_a_job_may_wait_several_times(jobs: Jobs) -> None:
    parent, _ = await waiting(jobs, 1)
    for _ in range(2):
        await jobs.succeed(*await jobs.claim(types=(WORK,)))
        (parent,) = await jobs.claim()
        await jobs.end(parent, Verdict.WAITING, children=children_of(parent, 1))
    assert (await jobs.view(parent.id)).children == {"succeeded": 2, "queued": 1}


async def test_children_that_are_over_at_once_do_not_keep_their_parent_waiting(
    jobs: Jobs,
) -> None:
    failed = await jobs.start(type=WORK)
    await jobs.fail(failed)
    parent = await jobs.start()
    children = children_of(parent, 1, after=(failed.id,))
    await jobs.end(parent, Verdict.WAITING, children=children)
    (again,) = await jobs.claim()
    assert again.children == {"cancelled": 1}


async def test_the_cancellation_of_a_waiting_job_cancels_its_children_and_theirs(
    jobs: Jobs,
) -> None:
    parent, children = await waiting(jobs, 2)
    first, second = await jobs.claim(types=(WORK,))
    grandchild = new_job(parent_id=first.id)
    await jobs.end(first, Verdict.WAITING, children=(grandchild,))
    assert await jobs.cancel(parent.id)
    assert await jobs.state(parent.id) == "cancelled"
    assert await jobs.state(first.id) == "cancelled"
    assert await jobs.state(grandchild.id) == "cancelled"
    beat = await jobs.store.heartbeat([jobs.beat(second)], lease_seconds=60)
    assert beat == {second.lease_token: True}
    await jobs.end(second, Verdict.CANCELLED)
    assert {await jobs.state(child.id) for child in children} == {"cancelled"}
    assert await jobs.claim(types=(WAIT, WORK)) == []


async def test_children_of_a_job_that_fails_are_cancelled(jobs: Jobs) -> None:
    parent = await jobs.start()
    (child,) = children_of(parent, 1)
    await jobs.end(parent, Verdict.WAITING, children=(child,))
    await jobs.pool.execute("UPDATE jobs SET deadline_at = now() WHERE id = $1", parent.id)
    assert await jobs.store.expire() == 1
    assert await jobs.state(parent.id) == "failed"
    assert await jobs.state(child.id) == "cancelled"


async def test_a_job_that_somebody_cancelled_does_not_wait_for_its_children(jobs: Jobs) -> None:
    parent = await jobs.start()
    await jobs.cancel(parent.id)
    (child,) = children_of(parent, 1)
    assert await jobs.end(parent, Verdict.WAITING, children=(child,))
    assert await jobs.state(parent.id) == "cancelled"
    assert await jobs.state(child.id) == "cancelled"


async def test_many_children_that_end_at_once_wake_their_parent_once(jobs: Jobs) -> None:
    parent, _ = await waiting(jobs, 60)
    running = await jobs.claim(types=(WORK,))
    await asyncio.gather(*(jobs.succeed(*running[n::6]) for n in range(6)))
    assert await jobs.claimed() == {parent.id}
    assert (await jobs.events(parent.id)).count("queued") == 2
