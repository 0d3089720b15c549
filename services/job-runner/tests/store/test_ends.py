"""How attempts and jobs end: reports, releases, losses, cancellations, deadlines."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lineshaft_contracts.jobs import Artifact, Progress
from lineshaft_job_runner.job import ClaimedJob, StoredArtifact, Verdict

from .driver import NEVER, NOT_YET, Jobs

pytestmark = pytest.mark.integration

GOES_ON: Any = pytest.mark.parametrize(
    "end",
    [
        {"verdict": Verdict.RELEASED},
        {"verdict": Verdict.FAILED, "error": NOT_YET, "retry_in": Jobs.moment},
        {"verdict": Verdict.SNOOZED, "retry_in": Jobs.moment},
        {"verdict": Verdict.WAITING},
    ],
    ids=["released", "retrying", "snoozed", "waiting"],
)


async def make_late(jobs: Jobs, job: ClaimedJob) -> None:
    await jobs.pool.execute("UPDATE jobs SET deadline_at = now() WHERE id = $1", job.id)


async def test_a_result_is_kept_with_its_artifacts_and_progress(jobs: Jobs) -> None:
    job = await jobs.start()
    artifact = Artifact(name="a.csv", media_type="text/csv", bytes=3, sha256="0" * 64, rows=1)
    await jobs.end(
        job,
        Verdict.SUCCEEDED,
        result={"n": 1},
        artifacts=(StoredArtifact(artifact=artifact, object_key="k/a"),),
        progress=Progress(done=2, total=2, message="done"),
    )
    view = await jobs.view(job.id)
    assert (view.result, view.artifacts) == ({"n": 1}, (artifact,))
    assert view.progress == Progress(done=2, total=2, message="done")
    found = await jobs.reads.artifact(job.id, "a.csv", tenant="acme")
    assert found is not None
    assert found.object_key == "k/a"
    assert await jobs.reads.artifact(job.id, "a.csv", tenant="rival") is None
    assert await jobs.reads.artifact(job.id, "b.csv", tenant="acme") is None


@GOES_ON
async def test_a_job_that_was_cancelled_while_it_ran_does_not_run_again(
    jobs: Jobs, end: Any
) -> None:
    job = await jobs.start()
    assert await jobs.cancel(job.id)
    assert await jobs.end(job, **end)
    view = await jobs.view(job.id)
    assert (view.state, view.attempt, view.run_at) == ("cancelled", 1, None)
    assert view.finished_at is not None
    assert await jobs.events(job.id) == ["queued", "started", "cancelled"]


@GOES_ON
async def test_a_job_whose_deadline_passed_while_it_ran_does_not_run_again(
    jobs: Jobs, end: Any
) -> None:
    job = await jobs.start()
    await make_late(jobs, job)
    assert await jobs.store.expire() == 0
    assert await jobs.end(job, **end)
    assert await jobs.state(job.id) == "failed"
    assert await jobs.error(job.id) == "deadline_exceeded"
    assert await jobs.events(job.id) == ["queued", "started", "failed"]


async def test_a_job_that_succeeds_after_its_deadline_has_succeeded(jobs: Jobs) -> None:
    job = await jobs.start()
    await make_late(jobs, job)
    await jobs.succeed(job)
    assert await jobs.state(job.id) == "succeeded"


@pytest.mark.parametrize("state", ["waiting", "scheduled", "queued", "retrying"])
async def test_a_job_that_does_not_run_fails_at_its_deadline(jobs: Jobs, state: str) -> None:
    first = await jobs.start()
    later = datetime.now(UTC) + timedelta(hours=2)
    changes: dict[str, Any] = {
        "waiting": {"after": (first.id,)},
        "scheduled": {"run_at": jobs.soon()},
        "queued": {},
        "retrying": {},
    }
    job = await jobs.submit(deadline_at=later, **changes[state])
    if state == "retrying":
        (claimed,) = await jobs.claim()
        await jobs.end(claimed, Verdict.FAILED, error=NOT_YET, retry_in=timedelta(hours=1))
    assert await jobs.state(job.id) == state
    assert await jobs.store.expire() == 0
    await jobs.pool.execute("UPDATE jobs SET deadline_at = now() WHERE id = $1", job.id)
    assert await jobs.store.expire() == 1
    assert await jobs.error(job.id) == "deadline_exceeded"
    assert (await jobs.events(job.id))[-1] == "failed"
    await jobs.succeed(first)


async def test_a_snooze_gives_the_attempt_back_and_sets_another_time(jobs: Jobs) -> None:
    job = await jobs.start()
    await jobs.end(job, Verdict.SNOOZED, retry_in=timedelta(minutes=10), checkpoint={"at": 7})
    view = await jobs.view(job.id)
    assert (view.state, view.attempt, view.attempts_max) == ("scheduled", 0, 3)
    assert [a.outcome for a in view.attempts] == ["snoozed"]
    assert await jobs.store.promote() == 0
    await jobs.age(job.id, minutes=10)
    assert await jobs.store.promote() == 1
    (again,) = await jobs.claim()
    assert (again.attempt, again.checkpoint) == (1, {"at": 7})


async def test_a_release_gives_the_attempt_and_the_place_in_the_queue_back(jobs: Jobs) -> None:
    job = await jobs.start()
    other = await jobs.submit()
    await jobs.end(job, Verdict.RELEASED)
    (again,) = await jobs.claim(1)
    assert (again.id, again.attempt) == (job.id, 1)
    assert await jobs.claimed() == {other.id}


async def test_a_retry_comes_at_its_time_with_the_error_told(jobs: Jobs) -> None:
    job = await jobs.start()
    await jobs.end(job, Verdict.FAILED, error=NOT_YET, retry_in=timedelta(minutes=10))
    view = await jobs.view(job.id)
    assert (view.state, view.error, view.attempt) == ("retrying", NOT_YET, 1)
    assert await jobs.store.promote() == 0
    await jobs.age(job.id, minutes=10)
    assert await jobs.store.promote() == 1
    (again,) = await jobs.claim()
    assert again.attempt == 2
    await jobs.end(again, Verdict.FAILED, error=NEVER)
    attempts = (await jobs.view(job.id)).attempts
    assert [(a.number, a.outcome, a.error) for a in attempts] == [
        (1, "failed", NOT_YET),
        (2, "failed", NEVER),
    ]


async def test_a_lease_token_ends_one_attempt_once(jobs: Jobs) -> None:
    first = await jobs.start()
    await jobs.end(first, Verdict.RELEASED)
    assert not await jobs.end(first, Verdict.SUCCEEDED, result={})
    (second,) = await jobs.claim()
    assert not await jobs.end(first, Verdict.SUCCEEDED, result={})
    assert await jobs.end(second, Verdict.SUCCEEDED, result={"of": "second"})
    assert not await jobs.end(second, Verdict.FAILED, error=NEVER)
    assert (await jobs.view(first.id)).result == {"of": "second"}


async def test_a_job_of_a_silent_worker_is_queued_and_put_in_quarantine_the_third_time(
    jobs: Jobs,
) -> None:
    job = await jobs.submit()
    for attempt in (1, 2, 3):
        assert await jobs.store.rescue() == 0
        (claimed,) = await jobs.claim()
        assert claimed.attempt == attempt
        await jobs.lose(claimed)
        assert not await jobs.end(claimed, Verdict.SUCCEEDED, result={})
    view = await jobs.view(job.id)
    assert (view.state, view.error and view.error.code) == ("quarantined", "worker_lost")
    assert [a.outcome for a in view.attempts] == ["lost", "lost", "lost"]
    assert (await jobs.events(job.id))[-3:] == ["queued", "started", "quarantined"]


async def test_a_cancelled_job_of_a_silent_worker_is_cancelled(jobs: Jobs) -> None:
    job = await jobs.start()
    await jobs.cancel(job.id)
    await jobs.lose(job)
    assert await jobs.state(job.id) == "cancelled"


@pytest.mark.parametrize("state", ["scheduled", "queued", "retrying"])
async def test_a_job_that_does_not_run_is_cancelled_at_once(jobs: Jobs, state: str) -> None:
    if state == "retrying":
        job = await jobs.start()
        await jobs.end(job, Verdict.FAILED, error=NOT_YET, retry_in=jobs.moment)
    else:
        await jobs.submit(run_at=jobs.soon() if state == "scheduled" else None)
    job_id = await jobs.pool.fetchval("SELECT id FROM jobs")
    assert await jobs.state(job_id) == state
    assert not await jobs.cancel(job_id, tenant="rival")
    assert await jobs.cancel(job_id)
    assert await jobs.state(job_id) == "cancelled"
    assert not await jobs.cancel(job_id)
    assert (await jobs.events(job_id)).count("cancelled") == 1


async def test_progress_is_announced_only_while_the_lease_is_held(jobs: Jobs) -> None:
    held, lost = await jobs.start(), await jobs.start()
    await jobs.pool.execute(
        "UPDATE jobs SET lease_token = gen_random_uuid() WHERE id = $1", lost.id
    )
    beats = [jobs.beat(job, moved=True) for job in (held, lost)]
    assert await jobs.store.heartbeat(beats, lease_seconds=60) == {held.lease_token: False}
    assert (await jobs.events(held.id))[-1] == "progressed"
    assert (await jobs.events(lost.id))[-1] == "started"


async def test_a_heartbeat_keeps_a_checkpoint_for_whoever_runs_the_job_next(jobs: Jobs) -> None:
    job = await jobs.start()
    await jobs.store.heartbeat([jobs.beat(job, checkpoint={"at": 1})], lease_seconds=60)
    await jobs.store.heartbeat([jobs.beat(job)], lease_seconds=60)
    await jobs.lose(job)
    (again,) = await jobs.claim()
    assert again.checkpoint == {"at": 1}
    await jobs.end(again, Verdict.RELEASED)
    (third,) = await jobs.claim()
    assert third.checkpoint == {"at": 1}


async def test_a_heartbeat_keeps_a_job_from_being_rescued(jobs: Jobs) -> None:
    job = await jobs.start()
    await jobs.age(job.id, seconds=50)
    await jobs.store.heartbeat([jobs.beat(job)], lease_seconds=60)
    await jobs.age(job.id, seconds=50)
    assert await jobs.store.rescue() == 0


async def test_the_time_of_a_job_is_compared_with_the_clock_of_the_database(jobs: Jobs) -> None:
    at = jobs.soon()
    later = await jobs.submit(run_at=at)
    past = await jobs.submit(run_at=datetime(1, 1, 1, tzinfo=UTC))
    view = await jobs.view(later.id)
    assert (view.state, view.run_at) == ("scheduled", at)
    assert await jobs.claimed() == {past.id}


async def test_a_job_keeps_its_last_hundred_attempts(jobs: Jobs) -> None:
    await jobs.submit(attempts_max=200)
    for _ in range(103):
        (job,) = await jobs.claim()
        await jobs.end(job, Verdict.FAILED, error=NOT_YET, retry_in=timedelta(0))
        await jobs.store.promote()
    (job,) = await jobs.claim()
    numbers = [a.number for a in (await jobs.view(job.id)).attempts]
    assert numbers == list(range(4, 105))
