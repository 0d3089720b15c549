"""A schedule inside the runner, and its fires: the values that travel between its parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from lineshaft_contracts.job_schedules import JobSchedule

from lineshaft_job_runner.job import NewJob


@dataclass(frozen=True, kw_only=True)
class KeptSchedule:
    """A schedule of a tenant, and where it stands."""

    id: UUID
    name: str
    schedule: JobSchedule
    made_at: datetime
    next_fire_at: datetime | None
    last_fire_at: datetime | None
    last_job_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class DueSchedule:
    """A schedule whose next fire has come; its row is locked."""

    id: UUID
    tenant: str
    name: str
    text: str
    """The schedule as it is stored; reading it is left to who can refuse it."""
    made_at: datetime
    fire_at: datetime
    last_job_id: UUID | None
    busy: bool
    """Whether the job of the fire before has not ended."""


class FireOutcome(StrEnum):
    """What came of a fire."""

    SUBMITTED = "submitted"
    SKIPPED_MISSED = "skipped_missed"
    SKIPPED_BUSY = "skipped_busy"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A moment of a schedule and what comes of it; with the job when one is submitted."""

    fire_at: datetime
    outcome: FireOutcome
    detail: str = ""
    job: NewJob | None = None


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """All that follows from one schedule's being due; stored whole or not at all."""

    due: DueSchedule
    decisions: Sequence[Decision]
    """In order of their times; at least one."""
    cancels: bool = False
    """Whether the job of the fire before gives way first."""
    next_fire_at: datetime | None = None
