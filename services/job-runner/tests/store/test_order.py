"""Jobs with an order key run one at a time, in the order in which they became ready."""

import asyncio
from typing import Any

import pytest
from lineshaft_contracts.envelope import Priority
from lineshaft_contracts.jobs import AfterFailure
from lineshaft_job_runner.job import Verdict

from .driver import NOT_YET, WAIT, WORK, Jobs, new_job

pytestmark = pytest.mark.integration


async def queue(jobs: Jobs, number: int, **changes: Any) -> list[Any]:
    """Submit jobs of one key, one after the other."""
    return [await jobs.submit(order_key="k", **changes) for _ in range(number)]


async def test_one_at_a_time_in_the_order_of_their_submission(jobs: Jobs) -> None:
    batch = [new_job(order_key="k") for _ in range(3)]
    await jobs.accept(*batch)
    later = await queue(jobs, 2)
    for job in [*batch, *later]:
        (claimed,) = await jobs.claim()
        assert claimed.id == job.id
        assert await jobs.claim() == []
        await jobs.succeed(claimed)
    assert await jobs.claim() == []


async def test_an_order_key_holds_for_all_types_of_one_tenant(jobs: Jobs) -> None:
    first, second = await jobs.submit(order_key="k"), await jobs.submit(order_key="k", type=WORK)
    other = await jobs.submit(order_key="k", tenant="rival")
    free = await jobs.submit(order_key="l")
    assert await jobs.claimed(types=(WAIT, WORK)) == {first.id, other.id, free.id}
    assert await jobs.state(second.id) == "queued"


async def test_priority_does_not_count_within_a_key(jobs: Jobs) -> None:
    low = await jobs.submit(order_key="k", priority=Priority.LOW)
    urgent = await jobs.submit(order_key="k", priority=Priority.CRITICAL)
    assert await jobs.claimed() == {low.id}
    assert await jobs.state(urgent.id) == "queued"


async def test_a_job_for_a_later_time_comes_after_those_that_were_ready_before(
    jobs: Jobs,
) -> None:
    later = await jobs.submit(order_key="k", run_at=jobs.soon())
    holder, waiting = await queue(jobs, 2)
    (claimed,) = await jobs.claim()
    assert claimed.id == holder.id
    await jobs.pool.execute(
        "UPDATE jobs SET run_at = now(), ready_at = now() WHERE id = $1", later.id
    )
    await jobs.store.promote()
    await jobs.succeed(claimed)
    assert await jobs.claimed() == {waiting.id}


async def test_a_job_whose_time_has_come_starts_when_nobody_holds_the_turn(jobs: Jobs) -> None:
    later = await jobs.submit(order_key="k", run_at=jobs.soon())
    await jobs.age(later.id, hours=2)
    assert await jobs.store.promote() == 1
    assert await jobs.claimed() == {later.id}


@pytest.mark.parametrize(
    "end",
    [
        {"verdict": Verdict.FAILED, "error": NOT_YET, "retry_in": Jobs.moment},
        {"verdict": Verdict.SNOOZED, "retry_in": Jobs.moment},
        {"verdict": Verdict.RELEASED},
    ],
    ids=["retrying", "snoozed", "released"],
)
async def test_a_job_that_goes_on_later_keeps_its_turn(jobs: Jobs, end: Any) -> None:
    first, second = await queue(jobs, 2)
    (claimed,) = await jobs.claim()
    await jobs.end(claimed, **end)
    assert second.id not in await jobs.claimed()
    await jobs.age(first.id, minutes=1)
    await jobs.store.promote()
    assert await jobs.claimed() <= {first.id}


async def test_a_job_whose_worker_was_lost_keeps_its_turn(jobs: Jobs) -> None:
    first, _ = await queue(jobs, 2)
    (claimed,) = await jobs.claim()
    await jobs.lose(claimed)
    assert await jobs.claimed() == {first.id}


