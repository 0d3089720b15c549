"""The job that a schedule describes: checked when it is set, made anew at every fire."""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Protocol

from lineshaft_common import tracing
from lineshaft_contracts.envelope import Priority, uuid7
from lineshaft_contracts.job_schedules import JobSchedule
from lineshaft_contracts.jobs import PARAMETERS_INLINE_BYTES_MAX, JobSubmission
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from opentelemetry.trace import SpanKind

from lineshaft_job_runner.job import NewJob


class Submissions(Protocol):
    """The checks of every submission; see submissions.py."""

    async def new_job(
        self,
        submission: JobSubmission,
        *,
        tenant: str,
        priority: Priority,
        traceparent: str | None,
        schedule: str | None = None,
    ) -> NewJob:
        """Make a job of a submission; ProblemError that points at what is wrong."""
        ...


class ServedTypes(Protocol):
    """The types that other workers serve; see served_types.py."""

    async def find(self, name: str) -> object | None:
        """Return a type that a live worker serves, or None."""
        ...


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A job that was found valid, to be made once for each fire."""

    job: NewJob

    def fired(self) -> NewJob:
        """Make the job of one fire; its trace begins here."""
        job_id = uuid7()
        about = {
            "lineshaft.job.id": str(job_id),
            "lineshaft.schedule": self.job.schedule or "",
            "lineshaft.tenant": self.job.tenant,
        }
        with tracing.span(f"fire {self.job.type}", kind=SpanKind.PRODUCER, attributes=about) as s:
            return replace(self.job, id=job_id, traceparent=tracing.traceparent_of(s))


class Drafts:
    """Makes drafts of jobs of the types that somebody serves."""

    def __init__(
        self, submissions: Submissions, own: Container[str], elsewhere: ServedTypes
    ) -> None:
        self._submissions = submissions
        self._own = own
        self._elsewhere = elsewhere

    async def draft(self, schedule: JobSchedule, *, tenant: str, name: str) -> Draft:
        """Check type and parameters; problems `unknown_job_type` and `invalid_input`.

        A submission of a type that nobody serves may wait for a worker. A schedule may not: it
        would go on for ever about a name that somebody mistyped.
        """
        job_type = schedule.job_type
        if job_type not in self._own and await self._elsewhere.find(job_type) is None:
            raise ProblemError(_unknown(job_type))
        submission = JobSubmission(
            job_id=uuid7(),
            job_type=job_type,
            parameters=schedule.parameters,
            order_key=schedule.order_key,
            limit_key=schedule.limit_key,
            attempts_max=schedule.attempts_max,
            timeout_seconds=schedule.timeout_seconds,
        )
        job = await self._submissions.new_job(
            submission,
            tenant=tenant,
            priority=schedule.priority,
            traceparent=None,
            schedule=name,
        )
        if len(job.parameters.encode()) > PARAMETERS_INLINE_BYTES_MAX:
            raise ProblemError(_too_large())
        return Draft(job=job)


def _too_large() -> Problem:
    message = f"at most {PARAMETERS_INLINE_BYTES_MAX} bytes, as every fire of a schedule has them"
    return Problem(
        code="invalid_input",
        title="The parameters are too large for a schedule",
        detail=message,
        status=422,
        errors=(FieldProblem(pointer="/parameters", code="too_large", message=message),),
    )


def _unknown(job_type: str) -> Problem:
    message = f"no worker serves {job_type!r}"
    return Problem(
        code="unknown_job_type",
        title="No worker serves this job type",
        detail=message,
        status=422,
        errors=(FieldProblem(pointer="/job_type", code="unknown_job_type", message=message),),
    )
