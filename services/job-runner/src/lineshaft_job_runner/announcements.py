"""The events that tell the world what became of a job."""

from typing import Any
from uuid import UUID

from lineshaft_contracts.envelope import Envelope, envelop
from lineshaft_contracts.job_events import (
    JobCancelled,
    JobEvent,
    JobFailed,
    JobProgressed,
    JobQuarantined,
    JobQueued,
    JobRetrying,
    JobStarted,
    JobSucceeded,
)
from lineshaft_contracts.jobs import JobError, JobState

from lineshaft_job_runner.job import ClaimedJob, NewJob, Outcome, ProgressUpdate

SOURCE = "/services/job-runner"


def announce(event: JobEvent, *, tenant: str, traceparent: str | None) -> Envelope[Any]:
    """Wrap an event about a job; it continues the trace in which the job was submitted."""
    envelope = envelop(
        event,
        source=SOURCE,
        tenant=tenant,
        subject=str(event.job_id),
        partitionkey=str(event.job_id),
        correlationid=str(event.job_id),
    )
    return envelope.model_copy(update={"traceparent": traceparent})


def queued(
    *, job_id: UUID, job_type: str, attempt: int, tenant: str, traceparent: str | None
) -> Envelope[Any]:
    """Say that a job waits for a worker."""
    event = JobQueued(job_id=job_id, job_type=job_type, attempt=attempt)
    return announce(event, tenant=tenant, traceparent=traceparent)


def accepted(job: NewJob) -> Envelope[Any]:
    """Say that a new job waits for a worker."""
    return queued(
        job_id=job.id, job_type=job.type, attempt=0, tenant=job.tenant, traceparent=job.traceparent
    )


def started(job: ClaimedJob, worker: str) -> Envelope[Any]:
    """Say that an attempt began."""
    event = JobStarted(job_id=job.id, job_type=job.type, attempt=job.attempt, worker=worker)
    return announce(event, tenant=job.tenant, traceparent=job.traceparent)


def progressed(update: ProgressUpdate) -> Envelope[Any]:
    """Say how far an attempt is."""
    job = update.job
    event = JobProgressed(
        job_id=job.id, job_type=job.type, attempt=job.attempt, progress=update.progress
    )
    return announce(event, tenant=job.tenant, traceparent=job.traceparent)


def cancelled(
    *, job_id: UUID, job_type: str, attempt: int, tenant: str, traceparent: str | None
) -> Envelope[Any]:
    """Say that a job was cancelled before or while it ran."""
    event = JobCancelled(job_id=job_id, job_type=job_type, attempt=attempt)
    return announce(event, tenant=tenant, traceparent=traceparent)


def quarantined(
    *,
    job_id: UUID,
    job_type: str,
    attempt: int,
    tenant: str,
    traceparent: str | None,
    error: JobError,
) -> Envelope[Any]:
    """Say that a job's workers died under it too often."""
    event = JobQuarantined(job_id=job_id, job_type=job_type, attempt=attempt, error=error)
    return announce(event, tenant=tenant, traceparent=traceparent)


def ended(outcome: Outcome, *, state: JobState, run_at: Any) -> Envelope[Any]:
    """Say what followed an attempt's end: `state`; `run_at` is when the next one may begin."""
    job = outcome.job
    about: dict[str, Any] = {"job_id": job.id, "job_type": job.type, "attempt": job.attempt}
    error = outcome.error or JobError(code="unknown", message="")
    event: JobEvent
    match state:
        case JobState.SUCCEEDED:
            event = JobSucceeded(
                **about,
                result=outcome.result or {},
                artifacts=tuple(stored.artifact for stored in outcome.artifacts),
                run_seconds=outcome.run_seconds,
            )
        case JobState.RETRYING:
            event = JobRetrying(**about, error=error, run_at=run_at)
        case JobState.CANCELLED:
            event = JobCancelled(**about)
        case JobState.QUEUED:
            event = JobQueued(**about)
        case _:
            event = JobFailed(**about, error=error)
    return announce(event, tenant=job.tenant, traceparent=job.traceparent)
