"""Steering jobs: why one does not run, limits and pauses, and running ended ones again."""

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, JsonValue, StringConstraints, model_validator

from lineshaft_contracts.envelope import Asking, Message, Moment, Value
from lineshaft_contracts.jobs import JobKey, JobQuery, JobState, JobTypeName, JobView
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import JOB_RUNNER_QUERIES

REDRIVEN_MAX = 10_000
"""Jobs that one RedriveJobs runs again at most."""

Slug = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Actor = Annotated[str, Field(min_length=1, max_length=128)]
"""Who asked, for the audit: the prefix of an API key, or the name of a program."""


class Obstacle(StrEnum):
    """Why a job does not run now."""

    ENDED = "ended"
    RUNNING = "running"
    NOT_YET = "not_yet"
    BACKING_OFF = "backing_off"
    AFTER_OTHERS = "after_others"
    CHILDREN = "children"
    ORDER = "order"
    PAUSED = "paused"
    CONCURRENCY = "concurrency"
    RATE = "rate"
    NO_WORKER = "no_worker"
    NO_FREE_PLACE = "no_free_place"
    TENANT_SHARE = "tenant_share"
    AHEAD = "ahead"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "Obstacle":
        return cls.UNKNOWN


class Explanation(Value):
    """One obstacle, in words and in numbers."""

    code: Obstacle
    message: str
    details: dict[str, JsonValue] = Field(default_factory=dict)


@message("lineshaft.jobs.explained.v1", kind=Kind.REPLY, owner="job-runner")
class JobExplained(Message):
    """Answer to ExplainJob; no reason means that a worker is about to take it."""

    job_id: UUID
    state: JobState
    reasons: tuple[Explanation, ...]


@message(
    "lineshaft.jobs.explain.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class ExplainJob(JobQuery, Asking[JobExplained]):
    """Why a job of the asking tenant does not run."""

    job_id: UUID


@message("lineshaft.jobs.retried.v1", kind=Kind.REPLY, owner="job-runner")
class JobRetried(Message):
    """The job, queued again."""

    job: JobView


@message(
    "lineshaft.jobs.retry.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class RetryJob(JobQuery, Asking[JobRetried]):
    """Run a failed, quarantined or cancelled job again, with its type's attempts anew.

    Problems: `job_not_found`, `job_not_retryable` when it has not ended or has succeeded.
    """

    job_id: UUID
    actor: Actor


class Redrive(Value):
    """Which ended jobs to run again; all conditions have to hold."""

    states: Annotated[tuple[JobState, ...], Field(min_length=1)] = (
        JobState.FAILED,
        JobState.QUARANTINED,
    )
    job_type: JobTypeName | None = None
    error_code: Annotated[str, Field(max_length=128)] | None = None
    ended_after: Moment | None = None
    ended_before: Moment | None = None
    jobs_max: Annotated[int, Field(ge=1, le=REDRIVEN_MAX)] = 1_000
    """The oldest first."""
    per_second: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Spreads their starts; None lets them all start at once."""
    dry_run: bool = False
    """Only count."""
    reason: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _of_states_that_may_be_redriven(self) -> Self:
        allowed = {JobState.FAILED, JobState.QUARANTINED, JobState.CANCELLED}
        if not set(self.states) <= allowed:
            raise ValueError("states may be failed, quarantined and cancelled")
        return self


@message("lineshaft.jobs.redriven.v1", kind=Kind.REPLY, owner="job-runner")
class JobsRedriven(Message):
    """How many jobs match, and how many of them were queued."""

    id: UUID
    """Of the audit record."""
    matched: int
    redriven: int
    last_run_at: Moment | None = None
    """When the last of them may start; None when nothing was queued."""


@message(
    "lineshaft.jobs.redrive.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class RedriveJobs(JobQuery, Asking[JobsRedriven]):
    """Run many ended jobs of the tenant again."""

    redrive: Redrive
    actor: Actor


class AuditEntry(Value):
    """Something that a person or a program did to many jobs, or to the rules of all."""

    id: UUID
    at: Moment
    actor: str
    action: str
    """redrive, retry, set_limit, delete_limit, set_schedule or delete_schedule."""
    details: dict[str, JsonValue]


@message("lineshaft.jobs.audit.v1", kind=Kind.REPLY, owner="job-runner")
class JobAudit(Message):
    """Answer to ListJobAudit, newest first."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None = None


@message(
    "lineshaft.jobs.list-audit.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class ListJobAudit(JobQuery, Asking[JobAudit]):
    """What was done to the jobs of the tenant, and by whom."""

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=128)] | None = None


class JobLimit(Value):
    """How much of something may run; a job is held by every limit that it matches.

    `job_type` and `limit_key` choose jobs, absent ones match all. One count over all the jobs that
    match, of the tenant or, with `every_tenant`, of all tenants together.
    """

    job_type: JobTypeName | None = None
    limit_key: JobKey | None = None
    running_max: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """At once."""
    starts_max: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Starts within `per_seconds`; unused ones add up to as many again and no more."""
    per_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    paused: bool = False
    """Nothing new starts; what runs goes on."""
    note: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if (self.starts_max is None) != (self.per_seconds is None):
            raise ValueError("starts_max and per_seconds belong together")
        if self.running_max is None and self.starts_max is None and not self.paused:
            raise ValueError("give running_max, starts_max with per_seconds, or paused")
        return self


class JobLimitView(Value):
    """A limit and what is used of it."""

    name: str
    every_tenant: bool
    """Set by the platform, for all tenants together; a tenant cannot change it."""
    limit: JobLimit
    running: int
    starts_left: int | None = None
    """None without a rate."""


@message("lineshaft.jobs.limit.v1", kind=Kind.REPLY, owner="job-runner")
class JobLimitSet(Message):
    """The limit as it holds from now on."""

    limit: JobLimitView


@message(
    "lineshaft.jobs.set-limit.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class SetJobLimit(JobQuery, Asking[JobLimitSet]):
    """Make or replace a limit. Idempotent by its name."""

    name: Slug
    limit: JobLimit
    every_tenant: bool = False
    actor: Actor


@message("lineshaft.jobs.limit-deleted.v1", kind=Kind.REPLY, owner="job-runner")
class JobLimitDeleted(Message):
    """It is gone."""

    name: str


@message(
    "lineshaft.jobs.delete-limit.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class DeleteJobLimit(JobQuery, Asking[JobLimitDeleted]):
    """Remove a limit; problem `job_limit_not_found`."""

    name: Slug
    every_tenant: bool = False
    actor: Actor


@message("lineshaft.jobs.limits.v1", kind=Kind.REPLY, owner="job-runner")
class JobLimits(Message):
    """Answer to ListJobLimits: the tenant's own, then the platform's."""

    limits: tuple[JobLimitView, ...]


@message(
    "lineshaft.jobs.list-limits.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class ListJobLimits(JobQuery, Asking[JobLimits]):
    """The limits that hold for jobs of the asking tenant."""
