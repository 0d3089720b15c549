"""What a job may ask of its runner: checkpoints, another time, children, lines of the log."""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog
from lineshaft_contracts.envelope import Priority
from lineshaft_contracts.jobs import JobError, JobState
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.child_jobs import CHILDREN_MAX
from lineshaft_job_runner.job import ClaimedJob, Outcome, Verdict
from lineshaft_job_runner.job_type import (
    Isolation,
    JobContext,
    JobStoppedError,
    JobType,
    PermanentError,
    RetryableError,
    SnoozeError,
    WaitForChildrenError,
)
from lineshaft_job_runner.memory_store import MemoryStore, claimed_job, memory_runner
from lineshaft_job_runner.retries import RetryPolicy, retry_in
from pydantic import BaseModel

Body = Callable[[JobContext], Any]


class Parameters(BaseModel):
    """What a child is asked for."""

    lot: str = ""


class Result(BaseModel):
    """Anything."""

    value: Any = None


class Do(JobType[Parameters, Result]):
    """Does what its test says."""

    name = "trial.do"
    title = "Do"
    parameters = Parameters
    result = Result
    example: ClassVar[Mapping[str, Any]] = {}
    isolation = Isolation.LOOP
    timeout_seconds = 7
    attempts_max = 2

    def __init__(self, body: Body) -> None:
        self._body = body

    async def run(self, context: JobContext, parameters: Parameters) -> Result:
        made = self._body(context)
        return Result(value=await made if asyncio.iscoroutine(made) else made)


class Patient(Do):
    """Comes back soon, and then less soon."""

    name = "trial.patient"
    retry_first_seconds = 10
    retry_factor = 2
    retry_seconds_max = 15
    retry_jitter = 0


async def outcome(job: ClaimedJob, body: Body, folder: Path) -> Outcome:
    """Run one attempt to its end."""
    store = MemoryStore(jobs=[job])
    with structlog.testing.capture_logs():
        async with memory_runner(store, Catalogue([Do(body), Patient(body)]), folder):
            return await store.end_of(job)


async def test_the_latest_checkpoint_is_stored_with_the_end_of_a_failed_attempt(
    tmp_path: Path,
) -> None:
    def body(context: JobContext) -> None:
        state = {"done": 1}
        context.checkpoint(state)
        state["done"] = 2
        context.checkpoint(state)
        state["done"] = 3  # It was copied.
        raise RetryableError("later", "go on then")

    end = await outcome(claimed_job(), body, tmp_path)
    assert (end.state, end.checkpoint) == (JobState.RETRYING, {"done": 2})


async def test_a_checkpoint_is_passed_on_while_the_job_runs_and_not_twice(tmp_path: Path) -> None:
    job = claimed_job()
    store = MemoryStore(jobs=[job])

    async def body(context: JobContext) -> None:
        context.checkpoint({"done": 1})
        while job.lease_token not in store.checkpoints:
            await asyncio.sleep(0.01)
        raise PermanentError("no", "not at all")

    with structlog.testing.capture_logs():
        async with memory_runner(store, Catalogue([Do(body)]), tmp_path):
            end = await store.end_of(job)
    assert store.checkpoints == {job.lease_token: {"done": 1}}
    assert not store.told[job.lease_token].moved
    assert end.checkpoint is None  # Which keeps what there is.


async def test_an_attempt_is_given_the_checkpoint_of_the_one_before(tmp_path: Path) -> None:
    job = claimed_job(attempt=2, checkpoint={"done": 7})
    end = await outcome(job, lambda context: context.restored, tmp_path)
    assert end.result == {"value": {"done": 7}}
    assert (await outcome(claimed_job(), lambda c: c.restored, tmp_path)).result == {"value": None}


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({"a": "x" * 70_000}, "checkpoint_too_large"),
        ({"a": float("nan")}, "checkpoint_not_storable"),
        ({"a": "\x00"}, "checkpoint_not_storable"),
        ({"a": object()}, "checkpoint_not_storable"),
    ],
    ids=["large", "nan", "nul", "object"],
)
async def test_a_checkpoint_that_cannot_be_kept_is_refused_at_once(
    tmp_path: Path, state: dict[str, Any], code: str
) -> None:
    end = await outcome(claimed_job(), lambda context: context.checkpoint(state), tmp_path)
    assert end.error is not None
    assert (end.error.code, end.error.retryable) == (code, False)


