"""Schedules: jobs that start by the clock, and the ledger of their fires."""

from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, JsonValue, model_validator

from lineshaft_contracts.envelope import Asking, Message, Moment, Priority, Value
from lineshaft_contracts.job_control import Actor, Slug
from lineshaft_contracts.jobs import JobKey, JobQuery, JobTypeName
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import JOB_RUNNER_QUERIES

CATCH_UP_MAX = 100
"""Missed fires that are made up for at most."""


class OnGap(StrEnum):
    """A local time that the clock jumps over in spring."""

    NEXT = "next"
    """Fires at the first instant after the gap."""
    SKIP = "skip"


class OnOverlap(StrEnum):
    """A local time that comes twice in autumn."""

    FIRST = "first"
    SECOND = "second"
    BOTH = "both"


class OnMissed(StrEnum):
    """Fires that nobody was there to start."""

    SKIP = "skip"
    ONE = "one"
    """The latest of them."""
    ALL = "all"
    """Each, the latest hundred at most."""


class OnBusy(StrEnum):
    """A fire while the job of the fire before has not ended."""

    SKIP = "skip"
    RUN = "run"
    """Beside it."""
    CANCEL = "cancel"
    """In its place."""


class JobSchedule(Value):
    """When to run what: by cron expression in a time zone, or every so many seconds."""

    job_type: JobTypeName
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    order_key: JobKey | None = None
    limit_key: JobKey | None = None
    attempts_max: Annotated[int, Field(ge=1, le=100)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    cron: Annotated[str, Field(min_length=9, max_length=255)] | None = None
    """Five fields: minute, hour, day of month, month, day of week."""
    every_seconds: Annotated[int, Field(ge=1, le=31_622_400)] | None = None
    """Counted from `starts_at` in elapsed time, whatever the clocks do."""
    zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    """IANA name, for example Europe/Berlin; holds for `cron` alone."""
    starts_at: Moment | None = None
    """No fire before it; None means from when the schedule was made."""
    ends_at: Moment | None = None
    """No fire at or after it."""
    on_gap: OnGap = OnGap.NEXT
    on_overlap: OnOverlap = OnOverlap.FIRST
    on_missed: OnMissed = OnMissed.ONE
    on_busy: OnBusy = OnBusy.SKIP
    paused: bool = False
    note: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _has_one_clock(self) -> Self:
        if (self.cron is None) == (self.every_seconds is None):
            raise ValueError("give either cron or every_seconds")
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValueError("ends_at has to be after starts_at")
        return self


class JobScheduleView(Value):
    """A schedule and where it stands."""

    name: str
    schedule: JobSchedule
    next_fire_at: Moment | None
    """None when it is paused, or nothing follows."""
    last_fire_at: Moment | None
    last_job_id: UUID | None


class Fire(Value):
    """One moment of a schedule and what came of it."""

    fire_at: Moment
    outcome: str
    """submitted, skipped_missed, skipped_busy or refused."""
    job_id: UUID | None = None
    decided_at: Moment
    detail: str = ""


@message("lineshaft.jobs.schedule.v1", kind=Kind.REPLY, owner="job-runner")
class JobScheduleSet(Message):
    """The schedule as it holds from now on."""

    schedule: JobScheduleView


@message(
    "lineshaft.jobs.set-schedule.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class SetJobSchedule(JobQuery, Asking[JobScheduleSet]):
    """Make or replace a schedule of the tenant. Idempotent by its name."""

    name: Slug
    schedule: JobSchedule
    actor: Actor


@message("lineshaft.jobs.schedule-deleted.v1", kind=Kind.REPLY, owner="job-runner")
class JobScheduleDeleted(Message):
    """It is gone, with its ledger; its jobs stay."""

    name: str


@message(
    "lineshaft.jobs.delete-schedule.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class DeleteJobSchedule(JobQuery, Asking[JobScheduleDeleted]):
    """Remove a schedule; problem `job_schedule_not_found`."""

    name: Slug
    actor: Actor


@message("lineshaft.jobs.schedules.v1", kind=Kind.REPLY, owner="job-runner")
class JobSchedules(Message):
    """Answer to ListJobSchedules, by name."""

    schedules: tuple[JobScheduleView, ...]


@message(
    "lineshaft.jobs.list-schedules.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class ListJobSchedules(JobQuery, Asking[JobSchedules]):
    """The schedules of the asking tenant; with a name, that one alone."""

    name: Slug | None = None


@message("lineshaft.jobs.fires.v1", kind=Kind.REPLY, owner="job-runner")
class JobFires(Message):
    """Past fires, newest first, and the next ones as far as they can be told."""

    past: tuple[Fire, ...]
    coming: tuple[Moment, ...]


@message(
    "lineshaft.jobs.list-fires.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class ListJobFires(JobQuery, Asking[JobFires]):
    """The ledger of one schedule; problem `job_schedule_not_found`."""

    name: Slug
    limit: Annotated[int, Field(ge=1, le=500)] = 50


@message(
    "lineshaft.jobs.preview-schedule.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class PreviewJobSchedule(JobQuery, Asking[JobFires]):
    """When a schedule would fire, without making it."""

    schedule: JobSchedule
    limit: Annotated[int, Field(ge=1, le=100)] = 10
