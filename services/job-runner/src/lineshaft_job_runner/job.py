"""A job inside the runner: its transition table, and the values that travel between its parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from lineshaft_contracts.envelope import Priority
from lineshaft_contracts.jobs import AfterFailure, Artifact, JobError, JobState, Progress
from lineshaft_contracts.problems import Problem

_GIVEN_UP = frozenset({JobState.CANCELLED, JobState.FAILED})  # Failed: its deadline has passed.
_AGAIN = frozenset({JobState.QUEUED, JobState.SCHEDULED})  # Somebody asked for it.

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset({JobState.SCHEDULED, JobState.QUEUED}) | _GIVEN_UP,
    JobState.SCHEDULED: frozenset({JobState.QUEUED}) | _GIVEN_UP,
    JobState.QUEUED: frozenset({JobState.RUNNING}) | _GIVEN_UP,
    JobState.RUNNING: frozenset(
        {
            JobState.SUCCEEDED,
            JobState.RETRYING,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.QUARANTINED,
            JobState.QUEUED,  # Its worker stopped or died.
            JobState.SCHEDULED,  # It asked for another time.
            JobState.WAITING,  # For the children that it submitted.
        }
    ),
    JobState.RETRYING: frozenset({JobState.QUEUED}) | _GIVEN_UP,
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: _AGAIN,
    JobState.CANCELLED: _AGAIN,
    JobState.QUARANTINED: _AGAIN,
}
"""What may follow each state; every UPDATE of the store names both ends of one of these."""

RANK_ALLOWANCE: Mapping[Priority, timedelta] = {
    Priority.CRITICAL: timedelta(0),
    Priority.HIGH: timedelta(minutes=1),
    Priority.NORMAL: timedelta(minutes=5),
    Priority.LOW: timedelta(minutes=30),
}
"""How much later than it is a job counts as ready. Claims go by that time, so an urgent job
overtakes, and none is overtaken by anything that became ready more than its allowance later."""

PRIORITIES: tuple[Priority, ...] = tuple(RANK_ALLOWANCE)
PRIORITY_NUMBERS = {priority: number for number, priority in enumerate(PRIORITIES)}

LOSSES_MAX = 3
"""A job whose worker died under it so many times is put in quarantine."""


@dataclass(frozen=True, kw_only=True)
class NewJob:
    """A submission whose parameters were found valid."""

    id: UUID
    tenant: str
    type: str
    priority: Priority
    parameters: str
    """JSON."""
    idempotency_key: str | None
    run_at: datetime | None
    """Not before; None or past means at once. An instant, so that only one clock counts."""
    attempts_max: int
    timeout_seconds: float
    traceparent: str | None
    unique_key: str | None = None
    unique_seconds: int | None = None
    order_key: str | None = None
    limit_key: str | None = None
    deadline_at: datetime | None = None
    after: tuple[UUID, ...] = ()
    after_failure: AfterFailure = AfterFailure.CANCEL
    parent_id: UUID | None = None
    schedule: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobRef:
    """What announcements say of every job."""

    job_id: UUID
    job_type: str
    attempt: int
    tenant: str
    traceparent: str | None


@dataclass(frozen=True, kw_only=True)
class ClaimedJob:
    """A job that this worker runs now, and may only finish while its lease token is current."""

    id: UUID
    tenant: str
    type: str
    priority: Priority
    parameters: dict[str, Any]
    attempt: int
    attempts_max: int
    timeout_seconds: float
    lease_token: UUID
    traceparent: str | None
    waited_seconds: float
    deadline_at: datetime | None = None
    """When it fails, whatever it does then."""
    checkpoint: dict[str, Any] | None = None
    """What an earlier attempt kept."""
    parameters_key: str | None = None
    """Where they lie in the object store when they are too large for a row."""
    children: dict[str, int] | None = None
    """The jobs that it submitted itself, by state; None when it submitted none."""

    @property
    def ref(self) -> JobRef:
        """What announcements say of it."""
        return JobRef(
            job_id=self.id,
            job_type=self.type,
            attempt=self.attempt,
            tenant=self.tenant,
            traceparent=self.traceparent,
        )


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What became of a submission: its job, or why there is none."""

    job_id: UUID
    created: bool
    problem: Problem | None = None


class Verdict(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    """The worker is stopping; the attempt does not count."""
    SNOOZED = "snoozed"
    """The job asked for another time, `retry_in`; the attempt does not count."""
    WAITING = "waiting"
    """For the children that it submitted; it runs again after them, the attempt does not count."""


@dataclass(frozen=True, kw_only=True)
class StoredArtifact:
    """An artifact and where it lies in the object store."""

    artifact: Artifact
    object_key: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one attempt, as its worker reports it."""

    job: ClaimedJob
    verdict: Verdict
    result: dict[str, Any] | None = None
    error: JobError | None = None
    artifacts: tuple[StoredArtifact, ...] = field(default=())
    retry_in: timedelta | None = None
    """Until the next attempt; None when there is none."""
    run_seconds: float = 0.0
    progress: Progress = field(default_factory=Progress)
    checkpoint: dict[str, Any] | None = None
    """What the next attempt is given; None keeps what there is."""
    children: tuple[NewJob, ...] = ()
    """Jobs to store together with this end."""

    @property
    def state(self) -> JobState:
        """The state that follows."""
        match self.verdict:
            case Verdict.SUCCEEDED:
                return JobState.SUCCEEDED
            case Verdict.CANCELLED:
                return JobState.CANCELLED
            case Verdict.RELEASED:
                return JobState.QUEUED
            case Verdict.SNOOZED:
                return JobState.SCHEDULED
            case Verdict.WAITING:
                return JobState.WAITING
            case Verdict.FAILED:
                return JobState.FAILED if self.retry_in is None else JobState.RETRYING


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of a job."""

    job_id: UUID
    state: JobState
    result: dict[str, Any] | None = None
    error: JobError | None = None
    """None keeps the error of the attempt before."""
    artifacts: tuple[StoredArtifact, ...] = ()
    run_seconds: float = 0.0
    progress: Progress | None = None
    """None keeps what there is."""


@dataclass(frozen=True, kw_only=True)
class ProgressUpdate:
    """How far a running attempt is."""

    job: ClaimedJob
    progress: Progress
    moved: bool = False
    """Whether the progress is news to tell."""
    checkpoint: dict[str, Any] | None = None
    """What a next attempt is to be given; None keeps what there is."""
