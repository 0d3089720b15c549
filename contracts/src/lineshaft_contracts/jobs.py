"""A job: how it is submitted, cancelled, found and listed."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, JsonValue, StringConstraints

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Priority, Value
from lineshaft_contracts.problems import Problem
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import JOB_RUNNER_QUERIES, JOBS_COMMANDS

JOB_TYPE = r"^[a-z][a-z0-9_-]{0,31}\.[a-z][a-z0-9_-]{0,31}$"

JobTypeName = Annotated[str, StringConstraints(pattern=JOB_TYPE)]
ArtifactName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]

JobKey = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A text by which a submitter names something of its own; no control characters."""

PARAMETERS_BYTES_MAX = 1_000_000
PARAMETERS_INLINE_BYTES_MAX = 65_536
"""Of schedules and of children; and what is larger is kept in the object store."""
RESULT_BYTES_MAX = 65_536
SUBMISSIONS_MAX = 100
"""Jobs of one SubmitJobs message."""
DEPENDENCIES_MAX = 100


class JobState(StrEnum):
    """Where a job is in its life; the job-runner's transition table says what may follow."""

    WAITING = "waiting"
    """For other jobs: those it comes after, or its own children."""
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"
    UNKNOWN = "unknown"

    @property
    def is_final(self) -> bool:
        """Whether nothing follows by itself."""
        return self in _FINAL

    @classmethod
    def _missing_(cls, value: object) -> "JobState":
        return cls.UNKNOWN


_FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.QUARANTINED})


class AfterFailure(StrEnum):
    """What becomes of a job when one that it comes after did not succeed."""

    CANCEL = "cancel"
    RUN = "run"


class Progress(Value):
    """How far a running job is; `total` 0 means not known yet."""

    done: int = 0
    total: int = 0
    message: str = ""


class Artifact(Value):
    """A file that a job made, kept in the object store."""

    name: ArtifactName
    media_type: str
    bytes: int
    sha256: str
    """Lower-case hexadecimal digest of the content."""
    rows: int | None = None
    pages: int | None = None


class JobError(Value):
    """Why an attempt did not succeed; no traceback, which stays with the job-runner."""

    code: str
    message: str
    retryable: bool = True


class Attempt(Value):
    """One try at a job."""

    number: int
    worker: str
    started_at: Moment
    finished_at: Moment | None = None
    outcome: str | None = None
    """succeeded, failed, cancelled, lost (its worker died), released (its worker stopped),
    snoozed (it asked for another time) or waiting (for the children that it submitted)."""
    error: JobError | None = None