async def test_a_worker_that_stops_asks_jobs_to_keep_what_they_have(tmp_path: Path) -> None:
    started = asyncio.Event()

    async def body(context: JobContext) -> None:
        started.set()
        while not context.cancelled:
            await asyncio.sleep(0.01)
        context.checkpoint({"done": 5})
        raise JobStoppedError

    job = claimed_job()
    store = MemoryStore(jobs=[job])
    async with memory_runner(store, Catalogue([Do(body)]), tmp_path):
        await started.wait()
    end = store.ends[job.lease_token]
    assert (end.verdict, end.checkpoint) == (Verdict.RELEASED, {"done": 5})


async def test_a_job_that_snoozes_is_run_later_and_says_why(tmp_path: Path) -> None:
    def body(context: JobContext) -> None:
        context.progress(2, 5, "looked")
        context.submit("trial.do", {})
        raise SnoozeError(90, "no file yet")

    end = await outcome(claimed_job(attempt=3), body, tmp_path)
    assert (end.verdict, end.state) == (Verdict.SNOOZED, JobState.SCHEDULED)
    assert end.retry_in == timedelta(seconds=90)
    assert (end.progress.done, end.progress.message) == (2, "no file yet")
    assert (end.error, end.children) == (None, ())


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 31 * 86_400])
def test_nobody_snoozes_for_a_time_that_nobody_can_mean(seconds: float) -> None:
    with pytest.raises(ValueError, match="snoozes"):
        SnoozeError(seconds)


async def test_a_job_waits_for_the_children_that_it_submitted(tmp_path: Path) -> None:
    ids: list[Any] = []

    def body(context: JobContext) -> None:
        ids.append(context.submit("trial.do", {"lot": "a"}, order_key="line 1"))
        ids.append(context.submit("elsewhere.do", {"x": 1}, priority=Priority.LOW, limit_key="m"))
        raise WaitForChildrenError

    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    job = claimed_job(tenant="rival", priority=Priority.HIGH, traceparent=trace)
    end = await outcome(job, body, tmp_path)
    assert (end.verdict, end.state) == (Verdict.WAITING, JobState.WAITING)
    here, elsewhere = end.children
    assert [here.id, elsewhere.id] == ids
    for child in end.children:
        assert (child.tenant, child.parent_id, child.traceparent) == ("rival", job.id, trace)
    assert (here.type, here.parameters, here.order_key) == ("trial.do", '{"lot":"a"}', "line 1")
    assert (here.priority, here.attempts_max, here.timeout_seconds) == (Priority.HIGH, 2, 7)
    assert (elsewhere.priority, elsewhere.limit_key) == (Priority.LOW, "m")
    assert (elsewhere.attempts_max, elsewhere.timeout_seconds) == (3, 300)


async def test_a_job_that_goes_on_after_its_children_sees_how_they_ended(tmp_path: Path) -> None:
    job = claimed_job(children={"succeeded": 2, "failed": 1})
    end = await outcome(job, lambda context: context.children, tmp_path)
    assert end.result == {"value": {"succeeded": 2, "failed": 1}}


@pytest.mark.parametrize("children", [None, {"succeeded": 3}])
async def test_a_job_that_waits_for_nobody_has_failed(
    tmp_path: Path, children: dict[str, int] | None
) -> None:
    def body(_: JobContext) -> None:
        raise WaitForChildrenError

    end = await outcome(claimed_job(children=children), body, tmp_path)
    assert end.error is not None
    assert (end.state, end.error.code) == (JobState.FAILED, "nothing_to_wait_for")


async def test_children_exist_with_a_success_and_not_with_a_failure(tmp_path: Path) -> None:
    def succeed(context: JobContext) -> None:
        context.submit("trial.do", {})

    def fail(context: JobContext) -> None:
        context.submit("trial.do", {})
        raise RetryableError("not_yet", "try again")

    assert len((await outcome(claimed_job(), succeed, tmp_path)).children) == 1
    assert (await outcome(claimed_job(), fail, tmp_path)).children == ()


@pytest.mark.parametrize(
    ("job_type", "parameters", "more"),
    [
        ("trial.do", {"lot": 1}, {}),
        ("trial.do", {"unheard": "x"}, {}),
        ("Not a type", {}, {}),
        ("elsewhere.do", {"x": "y" * 70_000}, {}),
        ("elsewhere.do", {"x": "\x00"}, {}),
        ("trial.do", {}, {"order_key": ""}),
        ("trial.do", {}, {"limit_key": "a\nb"}),
    ],
)
async def test_a_child_that_could_not_run_is_refused_where_it_is_submitted(
    tmp_path: Path, job_type: str, parameters: dict[str, Any], more: dict[str, Any]
) -> None:
    end = await outcome(
        claimed_job(), lambda context: context.submit(job_type, parameters, **more), tmp_path
    )
    assert end.error is not None
    assert (end.error.code, end.error.retryable) == ("child_refused", False)


