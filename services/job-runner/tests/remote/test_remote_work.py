"""What a worker over AMQP can rely on, and what it cannot do."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.job_work import WorkItem, WorkOutcome
from lineshaft_contracts.jobs import JobError, JobState, JobView, Progress
from lineshaft_contracts.problems import ProblemError

pytestmark = pytest.mark.integration

BROKEN = JobError(code="printer_jammed", message="Paper is stuck.")
CHECKPOINT = {"printed": 3}


class Platform(Protocol):
    pool: Any
    settings: Any

    def engine(self, **changes: Any) -> Any: ...
    def worker(self, name: str = "labels-1") -> Any: ...
    async def submit(self, job_type: str = "label.print", **more: Any) -> UUID: ...
    async def cancel(self, job_id: UUID) -> None: ...
    async def job(self, job_id: UUID) -> JobView: ...
    async def becomes(self, job_id: UUID, *states: JobState) -> JobView: ...


def put_out_of_reach(platform: Platform, job_id: UUID) -> None:
    """Let the object store answer with an error that does not say that it has nothing."""
    folder = Path(urlsplit(str(platform.settings.object_store_url)).path) / f"jobs/acme/{job_id}"
    folder.rename(folder.with_suffix(".moved"))
    folder.touch()


async def started(platform: Platform, **more: Any) -> tuple[Any, WorkItem]:
    """A worker with a job of its own under way."""
    worker = platform.worker()
    await worker.offer()
    job_id = await platform.submit(**more)
    item = await worker.next()
    assert item.job_id == job_id
    return worker, item


async def test_a_job_runs_at_a_worker_over_amqp(platform: Platform) -> None:
    async with platform.engine():
        worker, item = await started(
            platform, parameters={"material_lot_id": "LOT-0007"}, priority="high"
        )
        assert (item.tenant, item.attempt, item.checkpoint) == ("acme", 1, None)
        assert item.parameters == {"material_lot_id": "LOT-0007"}
        assert await worker.fetch() == []
        half = Progress(done=1, total=2, message="LOT-0007")
        held = await worker.beat(item, progress=half)
        assert (held.held, held.cancelled) == ((item.lease_token,), ())
        running = await platform.job(item.job_id)
        assert (running.state, running.progress) == (JobState.RUNNING, half)
        assert await worker.end(
            item, WorkOutcome.SUCCEEDED, result={"labels": 2}, progress=Progress(done=2, total=2)
        )
        job = await platform.job(item.job_id)
    assert (job.state, job.result, job.attempt) == (JobState.SUCCEEDED, {"labels": 2}, 1)
    assert [(a.worker, a.outcome) for a in job.attempts] == [("labels-1", "succeeded")]
    assert job.progress.done == 2


async def test_an_end_is_stored_once_and_by_nobody_else(platform: Platform) -> None:
    async with platform.engine():
        worker, item = await started(platform)
        stranger = item.model_copy(update={"lease_token": uuid7()})
        assert not await worker.end(stranger, WorkOutcome.SUCCEEDED)
        assert (await worker.beat(stranger)).held == ()
        assert await worker.end(item, WorkOutcome.SUCCEEDED, result={"labels": 1})
        assert not await worker.end(item, WorkOutcome.FAILED, error=BROKEN)
        job = await platform.job(item.job_id)
    assert (job.state, job.result) == (JobState.SUCCEEDED, {"labels": 1})


async def test_a_silent_worker_loses_the_job_and_the_next_one_goes_on(platform: Platform) -> None:
    async with platform.engine(lease_seconds=2.0):
        silent, item = await started(platform)
        await silent.beat(item, checkpoint=CHECKPOINT)
        other = platform.worker("labels-2")
        await other.offer()
        again = await other.next()
        assert (again.job_id, again.checkpoint) == (item.job_id, CHECKPOINT)
        assert again.lease_token != item.lease_token
        assert (await silent.beat(item)).held == ()
        assert not await silent.end(item, WorkOutcome.SUCCEEDED, result={"from": "the dead"})
        assert await other.end(again, WorkOutcome.SUCCEEDED, result={"labels": 1})
        job = await platform.job(item.job_id)
    assert (job.state, job.result) == (JobState.SUCCEEDED, {"labels": 1})
    assert [a.outcome for a in job.attempts] == ["lost", "succeeded"]


async def test_beats_keep_a_job_for_longer_than_a_lease(platform: Platform) -> None:
    async with platform.engine(lease_seconds=2.0):
        worker, item = await started(platform)
        ends = asyncio.get_running_loop().time() + 3.5
        while asyncio.get_running_loop().time() < ends:
            assert (await worker.beat(item)).held == (item.lease_token,)
            await asyncio.sleep(0.3)
        assert await worker.end(item, WorkOutcome.SUCCEEDED)
        job = await platform.job(item.job_id)
    assert [a.outcome for a in job.attempts] == ["succeeded"]


@pytest.mark.parametrize("outcome", [WorkOutcome.CANCELLED, WorkOutcome.FAILED])
async def test_a_cancelled_job_is_cancelled_however_the_worker_ends_it(
    platform: Platform, outcome: WorkOutcome
) -> None:
    async with platform.engine():
        worker, item = await started(platform)
        await platform.cancel(item.job_id)
        held = await worker.beat(item)
        assert held.held == held.cancelled == (item.lease_token,)
        assert await worker.end(item, outcome, error=BROKEN)
        job = await platform.job(item.job_id)
    assert job.state is JobState.CANCELLED


async def test_a_job_that_nobody_cancelled_cannot_be_ended_as_cancelled(
    platform: Platform,
) -> None:
    async with platform.engine():
        worker, item = await started(platform, attempts_max=1)
        assert await worker.end(item, WorkOutcome.CANCELLED)
        job = await platform.job(item.job_id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert "nobody had asked" in job.error.message


async def test_a_snoozed_job_comes_again_and_the_attempt_does_not_count(
    platform: Platform,
) -> None:
    async with platform.engine():
        worker, item = await started(platform)
        assert await worker.end(item, WorkOutcome.SNOOZED, again_seconds=1)
        job = await platform.job(item.job_id)
        assert (job.state, job.attempt) == (JobState.SCHEDULED, 0)
        again = await worker.next()
        assert (again.job_id, again.attempt) == (item.job_id, 1)
        assert await worker.end(again, WorkOutcome.SUCCEEDED)


async def test_a_released_job_is_queued_again_at_once(platform: Platform) -> None:
    async with platform.engine():
        worker, item = await started(platform)
        assert await worker.end(item, WorkOutcome.RELEASED)
        (again,) = await worker.fetch()
        assert (again.job_id, again.attempt) == (item.job_id, 1)
        assert await worker.end(again, WorkOutcome.SUCCEEDED)
        job = await platform.job(item.job_id)
    assert [a.outcome for a in job.attempts] == ["released", "succeeded"]


async def test_a_failed_job_is_tried_again_as_often_as_its_type_says(platform: Platform) -> None:
    async with platform.engine():
        worker = platform.worker()
        await worker.offer(attempts_max=2)
        job_id = await platform.submit()
        first = await worker.next()
        assert first.attempts_max == 2
        assert await worker.end(first, WorkOutcome.FAILED, error=BROKEN)
        assert (await platform.job(job_id)).state is JobState.RETRYING
        second = await worker.next()
        assert second.attempt == 2
        assert await worker.end(second, WorkOutcome.FAILED, error=BROKEN)
        job = await platform.job(job_id)
    assert (job.state, job.error) == (JobState.FAILED, BROKEN)


async def test_a_permanent_error_is_not_tried_again(platform: Platform) -> None:
    final = BROKEN.model_copy(update={"retryable": False, "message": "a\x00b" * 3_000})
    async with platform.engine():
        worker, item = await started(platform)
        assert await worker.end(item, WorkOutcome.FAILED, error=final)
        job = await platform.job(item.job_id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error.message[:4], len(job.error.message)) == ("abab", 2_000)


@pytest.mark.parametrize(
    ("result", "code"),
    [({"zpl": "x" * 70_000}, "result_too_large"), ({"zpl": "\x00"}, "result_not_storable")],
)
async def test_a_result_that_cannot_be_kept_fails_the_job_and_no_other(
    platform: Platform, result: dict[str, Any], code: str
) -> None:
    async with platform.engine():
        worker, item = await started(platform)
        assert await worker.end(item, WorkOutcome.SUCCEEDED, result=result)
        job = await platform.job(item.job_id)
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert job.error.code == code


async def test_a_checkpoint_that_cannot_be_kept_is_named_and_costs_no_lease(
    platform: Platform,
) -> None:
    async with platform.engine(lease_seconds=2.0):
        worker, item = await started(platform)
        for _ in range(9):
            with pytest.raises(ProblemError) as refused:
                await worker.beat(item, checkpoint={"text": "\x00"})
            assert refused.value.problem.errors[0].pointer == "/beats/0/checkpoint"
            await asyncio.sleep(0.3)
        assert await worker.end(item, WorkOutcome.SUCCEEDED)


async def test_an_attempt_beyond_its_time_is_ended_for_the_worker(platform: Platform) -> None:
    async with platform.engine(lease_seconds=1.0):
        worker, item = await started(platform, timeout_seconds=0.5)
        assert item.timeout_seconds == 0.5
        async with asyncio.timeout(10):
            while (await worker.beat(item)).held:
                await asyncio.sleep(0.2)
        job = await platform.job(item.job_id)
        assert not await worker.end(item, WorkOutcome.SUCCEEDED)
    assert job.state is JobState.RETRYING
    assert job.error is not None
    assert job.error.code == "timeout"


async def test_a_job_past_its_deadline_fails_however_long_the_worker_beats(
    platform: Platform,
) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=3)
    async with platform.engine():
        worker, item = await started(platform, deadline_at=deadline)
        assert item.timeout_seconds <= 3
        async with asyncio.timeout(10):
            while (await worker.beat(item)).held:
                await asyncio.sleep(0.2)
        job = await platform.becomes(item.job_id, JobState.FAILED)
    assert job.error is not None
    assert job.error.code == "deadline_exceeded"


async def test_a_worker_may_fetch_only_what_it_offers(platform: Platform) -> None:
    async with platform.engine():
        await platform.worker("labels-1").offer()
        for worker, job_type in (("labels-2", "label.print"), ("labels-1", "report.generate")):
            with pytest.raises(ProblemError) as refused:
                await platform.worker(worker).fetch(job_type)
            assert refused.value.problem.code == "job_type_not_offered"


async def test_jobs_of_other_types_are_left_alone(platform: Platform) -> None:
    async with platform.engine():
        worker, item = await started(platform)
        other = await platform.submit("tool.sharpen")
        assert await worker.fetch() == []
        assert (await platform.job(other)).state is JobState.QUEUED
        assert await worker.end(item, WorkOutcome.SUCCEEDED)


async def test_large_parameters_reach_a_worker_over_amqp_a_few_at_a_time(
    platform: Platform,
) -> None:
    note = "x" * 950_000
    async with platform.engine():
        worker = platform.worker()
        await worker.offer()
        jobs = {await platform.submit(parameters={"note": note}) for _ in range(11)}
        few = await worker.fetch(jobs_max=11)
        rest = await worker.fetch(jobs_max=11)
        assert (len(few), len(rest)) == (9, 2)
        assert {item.job_id for item in (*few, *rest)} == jobs
        assert all(item.parameters == {"note": note} for item in (*few, *rest))
        assert {item.attempt for item in rest} == {1}


async def test_a_hundred_jobs_with_all_that_a_row_may_hold_fit_one_message_after_the_other(
    platform: Platform,
) -> None:
    async with platform.engine():
        worker = platform.worker()
        await worker.offer()
        await platform.pool.execute(
            """
            INSERT INTO jobs (id, tenant, type, state, priority, parameters, ready_at, rank,
                              attempts_max, timeout_seconds, checkpoint)
            SELECT gen_random_uuid(), 'acme', $1, 'queued', 2, kept, now(), now(), 3, 10, kept
            FROM generate_series(1, 100), jsonb_build_object('x', repeat('y', 65500)) AS kept
            """,
            "label.print",
        )
        fetched = [len(await worker.fetch(jobs_max=100)) for _ in range(2)]
        assert min(fetched) > 30
        assert sum(fetched) == 100
        assert not await platform.pool.fetchval("SELECT max(losses) FROM jobs")


async def test_parameters_that_cannot_be_had_cost_a_worker_over_amqp_no_other_job(
    platform: Platform,
) -> None:
    async with platform.engine():
        worker = platform.worker()
        await worker.offer()
        broken = await platform.submit(parameters={"note": "x" * 100_000})
        put_out_of_reach(platform, broken)
        good = await platform.submit()
        assert [item.job_id for item in await worker.fetch(jobs_max=10)] == [good]
        job = await platform.becomes(broken, JobState.RETRYING)
        assert job.attempts[0].error is not None
        assert job.attempts[0].error.code == "parameters_unavailable"
