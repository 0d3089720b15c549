"""Which waiting jobs a worker gets, and that no two workers get the same."""

import asyncio

import pytest
from lineshaft_contracts.envelope import Priority
from lineshaft_job_runner.store import claiming

from .driver import LEASE_SECONDS, WAIT, WORK, Jobs, new_job, somebody_waits

pytestmark = pytest.mark.integration


async def test_a_claim_takes_the_most_urgent_of_all_types(jobs: Jobs) -> None:
    low = new_job(type=WAIT, priority=Priority.LOW)
    urgent = new_job(type=WORK, priority=Priority.CRITICAL)
    other = new_job(type="trial.other", priority=Priority.CRITICAL)
    await jobs.accept(low, other, urgent)
    assert await jobs.claimed(1, (WAIT, WORK)) == {urgent.id}
    assert await jobs.claimed(5, (WAIT, WORK)) == {low.id}


async def test_a_claim_never_takes_a_type_that_it_does_not_name(jobs: Jobs) -> None:
    await jobs.submit(type=WORK)
    assert await jobs.claim(types=(WAIT,)) == []
    assert await jobs.claim(types=()) == []


async def test_jobs_of_one_priority_start_in_the_order_of_their_submission(jobs: Jobs) -> None:
    batch = [new_job() for _ in range(4)]
    await jobs.accept(*batch)
    last = await jobs.submit()
    for job in [*batch, last]:
        assert await jobs.claimed(1) == {job.id}


@pytest.mark.parametrize(
    ("priority", "minutes"), [(Priority.HIGH, 1), (Priority.NORMAL, 5), (Priority.LOW, 30)]
)
async def test_an_urgent_job_overtakes_only_what_waits_for_less_than_its_allowance(
    jobs: Jobs, priority: Priority, minutes: int
) -> None:
    fresh, old = await jobs.submit(priority=priority), await jobs.submit(priority=priority)
    await jobs.age(fresh.id, minutes=minutes, seconds=-10)
    await jobs.age(old.id, minutes=minutes, seconds=10)
    urgent = await jobs.submit(priority=Priority.CRITICAL)
    for job in (old, urgent, fresh):
        assert await jobs.claimed(1) == {job.id}


async def test_a_tenant_with_one_job_waits_for_one_place(jobs: Jobs) -> None:
    await jobs.backlog(10_000, tenant="flood")
    assert len(await jobs.claim(4)) == 4
    one = await jobs.submit(tenant="drop", priority=Priority.LOW)
    assert one.id in await jobs.claimed(1)
    assert {job.tenant for job in await jobs.claim(4)} == {"flood"}


async def test_tenants_that_wait_get_the_same_number_of_places(jobs: Jobs) -> None:
    for tenant in ("a", "b", "c"):
        await jobs.backlog(50, tenant=tenant)
    await jobs.backlog(50, tenant="a", type=WORK)
    claimed = await jobs.claim(12, (WAIT, WORK))
    assert sorted(job.tenant for job in claimed) == ["a"] * 4 + ["b"] * 4 + ["c"] * 4


async def test_what_a_tenant_runs_already_counts_for_its_share(jobs: Jobs) -> None:
    await jobs.backlog(50, tenant="a")
    assert len(await jobs.claim(6)) == 6
    await jobs.backlog(50, tenant="b")
    tenants = [job.tenant for job in await jobs.claim(8)]
    assert (tenants.count("a"), tenants.count("b")) == (1, 7)


async def test_two_workers_that_claim_at_once_never_take_the_same_job(jobs: Jobs) -> None:
    await jobs.backlog(300)

    async def work(name: str) -> list[str]:
        worker, taken = jobs.worker(name), list[str]()
        while claimed := await worker.claim([WAIT], limit=7, lease_seconds=LEASE_SECONDS):
            taken += [str(job.id) for job in claimed]
        return taken

    taken = await asyncio.gather(*(work(f"w{n}") for n in range(4)))
    everything = [job_id for some in taken for job_id in some]
    assert len(everything) == len(set(everything)) == 300


async def test_a_worker_that_freezes_in_its_claim_keeps_others_waiting_for_five_seconds(
    jobs: Jobs,
) -> None:
    await jobs.submit()
    frozen = await jobs.pool.acquire()
    transaction = frozen.transaction()
    await transaction.start()
    assert (
        len(await claiming.choose(frozen, [WAIT], places=1, positions=claiming.Positions())) == 1
    )
    async with asyncio.timeout(8):
        assert len(await jobs.claim()) == 1
    await jobs.pool.release(frozen)


async def test_a_claim_goes_on_past_a_job_that_is_cancelled_at_that_moment(jobs: Jobs) -> None:
    doomed, other = await jobs.submit(), await jobs.submit()
    async with jobs.pool.acquire() as connection:
        async with connection.transaction():
            await connection.execute("DELETE FROM jobs WHERE id = $1", doomed.id)
            claim = asyncio.create_task(jobs.claimed())
            await somebody_waits(jobs.pool)
        assert await claim == {other.id}


async def test_the_number_of_attempts_and_the_time_that_it_waited_are_told(jobs: Jobs) -> None:
    job = await jobs.submit(parameters='{"seconds": 2}')
    await jobs.age(job.id, seconds=100)
    (claimed,) = await jobs.claim()
    assert (claimed.attempt, claimed.attempts_max) == (1, 3)
    assert claimed.parameters == {"seconds": 2}
    assert 100 <= claimed.waited_seconds < 160
    view = await jobs.view(job.id)
    assert [(a.number, a.worker, a.outcome) for a in view.attempts] == [(1, "one", None)]
    assert await jobs.events(job.id) == ["queued", "started"]


async def test_a_tenant_with_a_limit_key_for_each_job_delays_nobody(jobs: Jobs) -> None:
    await many_keys(jobs, 50_000)
    other = await jobs.submit(tenant="other")
    async with asyncio.timeout(2):
        assert other.id in await jobs.claimed(2)


async def test_every_limit_key_gets_its_turn_however_many_there_are(jobs: Jobs) -> None:
    number = claiming.KEYS_MAX * 2
    await many_keys(jobs, number)
    last = await jobs.submit(tenant="flood", limit_key="z")
    await jobs.age(last.id, minutes=10)
    claimed = [await jobs.claimed(1) for _ in range(3)]
    assert claimed[2] == {last.id}
    while some := await jobs.claimed(400):
        claimed.append(some)
    assert sum(map(len, claimed)) == number + 1


async def many_keys(jobs: Jobs, number: int) -> None:
    """Let jobs wait of which each uses something of its own."""
    await jobs.pool.execute(
        """
        INSERT INTO jobs (id, tenant, type, state, priority, parameters, ready_at, rank,
                          attempts_max, timeout_seconds, limit_key)
        SELECT gen_random_uuid(), 'flood', $2, 'queued', 2, '{}', now(), now(), 3, 10,
               'k' || n FROM generate_series(1, $1) AS n
        """,
        number,
        WAIT,
    )
    await jobs.pool.execute("VACUUM ANALYZE jobs", timeout=60)
