"""A job inside the runner: its transition table, and the values that travel between its parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from lineshaft_contracts.envelope import Priority
from lineshaft_contracts.jobs import Artifact, JobError, JobState, Progress

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.SCHEDULED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {
            JobState.SUCCEEDED,
            JobState.RETRYING,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.QUARANTINED,
            JobState.QUEUED,  # Its worker stopped or died.
        }
    ),
    JobState.RETRYING: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.QUARANTINED: frozenset(),
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
    cancel_requested: bool = False


class Verdict(StrEnum):
    """How an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    """The worker is stopping; the attempt does not count."""


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
            case Verdict.FAILED:
                return JobState.FAILED if self.retry_in is None else JobState.RETRYING


@dataclass(frozen=True, kw_only=True)
class ProgressUpdate:
    """How far a running attempt is."""

    job: ClaimedJob
    progress: Progress
    moved: bool = False
    """Whether the progress is news to tell."""