class JobView(Value):
    """A job as its owner sees it."""

    id: UUID
    type: str
    state: JobState
    tenant: str
    priority: Priority
    parameters: dict[str, JsonValue]
    attempt: int
    attempts_max: int
    progress: Progress
    result: dict[str, JsonValue] | None = None
    error: JobError | None = None
    artifacts: tuple[Artifact, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    idempotency_key: str | None = None
    unique_key: str | None = None
    order_key: str | None = None
    limit_key: str | None = None
    after: tuple[UUID, ...] = ()
    """Jobs that it comes after and that have not ended."""
    parent_id: UUID | None = None
    children: dict[str, int] | None = None
    """Jobs that it submitted itself, by state; None when it submitted none."""
    schedule: str | None = None
    """Name of the schedule that fired it."""
    submitted_at: Moment
    run_at: Moment | None = None
    """Not before this time: asked for by the submitter, or the end of a retry's back-off."""
    deadline_at: Moment | None = None
    started_at: Moment | None = None
    finished_at: Moment | None = None
    cancel_requested: bool = False
    trace_id: str | None = None


class JobSubmission(Value):
    """What to run, when, and in which order with others."""

    job_id: UUID
    job_type: JobTypeName
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    idempotency_key: JobKey | None = None
    """A repeat of (tenant, type, key) gives the job of the first time, for 30 days."""
    unique_key: JobKey | None = None
    """At most one job of (tenant, type, key) at a time: until it has ended, or for
    `unique_seconds` when given. A second one gives the first."""
    unique_seconds: Annotated[int, Field(ge=1, le=2_592_000)] | None = None
    """Length of the window that begins with the first submission."""
    order_key: JobKey | None = None
    """Jobs of (tenant, key) run one at a time, in the order in which they became ready."""
    limit_key: JobKey | None = None
    """What it uses, for example a machine; limits may name it."""
    run_at: Moment | None = None
    deadline_at: Moment | None = None
    """It fails with `deadline_exceeded` when it has not ended by then."""
    attempts_max: Annotated[int, Field(ge=1, le=100)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Of one attempt."""
    after: Annotated[tuple[UUID, ...], Field(max_length=DEPENDENCIES_MAX)] = ()
    """Jobs of the same tenant that have to end first."""
    after_failure: AfterFailure = AfterFailure.CANCEL


@message("lineshaft.jobs.accepted-reply.v1", kind=Kind.REPLY, owner="job-runner")
class JobAccepted(Message):
    """The job is safely stored; `created` is False when an earlier submission was repeated."""

    job: JobView
    created: bool


@message("lineshaft.jobs.submit.v1", kind=Kind.COMMAND, owner="job-runner", exchange=JOBS_COMMANDS)
class SubmitJob(JobSubmission, Asking[JobAccepted]):
    """Run a job. Idempotent by `job_id`, and by (tenant, type, idempotency_key) when given."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return the same word for every submission."""
        return "submit"


class BulkSubmission(JobSubmission):
    """One job of many, each with a priority of its own."""

    priority: Priority = Priority.NORMAL


class SubmissionResult(Value):
    """What became of one job of many; `problem` is None when it is safely stored."""

    job_id: UUID
    created: bool = False
    problem: Problem | None = None


@message("lineshaft.jobs.many-accepted-reply.v1", kind=Kind.REPLY, owner="job-runner")
class JobsAccepted(Message):
    """One result for each submission, in the same order."""

    results: tuple[SubmissionResult, ...]


@message(
    "lineshaft.jobs.submit-many.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOBS_COMMANDS,
)
class SubmitJobs(Asking[JobsAccepted]):
    """Run many jobs; each is accepted or refused by itself. Idempotent like SubmitJob."""

    jobs: Annotated[tuple[BulkSubmission, ...], Field(min_length=1, max_length=SUBMISSIONS_MAX)]

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return the same word for every submission."""
        return "submit"


@message("lineshaft.jobs.cancel-reply.v1", kind=Kind.REPLY, owner="job-runner")
class CancelAccepted(Message):
    """The job after the request; a running one ends as soon as its worker saw it."""

    job: JobView


@message("lineshaft.jobs.cancel.v1", kind=Kind.COMMAND, owner="job-runner", exchange=JOBS_COMMANDS)
class CancelJob(Asking[CancelAccepted]):
    """Cancel a job that has not ended. Idempotent: a second request changes nothing."""

    job_id: UUID

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return the same word for every request."""
        return "cancel"


class JobQuery:
    """What the questions to the job-runner share, and the orders that need no durability."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """All questions to the job-runner travel through one queue."""
        return "query"


@message("lineshaft.jobs.job.v1", kind=Kind.REPLY, owner="job-runner")
class JobFound(Message):
    """Answer to GetJob."""

    job: JobView


@message(
    "lineshaft.jobs.get.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class GetJob(JobQuery, Asking[JobFound]):
    """One job of the asking tenant; problem `job_not_found` otherwise."""

    job_id: UUID


class JobSummary(Value):
    """A job as a line of a list."""

    id: UUID
    type: str
    state: JobState
    priority: Priority
    attempt: int
    progress: Progress
    error: JobError | None = None
    submitted_at: Moment
    started_at: Moment | None = None
    finished_at: Moment | None = None


@message("lineshaft.jobs.page.v1", kind=Kind.REPLY, owner="job-runner")
class JobPage(Message):
    """Answer to ListJobs, newest first."""

    jobs: tuple[JobSummary, ...]
    next_cursor: str | None = None
    """Pass it as `cursor` for the page after this one; None when this is the last."""


@message(
    "lineshaft.jobs.list.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class ListJobs(JobQuery, Asking[JobPage]):
    """Jobs of the asking tenant, by keyset pagination."""

    states: tuple[JobState, ...] = ()
    job_type: JobTypeName | None = None
    order_key: JobKey | None = None
    idempotency_key: JobKey | None = None
    parent_id: UUID | None = None
    submitted_after: Moment | None = None
    submitted_before: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=128)] | None = None


@message("lineshaft.jobs.artifact.v1", kind=Kind.REPLY, owner="job-runner")
class ArtifactFound(Message):
    """Answer to FindArtifact."""

    artifact: Artifact
    object_key: str
    """Where it lies in the object store."""


@message(
    "lineshaft.jobs.find-artifact.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class FindArtifact(JobQuery, Asking[ArtifactFound]):
    """One artifact of one job of the asking tenant."""

    job_id: UUID
    name: str
