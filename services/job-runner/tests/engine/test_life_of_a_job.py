"""The life of a job, seen from outside the engine."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import pytest
from lineshaft_common.messaging import Delivery
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.job_catalogue import ListJobTypes
from lineshaft_contracts.job_statistics import GetJobStats
from lineshaft_contracts.jobs import (
    CancelJob,
    FindArtifact,
    JobAccepted,
    JobState,
    JobView,
    ListJobs,
)
from lineshaft_contracts.problems import ProblemError
from lineshaft_contracts.topology import DEAD_LETTERS, EVENT_ROUTER_PLATFORM

pytestmark = pytest.mark.integration

SOURCE = "/services/test"
BOTH = pytest.mark.parametrize("job_type", ["trial.wait", "trial.work"])


class Plant(Protocol):
    bus: Any
    pool: Any

    def engine(self, **changes: Any) -> Any: ...
    async def submit(self, job_type: str, parameters: Any, **more: Any) -> JobAccepted: ...
    async def job(self, job_id: UUID, *, tenant: str = "acme") -> JobView: ...
    async def ask(self, question: Any, *, tenant: str = "acme") -> Any: ...
    async def becomes(self, job_id: UUID, *states: JobState) -> JobView: ...


async def events_of(plant: Plant, job_id: UUID, last: str) -> list[str]:
    """The events about a job in the order of their arrival, up to `last`."""
    names: list[str] = []
    ended = asyncio.Event()

    async def take(deliveries: Sequence[Delivery[Any]]) -> None:
        for delivery in deliveries:
            if delivery.data.job_id == job_id:
                names.append(delivery.envelope.type.split(".")[2])  # noqa: PERF401
        if last in names:
            ended.set()

    async with plant.bus.subscribe_batch(EVENT_ROUTER_PLATFORM, take):
        async with asyncio.timeout(30):
            await ended.wait()
    return names


@BOTH
async def test_a_job_is_accepted_run_and_succeeds(plant: Plant, job_type: str) -> None:
    async with plant.engine():
        accepted = await plant.submit(job_type, {"act": "succeed"})
        view = await plant.becomes(accepted.job.id, JobState.SUCCEEDED)
        names = await events_of(plant, view.id, "succeeded")
    assert accepted.created
    assert accepted.job.state is JobState.QUEUED
    assert view.result == {"attempt": 1}
    assert [a.outcome for a in view.attempts] == ["succeeded"]
    assert names == ["queued", "started", "succeeded"]


async def test_an_artifact_and_progress_can_be_seen(plant: Plant) -> None:
    seen: set[int] = set()
    async with plant.engine():
        job_id = (await plant.submit("trial.work", {"act": "steps"})).job.id
        async with asyncio.timeout(30):
            while not (view := await plant.job(job_id)).state.is_final:
                seen.add(view.progress.done)
                await asyncio.sleep(0.05)
        found = await plant.ask(FindArtifact(job_id=job_id, name="steps.txt"))
    assert seen - {0, 10}, "nothing was seen of the steps in between"
    assert view.progress.done == view.progress.total == 10
    (artifact,) = view.artifacts
    assert (artifact.name, artifact.bytes, artifact.rows) == ("steps.txt", 10, 1)
    assert found.artifact == artifact


@BOTH
async def test_a_failed_attempt_is_followed_by_another(plant: Plant, job_type: str) -> None:
    async with plant.engine():
        job_id = (await plant.submit(job_type, {"act": "fail", "until_attempt": 1})).job.id
        view = await plant.becomes(job_id, JobState.SUCCEEDED)
        names = await events_of(plant, job_id, "succeeded")
    assert view.result == {"attempt": 2}
    assert [a.outcome for a in view.attempts] == ["failed", "succeeded"]
    assert view.attempts[0].error is not None
    assert view.attempts[0].error.code == "not_yet"
    assert names == ["queued", "started", "retrying", "queued", "started", "succeeded"]


async def test_a_job_fails_when_its_attempts_are_used_up(plant: Plant) -> None:
    async with plant.engine():
        accepted = await plant.submit("trial.wait", {"act": "fail"}, attempts_max=2)
        view = await plant.becomes(accepted.job.id, JobState.FAILED)
    assert view.error is not None
    assert (view.attempt, view.error.code) == (2, "not_yet")


async def test_a_permanent_error_is_not_tried_again(plant: Plant) -> None:
    async with plant.engine():
        job_id = (await plant.submit("trial.wait", {"act": "fail_for_good"})).job.id
        view = await plant.becomes(job_id, JobState.FAILED)
    assert view.attempt == 1
    assert view.error is not None
    assert not view.error.retryable


@pytest.mark.parametrize(
    ("act", "code"), [("eat", "memory_limit"), ("spin", "timeout"), ("die", "process_died")]
)
async def test_a_child_that_misbehaves_is_ended_and_harms_nobody(
    plant: Plant, act: str, code: str
) -> None:
    async with plant.engine():
        bad = await plant.submit(
            "trial.work", {"act": act}, attempts_max=1, timeout_seconds=2 if act == "spin" else 60
        )
        good = await plant.submit("trial.work", {"act": "succeed"})
        view = await plant.becomes(bad.job.id, JobState.FAILED)
        await plant.becomes(good.job.id, JobState.SUCCEEDED)
    assert view.error is not None
    assert view.error.code == code


@pytest.mark.parametrize(
    ("job_type", "act"), [("trial.wait", "hang"), ("trial.work", "hang"), ("trial.work", "spin")]
)
async def test_a_running_job_is_cancelled_even_when_it_does_not_listen(
    plant: Plant, job_type: str, act: str
) -> None:
    async with plant.engine():
        job_id = (await plant.submit(job_type, {"act": act})).job.id
        await plant.becomes(job_id, JobState.RUNNING)
        reply = await plant.ask(CancelJob(job_id=job_id))
        view = await plant.becomes(job_id, JobState.CANCELLED)
        again = await plant.ask(CancelJob(job_id=job_id))
    assert reply.job.cancel_requested
    assert again.job.state is JobState.CANCELLED
    assert [a.outcome for a in view.attempts] == ["cancelled"]


async def test_a_scheduled_job_is_cancelled_before_it_runs(plant: Plant) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    async with plant.engine():
        job_id = (await plant.submit("trial.wait", {}, run_at=later)).job.id
        reply = await plant.ask(CancelJob(job_id=job_id))
        names = await events_of(plant, job_id, "cancelled")
    assert reply.job.state is JobState.CANCELLED
    assert reply.job.attempts == ()
    assert names[-1] == "cancelled"


async def test_a_job_that_has_ended_cannot_be_cancelled(plant: Plant) -> None:
    async with plant.engine():
        job_id = (await plant.submit("trial.wait", {})).job.id
        await plant.becomes(job_id, JobState.SUCCEEDED)
        with pytest.raises(ProblemError, match="job_ended"):
            await plant.ask(CancelJob(job_id=job_id))


async def test_a_job_waits_for_its_time(plant: Plant) -> None:
    async with plant.engine():
        at = datetime.now(UTC) + timedelta(seconds=2)
        accepted = await plant.submit("trial.wait", {}, run_at=at)
        view = await plant.becomes(accepted.job.id, JobState.SUCCEEDED)
    assert accepted.job.state is JobState.SCHEDULED
    assert view.started_at is not None
    assert view.started_at >= at


async def test_a_time_that_nobody_can_mean_is_refused(plant: Plant) -> None:
    later = datetime.now(UTC) + timedelta(days=4_000)
    async with plant.engine():
        with pytest.raises(ProblemError) as refused:
            await plant.submit("trial.wait", {}, run_at=later)
    assert refused.value.problem.code == "invalid_input"
    assert [e.pointer for e in refused.value.problem.errors] == ["/run_at"]


async def test_the_same_submission_twice_is_one_job(plant: Plant, tmp_path: Path) -> None:
    job_id, ledger = uuid7(), tmp_path / "ledger"
    async with plant.engine():
        first = await plant.submit("trial.wait", {"ledger": str(ledger)}, job_id=job_id)
        again = await plant.submit("trial.wait", {"ledger": str(ledger)}, job_id=job_id)
        await plant.becomes(job_id, JobState.SUCCEEDED)
    assert (first.created, again.created) == (True, False)
    assert len(ledger.read_text().splitlines()) == 1


async def test_an_idempotency_key_belongs_to_a_tenant_and_a_type(plant: Plant) -> None:
    async with plant.engine():
        first = await plant.submit("trial.wait", {}, idempotency_key="k")
        again = await plant.submit("trial.wait", {"seconds": 1}, idempotency_key="k")
        other_type = await plant.submit("trial.work", {}, idempotency_key="k")
        other_tenant = await plant.submit("trial.wait", {}, idempotency_key="k", tenant="rival")
    assert again.job.id == first.job.id
    assert not again.created
    assert len({first.job.id, other_type.job.id, other_tenant.job.id}) == 3


async def test_a_job_of_another_tenant_cannot_be_seen_listed_cancelled_or_taken(
    plant: Plant,
) -> None:
    async with plant.engine():
        job_id = (await plant.submit("trial.wait", {})).job.id
        await plant.becomes(job_id, JobState.SUCCEEDED)
        with pytest.raises(ProblemError, match="job_not_found"):
            await plant.job(job_id, tenant="rival")
        with pytest.raises(ProblemError, match="job_not_found"):
            await plant.ask(CancelJob(job_id=job_id), tenant="rival")
        with pytest.raises(ProblemError, match="job_id_taken"):
            await plant.submit("trial.wait", {}, job_id=job_id, tenant="rival")
        page = await plant.ask(ListJobs(), tenant="rival")
        stats = await plant.ask(GetJobStats(), tenant="rival")
    assert page.jobs == ()
    assert stats.counts == {}


@pytest.mark.parametrize(
    ("job_type", "parameters", "code", "pointers"),
    [
        ("trial.wait", {"act": "dance"}, "invalid_input", ["/parameters/act"]),
        ("trial.wait", {"unheard": 1}, "invalid_input", ["/parameters/unheard"]),
        ("trial.wait", {"seconds": "x"}, "invalid_input", ["/parameters/seconds"]),
    ],
)
async def test_a_submission_that_cannot_be_run_is_refused_and_kept_for_a_look(
    plant: Plant, job_type: str, parameters: Any, code: str, pointers: list[str]
) -> None:
    async with plant.engine():
        with pytest.raises(ProblemError) as refused:
            await plant.submit(job_type, parameters)
        async with asyncio.timeout(30):
            while (await plant.bus.depth(DEAD_LETTERS))[0] != 1:
                await asyncio.sleep(0.05)
    assert refused.value.problem.code == code
    assert refused.value.problem.status == 422
    assert [e.pointer for e in refused.value.problem.errors] == pointers


async def test_a_result_that_is_too_large_fails_with_advice(plant: Plant) -> None:
    async with plant.engine():
        job_id = (await plant.submit("trial.wait", {"act": "large"})).job.id
        view = await plant.becomes(job_id, JobState.FAILED)
    assert view.error is not None
    assert view.error.code == "result_too_large"
    assert "artifact" in view.error.message


async def test_jobs_are_listed_by_page_and_filter(plant: Plant) -> None:
    async with plant.engine():
        ids = [(await plant.submit("trial.wait", {})).job.id for _ in range(5)]
        for job_id in ids:
            await plant.becomes(job_id, JobState.SUCCEEDED)
        listed: list[UUID] = []
        cursor = None
        while True:
            page = await plant.ask(ListJobs(limit=2, cursor=cursor, states=(JobState.SUCCEEDED,)))
            listed += [job.id for job in page.jobs]
            cursor = page.next_cursor
            if cursor is None:
                break
        none = await plant.ask(ListJobs(job_type="trial.work"))
        with pytest.raises(ProblemError, match="invalid_input"):
            await plant.ask(ListJobs(cursor="x"))
    assert listed == sorted(ids, reverse=True)
    assert none.jobs == ()


async def test_statistics_add_up(plant: Plant) -> None:
    async with plant.engine():
        good = await plant.submit("trial.wait", {})
        bad = await plant.submit("trial.wait", {"act": "fail_for_good"})
        await plant.becomes(good.job.id, JobState.SUCCEEDED)
        await plant.becomes(bad.job.id, JobState.FAILED)
        stats = await plant.ask(GetJobStats())
    assert stats.counts == {"succeeded": 1, "failed": 1}
    (of_type,) = stats.windows["5m"].types
    assert of_type.success_rate == 0.5
    assert of_type.errors == {"never": 1}
    assert of_type.run_seconds.p50 is not None


async def test_the_job_types_describe_themselves(plant: Plant) -> None:
    async with plant.engine():
        types = await plant.ask(ListJobTypes())
    names = {t.name: t for t in types.job_types}
    assert {"trial.wait", "trial.work"} <= set(names)
    assert names["trial.work"].isolation == "process"
    assert "act" in names["trial.wait"].parameters_schema["properties"]


async def test_a_worker_that_stops_gives_its_jobs_back_without_using_up_an_attempt(
    plant: Plant,
) -> None:
    async with plant.engine(stop_grace_seconds=0.2):
        job_id = (await plant.submit("trial.work", {"act": "hang", "until_attempt": 1})).job.id
        await plant.becomes(job_id, JobState.RUNNING)
    state = await plant.pool.fetchrow("SELECT state, attempt FROM jobs WHERE id = $1", job_id)
    assert tuple(state) == ("queued", 0)


async def test_an_attempt_whose_lease_was_taken_changes_nothing(
    plant: Plant, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    # With so long a lease, the first attempt does not look at it before it ends.
    async with plant.engine(instance="one", lease_seconds=3600.0):
        job_id = (await plant.submit("trial.wait", {"seconds": 1, "ledger": str(ledger)})).job.id
        await plant.becomes(job_id, JobState.RUNNING)
        # What another worker's rescue and claim would do while this one was frozen.
        await plant.pool.execute(
            """
            UPDATE jobs SET lease_token = gen_random_uuid(), attempt = 2, worker = 'two',
                   lease_until = now() + interval '1 hour' WHERE id = $1
            """,
            job_id,
        )
        async with asyncio.timeout(30):
            while not ledger.exists():
                await asyncio.sleep(0.05)
    # The engine has stopped, and with it whatever it still had to store.
    async with plant.engine(instance="three"):
        view = await plant.job(job_id)
    assert view.state is JobState.RUNNING
    assert view.attempt == 2
    assert view.result is None
