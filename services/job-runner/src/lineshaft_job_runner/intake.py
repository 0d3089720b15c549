"""Taking submissions and cancellations from the broker into the store."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from lineshaft_common import tracing
from lineshaft_common.messaging import Delivery
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.jobs import (
    PARAMETERS_BYTES_MAX,
    CancelAccepted,
    CancelJob,
    JobAccepted,
    JobView,
    SubmitJob,
)
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from opentelemetry import trace
from prometheus_client import Counter

from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.job import NewJob

SUBMITTED = Counter(
    "lineshaft_jobs_submitted_total", "Submissions by outcome", ["type", "outcome"]
)

RUN_AHEAD_MAX = timedelta(days=3_653)
"""A job for a later time than in ten years is a mistake."""

TAKEN = Problem(code="job_id_taken", title="This job id cannot be used", status=409)


class Store(Protocol):
    """What the intake asks of the store."""

    async def accept(self, jobs: Sequence[NewJob]) -> list[tuple[UUID, bool] | None]:
        """Store submissions; for each the id of its job and whether it is new."""
        ...

    async def cancel(self, job_id: UUID, *, tenant: str) -> bool:
        """Cancel a job; False when it has ended or is not there."""
        ...


class Reads(Protocol):
    """How the intake finds the jobs that it answers with."""

    async def views(self, job_ids: Sequence[UUID], *, tenant: str | None) -> dict[UUID, JobView]:
        """Find jobs by id; those of one tenant, or any."""
        ...


class Intake:
    """Idempotent: by job id and idempotency key for submissions, by state for cancellations."""

    def __init__(
        self,
        store: Store,
        reads: Reads,
        catalogue: Catalogue,
        *,
        on_accepted: Callable[[], None],
        on_cancelled: Callable[[], None],
    ) -> None:
        self._store = store
        self._reads = reads
        self._catalogue = catalogue
        self._on_accepted = on_accepted
        self._on_cancelled = on_cancelled

    async def on_submissions(self, deliveries: Sequence[Delivery[Any]]) -> None:
        """Store a batch of SubmitJob in one transaction; an invalid one is answered and parked."""
        valid: list[tuple[Delivery[Any], NewJob]] = []
        for delivery in deliveries:
            if not isinstance(delivery.data, SubmitJob):
                delivery.park("unexpected_type", f"{delivery.envelope.type} is no submission")
                continue
            try:
                valid.append((delivery, self._new_job(delivery)))
            except ProblemError as error:
                await self._refuse(delivery, error.problem)
        if not valid:
            return
        accepted = await self._store.accept([job for _, job in valid])
        self._on_accepted()
        answerable = [
            outcome[0]
            for (delivery, _), outcome in zip(valid, accepted, strict=True)
            if outcome is not None and delivery.is_answerable
        ]
        views = await self._reads.views(answerable, tenant=None) if answerable else {}
        for (delivery, job), outcome in zip(valid, accepted, strict=True):
            if outcome is None:
                await self._refuse(delivery, TAKEN)
                continue
            job_id, created = outcome
            SUBMITTED.labels(job.type, "created" if created else "repeated").inc()
            if job_id in views:
                await delivery.reply(JobAccepted(job=views[job_id], created=created))

    async def on_cancel(self, delivery: Delivery[CancelJob]) -> None:
        """Cancel a job; a running one ends as soon as its worker has seen it."""
        job_id, tenant = delivery.data.job_id, delivery.envelope.tenant
        cancelled = await self._store.cancel(job_id, tenant=tenant)
        self._on_cancelled()
        view = (await self._reads.views([job_id], tenant=tenant)).get(job_id)
        if view is None:
            await delivery.reply(Problem(code="job_not_found", title="No such job", status=404))
        elif cancelled or view.cancel_requested:
            await delivery.reply(CancelAccepted(job=view))
        else:
            detail = f"It is {view.state} since {view.finished_at}."
            await delivery.reply(
                Problem(code="job_ended", title="The job has ended", detail=detail, status=409)
            )

    def _new_job(self, delivery: Delivery[Any]) -> NewJob:
        envelope: Envelope[SubmitJob] = delivery.envelope
        command = envelope.data
        job_type = self._catalogue.find(command.job_type)
        _check_time(command.run_at)
        parameters = self._catalogue.validated(command.job_type, command.parameters)
        text = parameters.model_dump_json()
        if len(text) > PARAMETERS_BYTES_MAX or "\\u0000" in text:
            raise ProblemError(
                Problem(
                    code="invalid_input",
                    title="The parameters cannot be stored",
                    detail=f"at most {PARAMETERS_BYTES_MAX} bytes, and no NUL characters",
                    status=422,
                )
            )
        sender = trace.get_current_span(delivery.context).get_span_context()
        return NewJob(
            id=command.job_id,
            tenant=envelope.tenant,
            type=command.job_type,
            priority=envelope.priority,
            parameters=text,
            idempotency_key=command.idempotency_key,
            run_at=command.run_at,
            attempts_max=command.attempts_max or job_type.attempts_max,
            timeout_seconds=command.timeout_seconds or job_type.timeout_seconds,
            traceparent=tracing.traceparent_of(trace.NonRecordingSpan(sender)),
        )

    @staticmethod
    async def _refuse(delivery: Delivery[Any], problem: Problem) -> None:
        SUBMITTED.labels("", "refused").inc()
        await delivery.reply(problem)
        fields = "; ".join(f"{e.pointer}: {e.message}" for e in problem.errors[:5])
        delivery.park(problem.code, f"{problem.title}. {problem.detail} {fields}".strip())


def _check_time(run_at: datetime | None) -> None:
    if run_at is None or run_at < datetime.now(UTC) + RUN_AHEAD_MAX:
        return
    problem = FieldProblem(
        pointer="/run_at", code="too_late", message="at most ten years from now"
    )
    raise ProblemError(
        Problem(
            code="invalid_input",
            title="The time is too far ahead",
            status=422,
            errors=(problem,),
        )
    )
