"""Submitting a job: checked here as far as possible, then handed to the broker for good."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from lineshaft_common.messaging.bus import Bus, NoReplyError
from lineshaft_contracts.envelope import Moment, Priority, uuid7
from lineshaft_contracts.jobs import (
    DEPENDENCIES_MAX,
    AfterFailure,
    JobAccepted,
    JobKey,
    JobTypeName,
    SubmitJob,
)
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.job_checks import JobChecks, one_key, refusal

ACCEPT_DEADLINE_SECONDS = 1.0
"""How long a submitter waits for the job-runner before it gets 202."""


class Submission(BaseModel):
    """A job to run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: JobTypeName
    """One of `GET /api/job-types`."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """What the type's schema asks for; at most 1 MB as JSON."""
    priority: Priority = Priority.NORMAL
    idempotency_key: JobKey | None = None
    """A repeat of (tenant, type, key) gives the job of the first time, for 30 days. Also as header
    field `Idempotency-Key`."""
    unique_key: JobKey | None = None
    """At most one job of (tenant, type, key) at a time: until it has ended, or for
    `unique_seconds` when given. A second one gives the first."""
    unique_seconds: Annotated[int, Field(ge=1, le=2_592_000)] | None = None
    """Length of the window that begins with the first submission; needs `unique_key`."""
    order_key: JobKey | None = None
    """Jobs of (tenant, key) run one at a time, in the order in which they became ready."""
    limit_key: JobKey | None = None
    """What it uses, for example a machine; limits may name it."""
    run_at: Moment | None = None
    """Not before this instant."""
    deadline_at: Moment | None = None
    """It fails with `deadline_exceeded` when it has not ended by then."""
    attempts_max: Annotated[int, Field(ge=1, le=100)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Of one attempt."""
    after: Annotated[tuple[UUID, ...], Field(max_length=DEPENDENCIES_MAX)] = ()
    """Jobs of the same tenant that have to end first."""
    after_failure: AfterFailure = AfterFailure.CANCEL
    """What becomes of it when one of `after` does not succeed."""

    def command(self, *, idempotency_key: str | None) -> dict[str, Any]:
        """Write the fields of the command that it becomes; they are valid, as this one is."""
        return {
            "job_id": uuid7(),
            "job_type": self.type,
            "parameters": self.parameters,
            "idempotency_key": idempotency_key,
            "unique_key": self.unique_key,
            "unique_seconds": self.unique_seconds,
            "order_key": self.order_key,
            "limit_key": self.limit_key,
            "run_at": self.run_at,
            "deadline_at": self.deadline_at,
            "attempts_max": self.attempts_max,
            "timeout_seconds": self.timeout_seconds,
            "after": self.after,
            "after_failure": self.after_failure,
        }


class SubmittedLater(BaseModel):
    """The broker has the job safely; the job-runner, which is away, takes it when it returns."""

    id: UUID
    """With an idempotency key or a unique key the id may be that of an earlier submission instead:
    repeat the request to learn it."""
    state: str = "accepted"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a submission; `accepted` is None while the job-runner is away."""

    job_id: UUID
    accepted: JobAccepted | None


class JobDesk:
    """Takes submissions."""

    def __init__(self, bus: Bus, checks: JobChecks) -> None:
        self._bus = bus
        self._checks = checks

    async def submit(
        self, submission: Submission, *, tenant: str, header_key: str | None
    ) -> Outcome:
        """Hand over a job.

        Raises ProblemError for what cannot be accepted, PublishError when the broker cannot.
        """
        key = one_key(submission.idempotency_key, header_key)
        await check(submission, self._checks)
        command = SubmitJob.model_construct(**submission.command(idempotency_key=key))
        try:
            accepted = await self._bus.ask(
                command,
                tenant=tenant,
                source=SOURCE,
                priority=submission.priority,
                deadline_seconds=ACCEPT_DEADLINE_SECONDS,
            )
        except NoReplyError:
            return Outcome(job_id=command.job_id, accepted=None)
        return Outcome(job_id=accepted.job.id, accepted=accepted)


async def check(submission: Submission, checks: JobChecks) -> None:
    """Hold a submission against what its model alone cannot know; raises as JobChecks does."""
    if submission.unique_seconds is not None and submission.unique_key is None:
        raise refusal("/unique_seconds", "incomplete", "needs unique_key")
    await checks.check(submission.type, submission.parameters)
