"""The job types that workers serve, as clients need to know them."""

from typing import Any

from pydantic import JsonValue

from lineshaft_contracts.envelope import Asking, Message, Value
from lineshaft_contracts.jobs import JobQuery
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import JOB_RUNNER_QUERIES


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
    """`process` (killable child process), `loop` (inside the runner) or `remote` (a worker of any
    language, over AMQP)."""


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
class ListJobTypes(JobQuery, Asking[JobTypes]):
    """The job types that a live worker serves."""
