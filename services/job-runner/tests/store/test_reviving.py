"""Ended jobs run again: which, when, how often, and who said so."""

from typing import Any

import pytest
from lineshaft_common.objects import Objects
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import envelop
from lineshaft_contracts.job_control import JobsRedriven, Redrive, RedriveJobs
from lineshaft_contracts.jobs import JobState
from lineshaft_contracts.problems import ProblemError
from lineshaft_job_runner.job import ClaimedJob
from lineshaft_job_runner.large_parameters import LargeParameters
from lineshaft_job_runner.steering import Steering
from lineshaft_job_runner.store.audit import AuditStore
from lineshaft_job_runner.store.limits import LimitStore
from lineshaft_job_runner.store.obstacles import Obstacles
from lineshaft_job_runner.store.reads import JobReads
from lineshaft_job_runner.store.reviving import RevivingStore

from .driver import WORK, Jobs, new_job

pytestmark = pytest.mark.integration


@pytest.fixture
def reviving(pool: Pool) -> RevivingStore:
    return RevivingStore(pool, on_announced=lambda: None)


async def redrive(reviving: RevivingStore, *, tenant: str = "acme", **wanted: Any) -> JobsRedriven:
    return await reviving.redrive(Redrive(**wanted), tenant=tenant, actor="k", attempts={})


async def failed(jobs: Jobs, **changes: Any) -> ClaimedJob:
    job = await jobs.start(**changes)
    await jobs.fail(job)
    return job


async def test_a_failed_job_gets_its_attempts_anew_and_keeps_its_history(
    jobs: Jobs, reviving: RevivingStore
) -> None:
    job = await failed(jobs, attempts_max=1)
    for round_ in (1, 2):
        assert await reviving.retry(job.id, tenant="acme", actor="k", attempts=2)
        assert not await reviving.retry(job.id, tenant="acme", actor="k", attempts=2)
        (again,) = await jobs.claim()
        assert (again.id, again.attempt) == (job.id, round_ + 1)
        assert again.attempts_max == again.attempt + 1
        await jobs.fail(again)
    view = await jobs.view(job.id)
    assert [(a.number, a.outcome) for a in view.attempts] == [(n, "failed") for n in (1, 2, 3)]


async def test_nobody_runs_the_jobs_of_others_again_or_those_that_succeeded(
    jobs: Jobs, reviving: RevivingStore
) -> None:
    job = await failed(jobs)
    good = await jobs.start()
    await jobs.succeed(good)
    assert not await reviving.retry(job.id, tenant="rival", actor="k", attempts=3)
    assert not await reviving.retry(good.id, tenant="acme", actor="k", attempts=3)
    assert (await redrive(reviving, tenant="rival")).matched == 0
    redriven = await redrive(reviving, states=tuple(JobState)[6:9])
    assert (redriven.matched, redriven.redriven) == (1, 1)


async def test_a_redrive_takes_what_matches_and_a_dry_run_only_counts_it(
    jobs: Jobs, reviving: RevivingStore, pool: Pool
) -> None:
    job, other = await failed(jobs), await failed(jobs, type=WORK)
    wanted = {"job_type": job.type, "error_code": "never"}
    counted = await redrive(reviving, **wanted, dry_run=True)
    assert (counted.matched, counted.redriven, counted.last_run_at) == (1, 0, None)
    redriven = await redrive(reviving, **wanted)
    assert (redriven.matched, redriven.redriven) == (1, 1)
    assert (await redrive(reviving, **wanted)).matched == 0
    assert await jobs.claimed() == {job.id}
    assert await jobs.state(other.id) == "failed"
    audit = await AuditStore(pool).page(tenant="acme", limit=10, cursor=None)
    assert [entry.details["redriven"] for entry in audit.entries] == [0, 1, 0]


async def test_redriven_jobs_start_one_behind_the_other(
    jobs: Jobs, reviving: RevivingStore
) -> None:
    ended = [await failed(jobs) for _ in range(3)]
    redriven = await redrive(reviving, per_second=0.1)
    views = [await jobs.view(job.id) for job in ended]
    assert [view.state for view in views] == ["queued", "scheduled", "scheduled"]
    first, second, last = (view.run_at for view in views)
    assert first is not None
    assert second is not None
    assert last is not None
    assert [(second - first).seconds, (last - first).seconds] == [10, 20]
    assert redriven.last_run_at == last
    assert await jobs.claimed() == {ended[0].id}


async def test_of_jobs_with_one_unique_key_one_runs_again(
    jobs: Jobs, reviving: RevivingStore
) -> None:
    first = await failed(jobs, unique_key="a")
    second = await failed(jobs, unique_key="a")
    redriven = await redrive(reviving)
    assert (redriven.matched, redriven.redriven) == (2, 1)
    assert await jobs.state(second.id) == "failed"
    assert await jobs.accept(new_job(unique_key="a")) == [(first.id, False)]


async def test_a_redriven_job_waits_for_its_turn(jobs: Jobs, reviving: RevivingStore) -> None:
    job = await failed(jobs, order_key="line 1")
    running = await jobs.start(order_key="line 1")
    assert (await redrive(reviving)).redriven == 1
    assert await jobs.claimed() == set()
    await jobs.succeed(running)
    assert await jobs.claimed() == {job.id}


async def test_a_redrive_that_would_go_on_for_decades_is_refused(
    jobs: Jobs, reviving: RevivingStore, pool: Pool
) -> None:
    await failed(jobs)
    reads = JobReads(pool, LargeParameters(Objects("memory:///")))
    steering = Steering(
        obstacles=Obstacles(pool),
        limits=LimitStore(pool),
        reviving=reviving,
        audit=AuditStore(pool),
        reads=reads,
        served=NothingServed(),
    )
    command = RedriveJobs(redrive=Redrive(per_second=1e-300), actor="k")
    asked = envelop(command, source="/services/test", tenant="acme", subject="x")
    with pytest.raises(ProblemError, match="spread") as refused:
        await steering.redrive(asked)
    assert refused.value.problem.errors[0].pointer == "/per_second"


class NothingServed:
    async def attempts(self) -> dict[str, int]:
        return {}
