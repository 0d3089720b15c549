"""What the runner and a child say to each other: JSON lines over a socket pair."""

import json
import math
from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from lineshaft_contracts.envelope import Priority
from lineshaft_contracts.jobs import Artifact, JobError, Progress

from lineshaft_job_runner.job import ClaimedJob, NewJob, StoredArtifact
from lineshaft_job_runner.job_type import SnoozeError

LINE_BYTES_MAX = 4 * 1024 * 1024

Kind = Literal[
    "run",
    "stop",
    "answer",
    "ask",
    "ready",
    "progress",
    "checkpoint",
    "log",
    "submitted",
    "succeeded",
    "snoozed",
    "waits",
    "failed",
    "stopped",
]
Question = Literal["record", "recorded", "find_artifact"]


def write(kind: Kind, **content: Any) -> bytes:
    """Write one frame."""
    return json.dumps({"kind": kind, **content}, allow_nan=False).encode() + b"\n"


def read(line: bytes) -> dict[str, Any]:
    """Read one frame."""
    frame: dict[str, Any] = json.loads(line)
    return frame


def run(job: ClaimedJob) -> bytes:
    """Ask for an attempt."""
    return write(
        "run",
        id=str(job.id),
        tenant=job.tenant,
        type=job.type,
        priority=job.priority.value,
        parameters=job.parameters,
        attempt=job.attempt,
        attempts_max=job.attempts_max,
        timeout_seconds=job.timeout_seconds,
        lease_token=str(job.lease_token),
        checkpoint=job.checkpoint,
        children=job.children,
    )


def read_run(frame: dict[str, Any]) -> ClaimedJob:
    """Read what `run` wrote."""
    return ClaimedJob(
        id=UUID(frame["id"]),
        tenant=frame["tenant"],
        type=frame["type"],
        priority=Priority(frame["priority"]),
        parameters=frame["parameters"],
        attempt=frame["attempt"],
        attempts_max=frame["attempts_max"],
        timeout_seconds=frame["timeout_seconds"],
        lease_token=UUID(frame["lease_token"]),
        traceparent=None,
        waited_seconds=0,
        checkpoint=frame["checkpoint"],
        children=frame["children"],
    )


def progress(moved: Progress) -> bytes:
    """Say how far the attempt is."""
    return write("progress", progress=moved.model_dump())


def checkpoint(state: dict[str, Any]) -> bytes:
    """Say what the next attempt is to be given."""
    return write("checkpoint", state=state)


def log_line(message: str, data: Mapping[str, Any]) -> bytes:
    """Say what the job wants in the log."""
    return write("log", message=message, data=_finite(data))


def _finite(data: Mapping[str, Any]) -> dict[str, Any]:
    """Write numbers that JSON does not have as text."""
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in data.items()
    }


def submitted(child: NewJob) -> bytes:
    """Hand a child over."""
    return write(
        "submitted",
        id=str(child.id),
        type=child.type,
        priority=child.priority.value,
        parameters=child.parameters,
        attempts_max=child.attempts_max,
        timeout_seconds=child.timeout_seconds,
        order_key=child.order_key,
        limit_key=child.limit_key,
    )


def read_submitted(frame: dict[str, Any], parent: ClaimedJob) -> NewJob:
    """Read what `submitted` wrote; whose it is says the runner, not the child."""
    return NewJob(
        id=UUID(frame["id"]),
        tenant=parent.tenant,
        type=frame["type"],
        priority=Priority(frame["priority"]),
        parameters=frame["parameters"],
        idempotency_key=None,
        run_at=None,
        attempts_max=frame["attempts_max"],
        timeout_seconds=frame["timeout_seconds"],
        traceparent=parent.traceparent,
        order_key=frame["order_key"],
        limit_key=frame["limit_key"],
        parent_id=parent.id,
    )


def ask(number: int, question: Question, content: dict[str, Any]) -> bytes:
    """Ask the engine something; the answer has the same number."""
    return write("ask", number=number, question=question, content=content)


def answer(number: int, content: Any, *, away: str | None = None) -> bytes:
    """Answer a question; `away` says why the engine cannot."""
    return write("answer", number=number, answer=content, away=away)


def snoozed(snooze: SnoozeError) -> bytes:
    """Say that the job is to run again later."""
    return write("snoozed", seconds=snooze.seconds, reason=snooze.reason)


def succeeded(result: dict[str, Any], artifacts: list[StoredArtifact]) -> bytes:
    """Hand over what the attempt made."""
    return write(
        "succeeded", result=result, artifacts=[written_artifact(stored) for stored in artifacts]
    )


def read_artifacts(frame: dict[str, Any]) -> tuple[StoredArtifact, ...]:
    """Read the artifacts of `succeeded`."""
    return tuple(read_artifact(stored) for stored in frame["artifacts"])


def written_artifact(stored: StoredArtifact) -> dict[str, Any]:
    """Write an artifact and where it lies."""
    return {"object_key": stored.object_key, **stored.artifact.model_dump()}


def read_artifact(content: dict[str, Any]) -> StoredArtifact:
    """Read what `written_artifact` wrote."""
    return StoredArtifact(
        artifact=Artifact.model_validate(content), object_key=content["object_key"]
    )


def failed(error: JobError, log: str) -> bytes:
    """Say why the attempt did not succeed."""
    return write("failed", error=error.model_dump(), log=log[-20_000:])
