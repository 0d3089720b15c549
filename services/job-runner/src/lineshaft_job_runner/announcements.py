"""The events that tell the world what became of a job."""

from datetime import datetime
from typing import Any, assert_never

from lineshaft_contracts.envelope import Envelope, envelop
from lineshaft_contracts.job_events import (
    JobCancelled,
    JobEvent,
    JobFailed,
    JobProgressed,
    JobQuarantined,
    JobQueued,
    JobRetrying,
    JobScheduled,
    JobStarted,
    JobSucceeded,
    JobWaiting,
)
from lineshaft_contracts.jobs import JobError, JobState, Progress

from lineshaft_job_runner.job import Ending, JobRef

SOURCE = "/services/job-runner"
_NO_ERROR = JobError(code="unknown", message="")


def _announce(event: JobEvent, job: JobRef) -> Envelope[Any]:
    """Wrap an event about a job; it continues the trace in which the job was submitted."""
    name = str(job.job_id)
    return envelop(
        event,
        source=SOURCE,
        tenant=job.tenant,
        subject=name,
        partitionkey=name,
        correlationid=name,
        traceparent=job.traceparent,
    )


def _about(job: JobRef) -> dict[str, Any]:
    return {"job_id": job.job_id, "job_type": job.job_type, "attempt": job.attempt}


def started(job: JobRef, worker: str) -> Envelope[Any]:
    """Say that an attempt began."""
    return _announce(JobStarted.model_construct(**_about(job), worker=worker), job)


def progressed(job: JobRef, progress: Progress) -> Envelope[Any]:
    """Say how far an attempt is."""
    return _announce(JobProgressed(**_about(job), progress=progress), job)


def waits(
    job: JobRef,
    *,
    state: JobState,
    run_at: datetime | None = None,
    jobs: int = 0,
    error: JobError | None = None,
) -> Envelope[Any]:
    """Say what a job that has not ended waits for: a worker, its time, a back-off or others."""
    about = _about(job)
    event: JobEvent
    if state is JobState.SCHEDULED and run_at is not None:
        event = JobScheduled(**about, run_at=run_at)
    elif state is JobState.RETRYING and run_at is not None:
        event = JobRetrying(**about, error=error or _NO_ERROR, run_at=run_at)
    elif state is JobState.WAITING:
        event = JobWaiting(**about, jobs=jobs)
    else:
        event = JobQueued.model_construct(**about)
    return _announce(event, job)


def ended(job: JobRef, ending: Ending) -> Envelope[Any]:
    """Say how a job ended."""
    about, error = _about(job), ending.error or _NO_ERROR
    event: JobEvent
    match ending.state:
        case JobState.SUCCEEDED:
            event = JobSucceeded.model_construct(
                **about,
                result=ending.result or {},
                artifacts=tuple(stored.artifact for stored in ending.artifacts),
                run_seconds=ending.run_seconds,
            )
        case JobState.CANCELLED:
            event = JobCancelled.model_construct(**about)
        case JobState.QUARANTINED:
            event = JobQuarantined(**about, error=error)
        case JobState.FAILED:
            event = JobFailed(**about, error=error)
        case (
            JobState.WAITING
            | JobState.SCHEDULED
            | JobState.QUEUED
            | JobState.RUNNING
            | JobState.RETRYING
            | JobState.UNKNOWN
        ):
            raise ValueError(f"{ending.state} is no end")
        case _:
            assert_never(ending.state)
    return _announce(event, job)