async def test_an_attempt_submits_so_many_children_and_not_one_more(tmp_path: Path) -> None:
    def body(context: JobContext) -> None:
        for _ in range(CHILDREN_MAX):
            context.submit("elsewhere.do", {})
        with pytest.raises(PermanentError, match="at most"):
            context.submit("elsewhere.do", {})

    end = await outcome(claimed_job(), body, tmp_path)
    assert len({child.id for child in end.children}) == CHILDREN_MAX


async def test_a_line_of_the_log_says_which_job_wrote_it_and_is_bounded(tmp_path: Path) -> None:
    def body(context: JobContext) -> None:
        context.log("m" * 2_000, event="own", text="x" * 2_000, number=7, odd={1, 2})
        for _ in range(500):
            context.log("flood")

    trace_id = "0af7651916cd43dd8448eb211c80319c"
    job = claimed_job(traceparent=f"00-{trace_id}-b7ad6b7169203331-00")
    store = MemoryStore(jobs=[job])
    with structlog.testing.capture_logs() as lines:
        async with memory_runner(store, Catalogue([Do(body)]), tmp_path):
            await store.end_of(job)
    written = [line for line in lines if line["event"] == "job_log"]
    assert 100 <= len(written) < 200
    first = written[0]
    assert (first["job_id"], first["job_type"], first["attempt"]) == (str(job.id), "trial.do", 1)
    assert (first["trace_id"], len(first["message"])) == (trace_id, 1_000)
    assert (first["data"]["event"], first["data"]["number"]) == ("own", 7)
    assert len(first["data"]["text"]) == 500
    assert isinstance(first["data"]["odd"], str)


async def test_a_job_fails_at_its_deadline_and_is_not_tried_again(tmp_path: Path) -> None:
    job = claimed_job(deadline_at=datetime.now(UTC) + timedelta(seconds=0.3))
    end = await outcome(job, lambda _: asyncio.sleep(60), tmp_path)
    assert end.error is not None
    assert (end.state, end.error.code) == (JobState.FAILED, "deadline_exceeded")


async def test_a_job_whose_deadline_has_passed_is_not_begun(tmp_path: Path) -> None:
    begun: list[str] = []
    job = claimed_job(deadline_at=datetime.now(UTC) - timedelta(seconds=1))
    end = await outcome(job, lambda context: begun.append(context.job_id), tmp_path)
    assert end.error is not None
    assert (end.error.code, begun) == ("deadline_exceeded", [])


async def test_an_attempt_that_takes_too_long_is_ended_even_when_it_catches_that(
    tmp_path: Path,
) -> None:
    async def body(context: JobContext) -> str:
        for _ in range(2):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        return "as if nothing had happened"

    end = await outcome(claimed_job(timeout_seconds=0.2), body, tmp_path)
    assert end.error is not None
    assert (end.state, end.error.code) == (JobState.RETRYING, "timeout")


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
async def test_a_job_that_wants_to_end_the_process_ends_itself_alone(
    tmp_path: Path, raised: BaseException
) -> None:
    def body(_: JobContext) -> None:
        raise raised

    end = await outcome(claimed_job(), body, tmp_path)
    assert end.error is not None
    assert (end.state, end.error.code) == (JobState.RETRYING, "unexpected_error")
    assert type(raised).__name__ in end.error.message


async def test_a_type_says_how_long_its_jobs_wait_between_attempts(tmp_path: Path) -> None:
    def body(_: JobContext) -> None:
        raise RetryableError("not_yet", "try again")

    for attempt, seconds in [(1, 10), (2, 15), (90, 15)]:
        job = claimed_job("trial.patient", attempt=attempt, attempts_max=100)
        assert (await outcome(job, body, tmp_path)).retry_in == timedelta(seconds=seconds)


def test_full_jitter_spreads_from_none_to_all_of_the_wait() -> None:
    error = JobError(code="x", message="x")
    policy = RetryPolicy(first_seconds=8, jitter=1)
    chances = [0.0, 0.25, random.random()]
    waits = [
        retry_in(error, attempt=1, attempts_max=3, policy=policy, jitter=chance)
        for chance in chances
    ]
    assert waits == [timedelta(seconds=8 * chance) for chance in chances]


def test_a_wait_has_a_bound_whatever_the_type_says() -> None:
    policy = RetryPolicy(first_seconds=1, factor=1e10, seconds_max=60, jitter=0)
    assert policy.wait_seconds(100, chance=0) == 60
