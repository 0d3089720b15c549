"""Work for workers of any language: they serve job types by asking for jobs over AMQP.

A worker names the types it serves, fetches jobs, keeps their leases with beats and reports how
they ended. It is a part of the platform: it sees the parameters of every tenant's jobs.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, JsonValue

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Priority, Value
from lineshaft_contracts.jobs import JobError, JobTypeName, Progress
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import JOBS_WORK

FETCHED_MAX = 100
SERVED_FOR = timedelta(minutes=2)
"""How long an offer holds without being repeated."""

WorkerName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class WorkerMessage:
    """What all that a worker says shares."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Everything that workers say travels through one queue."""
        return "work"


class OfferedType(Value):
    """A job type that a worker serves."""

    name: JobTypeName
    title: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(max_length=4_000)] = ""
    parameters_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    """JSON Schema 2020-12; submissions are not held against it, the worker checks them."""
    result_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    example: dict[str, JsonValue] = Field(default_factory=dict)
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    attempts_max: Annotated[int, Field(ge=1, le=100)] = 3


@message("lineshaft.jobs.work-offered.v1", kind=Kind.REPLY, owner="job-runner")
class WorkOffered(Message):
    """The offer holds until then."""

    until: Moment


@message(
    "lineshaft.jobs.offer-work.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOBS_WORK,
    durable=False,
)
class OfferWork(WorkerMessage, Asking[WorkOffered]):
    """Serve job types, to be repeated every minute.

    Problem `job_type_built_in` for a type that a job-runner serves itself.
    """

    worker: WorkerName
    job_types: Annotated[tuple[OfferedType, ...], Field(min_length=1, max_length=100)]


class WorkItem(Value):
    """A job to run now; only `lease_token` entitles to say how it ended."""

    job_id: UUID
    job_type: str
    tenant: str
    priority: Priority
    parameters: dict[str, JsonValue]
    attempt: int
    attempts_max: int
    timeout_seconds: float
    lease_token: UUID
    checkpoint: dict[str, JsonValue] | None = None
    """What an earlier attempt said last."""
    traceparent: str | None = None


@message("lineshaft.jobs.work.v1", kind=Kind.REPLY, owner="job-runner")
class WorkFetched(Message):
    """Jobs under a lease; empty when there are none."""

    jobs: tuple[WorkItem, ...]
    lease_seconds: float


@message(
    "lineshaft.jobs.fetch-work.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOBS_WORK,
    durable=False,
)
class FetchWork(WorkerMessage, Asking[WorkFetched]):
    """Take jobs of offered types. A job whose reply got lost is rescued when its lease ends.

    Problem `job_type_not_offered` when this worker does not offer one of them at present.
    """

    worker: WorkerName
    job_types: Annotated[tuple[JobTypeName, ...], Field(min_length=1, max_length=100)]
    jobs_max: Annotated[int, Field(ge=1, le=FETCHED_MAX)] = 1


class Beat(Value):
    """A sign of life of one attempt."""

    job_id: UUID
    lease_token: UUID
    progress: Progress | None = None
    checkpoint: dict[str, JsonValue] | None = None


@message("lineshaft.jobs.work-held.v1", kind=Kind.REPLY, owner="job-runner")
class WorkHeld(Message):
    """Lease tokens that are still good; a job whose token is missing is somebody else's: stop."""

    held: tuple[UUID, ...]
    cancelled: tuple[UUID, ...]
    """Those of `held` that somebody wants stopped: end them as cancelled."""


@message(
    "lineshaft.jobs.beat-work.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOBS_WORK,
    durable=False,
)
class BeatWork(WorkerMessage, Asking[WorkHeld]):
    """Keep leases, at least every third of `lease_seconds`.

    An attempt that goes on beyond its time is ended here and is not held any more. Problem
    `invalid_input` for a checkpoint that cannot be kept; the leases are extended all the same.
    """

    beats: Annotated[tuple[Beat, ...], Field(min_length=1, max_length=1_000)]


class WorkOutcome(StrEnum):
    """How a worker says that an attempt ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RELEASED = "released"
    """The worker stops; the attempt does not count."""
    SNOOZED = "snoozed"
    """Not now: again after `again_seconds`; the attempt does not count."""


class WorkEnd(Value):
    """The end of one attempt."""

    job_id: UUID
    lease_token: UUID
    outcome: WorkOutcome
    result: dict[str, JsonValue] | None = None
    error: JobError | None = None
    again_seconds: Annotated[float, Field(ge=0, le=31_622_400)] | None = None
    run_seconds: Annotated[float, Field(ge=0)] = 0.0
    progress: Progress = Field(default_factory=Progress)


@message("lineshaft.jobs.work-ended.v1", kind=Kind.REPLY, owner="job-runner")
class WorkEnded(Message):
    """Lease tokens whose ends are stored; what is missing was not this worker's any more."""

    stored: tuple[UUID, ...]


@message(
    "lineshaft.jobs.end-work.v1",
    kind=Kind.COMMAND,
    owner="job-runner",
    exchange=JOBS_WORK,
    durable=False,
)
class EndWork(WorkerMessage, Asking[WorkEnded]):
    """Report ends. Idempotent by lease token: no end is stored twice."""

    ends: Annotated[tuple[WorkEnd, ...], Field(min_length=1, max_length=FETCHED_MAX)]
