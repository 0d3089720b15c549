"""Commands, queries, replies and events of the job-runner."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, JsonValue, StringConstraints

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Priority, Value
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import JOB_RUNNER_QUERIES, JOBS_COMMANDS, JOBS_EVENTS

JOB_TYPE = r"^[a-z][a-z0-9_-]{0,31}\.[a-z][a-z0-9_-]{0,31}$"

JobTypeName = Annotated[str, StringConstraints(pattern=JOB_TYPE)]
ArtifactName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]

PARAMETERS_BYTES_MAX = 65_536
RESULT_BYTES_MAX = 65_536


class JobState(StrEnum):
    """Where a job is in its life; the job-runner's transition table says what may follow."""

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
    """succeeded, failed, cancelled, lost (its worker died) or released (its worker stopped)."""
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
    submitted_at: Moment
    run_at: Moment | None = None
    """Not before this time: asked for by the submitter, or the end of a retry's back-off."""
    started_at: Moment | None = None
    finished_at: Moment | None = None
    cancel_requested: bool = False
    trace_id: str | None = None


@message("lineshaft.jobs.accepted-reply.v1", kind=Kind.REPLY, owner="job-runner")
class JobAccepted(Message):
    """The job is safely stored; `created` is False when an earlier submission was repeated."""

    job: JobView
    created: bool


@message("lineshaft.jobs.submit.v1", kind=Kind.COMMAND, owner="job-runner", exchange=JOBS_COMMANDS)
class SubmitJob(Asking[JobAccepted]):
    """Run a job. Idempotent by `job_id`, and by (tenant, type, idempotency_key) when given."""

    job_id: UUID
    job_type: JobTypeName
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    run_at: Moment | None = None
    attempts_max: Annotated[int, Field(ge=1, le=100)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None

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


class _JobQuery:
    """What the queries of this module share."""

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
class GetJob(_JobQuery, Asking[JobFound]):
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
class ListJobs(_JobQuery, Asking[JobPage]):
    """Jobs of the asking tenant, by keyset pagination."""

    states: tuple[JobState, ...] = ()
    job_type: JobTypeName | None = None
    submitted_after: Moment | None = None
    submitted_before: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=128)] | None = None


class Quantiles(Value):
    """Of a duration in seconds; None when nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class JobTypeStats(Value):
    """What became of the jobs of one type that ended inside the window."""

    job_type: str
    counts: dict[str, int]
    """Ended jobs by final state."""
    success_rate: float | None
    """succeeded / (succeeded + failed + quarantined), 0 to 1; None when none ended."""
    run_seconds: Quantiles
    wait_seconds: Quantiles
    """From the moment it could have run to its start."""
    retries: int
    errors: dict[str, int]
    """Failed attempts by error code."""


class StatsWindow(Value):
    """Statistics of one look back."""

    seconds: int
    ended_per_minute: float
    types: tuple[JobTypeStats, ...]


@message("lineshaft.jobs.stats.v1", kind=Kind.REPLY, owner="job-runner")
class JobStats(Message):
    """Answer to GetJobStats."""

    counts: dict[str, int]
    """Jobs of the tenant now, by state."""
    by_type: dict[str, dict[str, int]]
    """The same by job type, then by state."""
    oldest_queued_seconds: float | None
    windows: dict[str, StatsWindow]
    """`5m`, `1h` and `24h`."""


@message(
    "lineshaft.jobs.get-stats.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class GetJobStats(_JobQuery, Asking[JobStats]):
    """Statistics over the asking tenant's jobs."""


class JobTypeView(Value):
    """A job type as a client needs to know it."""

    name: str
    title: str
    description: str
    parameters_schema: dict[str, Any]
    result_schema: dict[str, Any]
    example: dict[str, JsonValue]
    timeout_seconds: float
    attempts_max: int
    memory_bytes_max: int | None
    isolation: str
    """`process` (killable child process) or `loop` (inside the runner)."""


@message("lineshaft.jobs.types.v1", kind=Kind.REPLY, owner="job-runner")
class JobTypes(Message):
    """Answer to ListJobTypes."""

    job_types: tuple[JobTypeView, ...]


@message(
    "lineshaft.jobs.list-types.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class ListJobTypes(_JobQuery, Asking[JobTypes]):
    """The job types that a live worker serves."""


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
class FindArtifact(_JobQuery, Asking[ArtifactFound]):
    """One artifact of one job of the asking tenant."""

    job_id: UUID
    name: str


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
