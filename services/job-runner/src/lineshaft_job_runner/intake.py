"""Taking submissions and cancellations from the broker into the store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from lineshaft_common.messaging import Delivery
from lineshaft_contracts.jobs import (
    BulkSubmission,
    CancelAccepted,
    CancelJob,
    JobAccepted,
    JobsAccepted,
    JobView,
    SubmissionResult,
    SubmitJob,
    SubmitJobs,
)
from lineshaft_contracts.problems import Problem, ProblemError
from prometheus_client import Counter

from lineshaft_job_runner.job import Accepted, NewJob
from lineshaft_job_runner.submissions import Submissions

JOBS_MAX = 2_000
"""Stored in one transaction; what a message holds stays together."""

SUBMITTED = Counter(
    "lineshaft_jobs_submitted_total", "Submissions by outcome", ["type", "outcome"]
)
NOT_FOUND = Problem(code="job_not_found", title="No such job", status=404)


class Store(Protocol):
    """What the intake asks of the store."""

    async def accept(self, jobs: Sequence[NewJob]) -> list[Accepted]:
        """Store submissions; one outcome for each, in the same order."""
        ...

    async def cancel(self, job_id: UUID, *, tenant: str) -> bool:
        """Cancel a job; False when it has ended or is not there."""
        ...


class Parameters(Protocol):
    """Where large parameters go; see large_parameters.py."""

    async def put_away(self, jobs: Sequence[NewJob]) -> list[NewJob]:
        """Return the jobs as they are to be stored."""
        ...

    async def forget_unused(self, jobs: Sequence[NewJob], accepted: Sequence[Accepted]) -> None:
        """Delete those under whose id there is no job."""
        ...


class Engine(Protocol):
    """Whom the intake tells; see runner.py."""

    def wake(self) -> None:
        """Hear that jobs may be ready."""
        ...

    def look_for_cancellations(self) -> None:
        """Hear that running jobs may have been cancelled."""
        ...


class Reads(Protocol):
    """How the intake finds the jobs that it answers with."""

    async def views(self, job_ids: Sequence[UUID], *, tenant: str | None) -> dict[UUID, JobView]:
        """Find jobs by id; those of one tenant, or any."""
        ...


@dataclass
class _Message:
    """One delivery and what became of its jobs; None stands for one that is still to be stored."""

    delivery: Delivery[Any]
    jobs: list[NewJob] = field(default_factory=list[NewJob])
    results: list[SubmissionResult | None] = field(default_factory=list[SubmissionResult | None])


class Intake:
    """Idempotent: by job id and keys for submissions, by state for cancellations."""

    def __init__(
        self,
        store: Store,
        reads: Reads,
        submissions: Submissions,
        parameters: Parameters,
        engine: Engine,
    ) -> None:
        self._store = store
        self._reads = reads
        self._submissions = submissions
        self._parameters = parameters
        self._engine = engine

    async def on_submissions(self, deliveries: Sequence[Delivery[Any]]) -> None:
        """Store a batch of SubmitJob and SubmitJobs; an invalid one is answered and parked."""
        messages: list[_Message] = []
        for delivery in deliveries:
            if isinstance(delivery.data, SubmitJob | SubmitJobs):
                messages.append(await self._read(delivery))
            else:
                delivery.park("unexpected_type", f"{delivery.envelope.type} is no submission")
        for some in _in_transactions(messages):
            await self._store_all(some)
        for message in messages:
            await self._conclude(message)
        await self._answer_singles([m for m in messages if isinstance(m.delivery.data, SubmitJob)])

    async def _read(self, delivery: Delivery[Any]) -> _Message:
        """Find the jobs of a message that are valid, and say of the others why they are not."""
        message, envelope = _Message(delivery), delivery.envelope
        data: SubmitJob | SubmitJobs = delivery.data
        for submission in [data] if isinstance(data, SubmitJob) else data.jobs:
            priority = (
                submission.priority
                if isinstance(submission, BulkSubmission)
                else envelope.priority
            )
            try:
                job = await self._submissions.new_job(
                    submission,
                    tenant=envelope.tenant,
                    priority=priority,
                    traceparent=delivery.traceparent,
                )
            except ProblemError as error:
                result = SubmissionResult(job_id=submission.job_id, problem=error.problem)
                message.results.append(result)
            else:
                message.jobs.append(job)
                message.results.append(None)
        return message

    async def _store_all(self, messages: Sequence[_Message]) -> None:
        jobs = [job for message in messages for job in message.jobs]
        if not jobs:
            return
        jobs = await self._parameters.put_away(jobs)
        outcomes = await self._store.accept(jobs)
        self._engine.wake()
        await self._parameters.forget_unused(jobs, outcomes)
        accepted = iter(outcomes)
        for message in messages:
            message.results = [
                _result(next(accepted)) if result is None else result for result in message.results
            ]

    async def _conclude(self, message: _Message) -> None:
        """Count, and answer or park what is not answered with a job."""
        refused = 0
        types = _types(message.delivery.data)
        for result, job_type in zip(message.results, types, strict=True):
            if result is None or result.problem is not None:
                refused += 1
            else:
                outcome = "created" if result.created else "repeated"
                SUBMITTED.labels(job_type, outcome).inc()
        if refused:
            SUBMITTED.labels("", "refused").inc(refused)
        results = [result for result in message.results if result is not None]
        if isinstance(message.delivery.data, SubmitJobs):
            await message.delivery.reply(JobsAccepted(results=tuple(results)))
        problems = [result.problem for result in results if result.problem is not None]
        if not problems:
            return
        if isinstance(message.delivery.data, SubmitJob):
            await message.delivery.reply(problems[0])
        if not message.delivery.is_answerable or isinstance(message.delivery.data, SubmitJob):
            message.delivery.park(problems[0].code, _words(problems))

    async def _answer_singles(self, messages: Sequence[_Message]) -> None:
        """Answer those who wait for their job."""
        waiting = {
            result.job_id: (message, result)
            for message in messages
            if message.delivery.is_answerable
            for result in message.results
            if result is not None and result.problem is None
        }
        if not waiting:
            return
        views = await self._reads.views(list(waiting), tenant=None)
        for message in messages:
            result = message.results[0]
            if result is not None and message.delivery.is_answerable and result.job_id in views:
                await message.delivery.reply(
                    JobAccepted(job=views[result.job_id], created=result.created)
                )

    async def on_cancel(self, delivery: Delivery[CancelJob]) -> None:
        """Cancel a job; a running one ends as soon as its worker has seen it."""
        job_id, tenant = delivery.data.job_id, delivery.envelope.tenant
        cancelled = await self._store.cancel(job_id, tenant=tenant)
        self._engine.look_for_cancellations()
        view = (await self._reads.views([job_id], tenant=tenant)).get(job_id)
        if view is None:
            await delivery.reply(NOT_FOUND)
        elif cancelled or view.cancel_requested:
            await delivery.reply(CancelAccepted(job=view))
        else:
            detail = f"It is {view.state} since {view.finished_at}."
            await delivery.reply(
                Problem(code="job_ended", title="The job has ended", detail=detail, status=409)
            )


def _types(data: SubmitJob | SubmitJobs) -> list[str]:
    """Name the types of all the jobs of a message, in order."""
    return [data.job_type] if isinstance(data, SubmitJob) else [j.job_type for j in data.jobs]


def _in_transactions(messages: Iterable[_Message]) -> Iterable[list[_Message]]:
    some: list[_Message] = []
    size = 0
    for message in messages:
        if some and size + len(message.jobs) > JOBS_MAX:
            yield some
            some, size = [], 0
        some.append(message)
        size += len(message.jobs)
    if some:
        yield some


def _result(accepted: Accepted) -> SubmissionResult:
    return SubmissionResult(
        job_id=accepted.job_id, created=accepted.created, problem=accepted.problem
    )


def _words(problems: Sequence[Problem]) -> str:
    first = problems[0]
    fields = "; ".join(f"{e.pointer}: {e.message}" for e in first.errors[:5])
    others = f" (and {len(problems) - 1} others)" if len(problems) > 1 else ""
    return f"{first.title}. {first.detail or ''} {fields}".strip() + others
