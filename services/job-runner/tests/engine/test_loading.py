"""An attempt that still waits for its parameters can be stopped, and runs out of time."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from lineshaft_contracts.envelope import Priority, uuid7
from lineshaft_contracts.jobs import JobError
from lineshaft_job_runner.attempts import DEADLINE_EXCEEDED, Attempts
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.job import ClaimedJob, Outcome, Verdict
from lineshaft_job_runner.job_type import Isolation, JobContext, JobType
from lineshaft_job_runner.running import Running
from pydantic import BaseModel

JOB = ClaimedJob(
    id=uuid7(),
    tenant="acme",
    type="trial.do",
    priority=Priority.NORMAL,
    parameters={},
    parameters_key="jobs/acme/1/parameters.json",
    attempt=1,
    attempts_max=3,
    timeout_seconds=30,
    lease_token=uuid4(),
    traceparent=None,
    waited_seconds=0,
)


class Nothing(BaseModel):
    pass


class Do(JobType[Nothing, Nothing]):
    """Never gets so far."""

    name = "trial.do"
    title = "Do"
    parameters = result = Nothing
    example: ClassVar[Mapping[str, Any]] = {}
    isolation = Isolation.LOOP

    async def run(self, context: JobContext, parameters: Nothing) -> Nothing:
        raise NotImplementedError


class Store:
    """An object store that answers only when it is told to."""

    def __init__(self, answer: Exception | None = None) -> None:
        self.asked = asyncio.Event()
        self.answer = answer

    async def of(self, job: ClaimedJob) -> ClaimedJob:
        self.asked.set()
        if self.answer is not None:
            raise self.answer
        await asyncio.Event().wait()
        return job


async def outcome(
    store: Store, *, job: ClaimedJob = JOB, meanwhile: Callable[[Running], None] | None = None
) -> Outcome:
    """Run an attempt that never gets beyond its parameters."""
    running = Running(job=job, isolation=Isolation.LOOP)
    attempts = Attempts(Catalogue([Do()]), {}, store, on_end=lambda _: None)
    async with asyncio.timeout(5):
        running.task = asyncio.create_task(attempts.run(running))
        await store.asked.wait()
        if meanwhile is not None:
            meanwhile(running)
        await running.task
    assert running.outcome is not None
    return running.outcome


@pytest.mark.parametrize("verdict", [Verdict.CANCELLED, Verdict.RELEASED])
async def test_it_stops_when_it_is_asked_to(verdict: Verdict) -> None:
    ended = await outcome(Store(), meanwhile=lambda running: running.stop(verdict))
    assert ended.verdict is verdict


async def test_it_runs_out_of_its_time() -> None:
    ended = await outcome(Store(), job=replace(JOB, timeout_seconds=0.05))
    assert code(ended.error) == "timeout"


async def test_it_ends_at_the_deadline_of_its_job() -> None:
    ended = await outcome(Store(), meanwhile=lambda running: running.expire(DEADLINE_EXCEEDED))
    assert (ended.verdict, code(ended.error)) == (Verdict.FAILED, "deadline_exceeded")


async def test_a_store_that_is_away_is_tried_again() -> None:
    ended = await outcome(Store(ConnectionError("refused")))
    assert code(ended.error) == "parameters_unavailable"
    assert ended.retry_in is not None


def code(error: JobError | None) -> str | None:
    return error and error.code