async def test_a_job_that_waits_for_its_children_keeps_its_turn(jobs: Jobs) -> None:
    first, second = await queue(jobs, 2)
    (claimed,) = await jobs.claim()
    child = new_job(parent_id=first.id)
    await jobs.end(claimed, Verdict.WAITING, children=(child,))
    (running,) = await jobs.claim()
    assert running.id == child.id
    await jobs.succeed(running)
    (again,) = await jobs.claim()
    assert again.id == first.id
    await jobs.succeed(again)
    assert await jobs.claimed() == {second.id}


@pytest.mark.parametrize("end", ["failed", "cancelled", "late", "quarantined"])
async def test_the_next_gets_its_turn_however_the_one_before_ended(jobs: Jobs, end: str) -> None:
    first, second = await queue(jobs, 2)
    if end == "failed":
        await jobs.fail((await jobs.claim())[0])
    elif end == "cancelled":
        await jobs.cancel(first.id)
    elif end == "late":
        await jobs.pool.execute("UPDATE jobs SET deadline_at = now() WHERE id = $1", first.id)
        assert await jobs.store.expire() == 1
    else:
        (claimed,) = await jobs.claim()
        await jobs.pool.execute("UPDATE jobs SET losses = 2 WHERE id = $1", first.id)
        await jobs.lose(claimed)
    assert await jobs.claimed() == {second.id}


async def test_one_that_waits_for_its_turn_may_be_cancelled(jobs: Jobs) -> None:
    first, second, third = await queue(jobs, 3)
    await jobs.cancel(second.id)
    (claimed,) = await jobs.claim()
    assert claimed.id == first.id
    await jobs.succeed(claimed)
    assert await jobs.claimed() == {third.id}


async def test_a_job_that_comes_after_another_asks_for_its_turn_when_it_is_ready(
    jobs: Jobs,
) -> None:
    before = await jobs.start()
    behind = await jobs.submit(order_key="k", after=(before.id,), after_failure=AfterFailure.RUN)
    running = await jobs.start(order_key="k")
    await jobs.fail(before)
    assert await jobs.claim() == []
    assert await jobs.state(behind.id) == "queued"
    await jobs.succeed(running)
    assert await jobs.claimed() == {behind.id}


async def test_submissions_at_once_give_one_turn(jobs: Jobs) -> None:
    for _ in range(3):
        batches = [[new_job(order_key="k") for _ in range(3)] for _ in range(5)]
        await asyncio.gather(*(jobs.accept(*batch) for batch in batches))
        for _ in range(15):
            (claimed,) = await jobs.claim()
            await jobs.succeed(claimed)
        assert await jobs.claim() == []


async def test_a_job_that_waits_for_children_of_its_own_key_lets_them_run(jobs: Jobs) -> None:
    parent = await jobs.start(order_key="k")
    child = new_job(parent_id=parent.id, order_key="k", type=WORK)
    other = new_job(parent_id=parent.id, type=WORK)
    assert await jobs.end(parent, Verdict.WAITING, children=(child, other))
    claimed = {job.id: job for job in await jobs.claim(types=(WAIT, WORK))}
    assert claimed.keys() == {child.id, other.id}
    await jobs.succeed(claimed[child.id])
    next_one = await jobs.start(order_key="k")
    await jobs.succeed(claimed[other.id])
    assert await jobs.state(parent.id) == "queued"
    assert await jobs.claim() == []
    await jobs.succeed(next_one)
    (again,) = await jobs.claim()
    assert again.id == parent.id
    behind = await jobs.submit(order_key="k")
    await jobs.succeed(again)
    assert await jobs.claimed() == {behind.id}


async def test_a_job_lets_those_run_whose_key_is_its_own_below_its_children(jobs: Jobs) -> None:
    parent = await jobs.start(order_key="k")
    child = new_job(parent_id=parent.id)
    assert await jobs.end(parent, Verdict.WAITING, children=(child,))
    (claimed,) = await jobs.claim()
    grandchild = new_job(parent_id=child.id, order_key="k")
    assert await jobs.end(claimed, Verdict.WAITING, children=(grandchild,))
    for expected in (grandchild, child, parent):
        (running,) = await jobs.claim()
        assert running.id == expected.id
        await jobs.succeed(running)
