"""What is checked about a submission before it becomes a job."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from lineshaft_contracts.envelope import Priority
from lineshaft_contracts.jobs import PARAMETERS_BYTES_MAX, JobSubmission
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from pydantic_core import to_json

from lineshaft_job_runner import storable
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.job import NewJob

AHEAD_MAX = timedelta(days=3_653)
"""A job for a later time than in ten years is a mistake."""
ATTEMPTS_MAX = 3
TIMEOUT_SECONDS = 300.0
"""Of a type that no live worker serves."""


class Bounds(Protocol):
    """What a type says of all its jobs."""

    @property
    def attempts_max(self) -> int:
        """How often a job is tried."""
        ...

    @property
    def timeout_seconds(self) -> float:
        """How long an attempt may take."""
        ...


class ServedTypes(Protocol):
    """Job types that other workers serve; see served_types.py."""

    async def find(self, name: str) -> Bounds | None:
        """Return a type that a live worker serves."""
        ...


class Submissions:
    """Turns submissions into jobs.

    Parameters are held against the type's model when this worker serves it. A type that others
    serve, or nobody at the moment, is stored all the same: its own worker checks them.
    """

    def __init__(self, catalogue: Catalogue, elsewhere: ServedTypes) -> None:
        self._catalogue = catalogue
        self._elsewhere = elsewhere

    async def new_job(
        self,
        submission: JobSubmission,
        *,
        tenant: str,
        priority: Priority,
        traceparent: str | None,
        schedule: str | None = None,
    ) -> NewJob:
        """Check a submission; raises ProblemError that points at what is wrong."""
        name = submission.job_type
        _check_times(submission)
        attempts_max, timeout_seconds = ATTEMPTS_MAX, TIMEOUT_SECONDS
        if name in self._catalogue:
            job_type = self._catalogue.find(name)
            attempts_max, timeout_seconds = job_type.attempts_max, job_type.timeout_seconds
            parameters = self._catalogue.validated(name, submission.parameters)
            text = parameters.model_dump_json()
        else:
            served = await self._elsewhere.find(name)
            if served is not None:
                attempts_max, timeout_seconds = served.attempts_max, served.timeout_seconds
            text = to_json(submission.parameters).decode()
        if (
            len(text.encode()) > PARAMETERS_BYTES_MAX
            or storable.has_nul(text)
            or not storable.is_finite(text)
        ):
            raise ProblemError(_unstorable())
        return NewJob(
            id=submission.job_id,
            tenant=tenant,
            type=name,
            priority=priority,
            parameters=text,
            idempotency_key=submission.idempotency_key,
            run_at=submission.run_at,
            attempts_max=submission.attempts_max or attempts_max,
            timeout_seconds=submission.timeout_seconds or timeout_seconds,
            traceparent=traceparent,
            unique_key=submission.unique_key,
            unique_seconds=submission.unique_seconds,
            order_key=submission.order_key,
            limit_key=submission.limit_key,
            deadline_at=submission.deadline_at,
            after=submission.after,
            after_failure=submission.after_failure,
            schedule=schedule,
        )


def _check_times(submission: JobSubmission) -> None:
    if submission.run_at is None and submission.deadline_at is None:
        return
    now = datetime.now(UTC)
    errors: list[FieldProblem] = []
    for pointer, moment in (
        ("/run_at", submission.run_at),
        ("/deadline_at", submission.deadline_at),
    ):
        if moment is not None and moment > now + AHEAD_MAX:
            message = "at most ten years from now"
            errors.append(FieldProblem(pointer=pointer, code="too_late", message=message))
    deadline = submission.deadline_at
    if deadline is not None and deadline <= max(now, submission.run_at or now):
        message = "must be in the future, and after run_at"
        errors.append(FieldProblem(pointer="/deadline_at", code="too_early", message=message))
    if errors:
        raise ProblemError(
            Problem(
                code="invalid_input",
                title="The times of the job are not possible",
                status=422,
                errors=tuple(errors),
            )
        )


def _unstorable() -> Problem:
    message = f"at most {PARAMETERS_BYTES_MAX} bytes, no NUL characters, no NaN and no infinity"
    return Problem(
        code="invalid_input",
        title="The parameters cannot be stored",
        detail=message,
        status=422,
        errors=(FieldProblem(pointer="/parameters", code="not_storable", message=message),),
    )
