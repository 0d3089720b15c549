"""What becomes of jobs, told on `jobs.events`: one fact for each transition."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from lineshaft_contracts.envelope import Envelope, Message, Moment
from lineshaft_contracts.jobs import Artifact, JobError, Progress
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import JOBS_EVENTS


class JobEvent(Message):
    """What every event about a job says."""

    job_id: UUID
    job_type: str
    attempt: int

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return `<tenant>.<noun>.<verb>.<event>`; the job type is noun.verb."""
        event = self.type.split(".")[2]
        return f"{envelope.tenant}.{self.job_type}.{event}"


def _event(name: str, *, time_to_live: timedelta | None = None) -> Any:
    return message(
        f"lineshaft.jobs.{name}.v1",
        kind=Kind.EVENT,
        owner="job-runner",
        exchange=JOBS_EVENTS,
        time_to_live=time_to_live,
    )


@_event("queued")
class JobQueued(JobEvent):
    """The job waits for a free worker."""


@_event("scheduled")
class JobScheduled(JobEvent):
    """The job waits for its time."""

    run_at: Moment


@_event("waiting")
class JobWaiting(JobEvent):
    """The job waits for other jobs: those that it comes after, or its own children."""

    jobs: int
    """How many of them have not ended."""


@_event("started")
class JobStarted(JobEvent):
    """An attempt began."""

    worker: str


@_event("progressed", time_to_live=timedelta(minutes=5))
class JobProgressed(JobEvent):
    """The running attempt is this far; throttled, and worthless when old."""

    progress: Progress


@_event("succeeded")
class JobSucceeded(JobEvent):
    """The job ended well."""

    result: dict[str, JsonValue]
    artifacts: tuple[Artifact, ...] = ()
    run_seconds: float


@_event("retrying")
class JobRetrying(JobEvent):
    """An attempt failed and another will follow at `run_at`."""

    error: JobError
    run_at: Moment


@_event("failed")
class JobFailed(JobEvent):
    """The job ended without success: no attempts left, or the error is permanent."""

    error: JobError


@_event("cancelled")
class JobCancelled(JobEvent):
    """The job ended because somebody asked for it."""


@_event("quarantined")
class JobQuarantined(JobEvent):
    """The job's workers died under it too often; a person has to look."""

    error: JobError
