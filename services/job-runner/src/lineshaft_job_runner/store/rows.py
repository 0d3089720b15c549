"""Rows of `jobs` and `job_history` as their owners see them."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from lineshaft_contracts.jobs import Attempt, JobError, JobState, JobSummary, JobView, Progress

from lineshaft_job_runner.job import PRIORITIES
from lineshaft_job_runner.store.ending import read_artifacts

LIVE_COLUMNS = """
    id, tenant, type, state, priority, parameters, idempotency_key, unique_key, order_key,
    limit_key, parent_id, child_count, schedule, submitted_at, run_at, deadline_at, attempt,
    attempts_max, cancel_requested, progress_done, progress_total, progress_message, started_at,
    NULL::timestamptz AS finished_at, worker, NULL::jsonb AS result, error, traceparent,
    attempts, NULL::jsonb AS artifacts
"""
ENDED_COLUMNS = """
    id, tenant, type, state, priority, parameters, idempotency_key, unique_key, order_key,
    limit_key, parent_id, child_count, schedule, submitted_at, run_at, deadline_at, attempt,
    attempts_max, cancel_requested, progress_done, progress_total, progress_message, started_at,
    finished_at, worker, result, error, traceparent, attempts, artifacts
"""
_LAST_OUTCOMES = {
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.QUARANTINED: "lost",
}


def view(
    row: Any, *, after: Sequence[UUID] = (), children: dict[str, int] | None = None
) -> JobView:
    """Read a row of LIVE_COLUMNS or ENDED_COLUMNS."""
    traceparent = row["traceparent"]
    parameters = json.loads(row["parameters"])
    return JobView(
        id=row["id"],
        type=row["type"],
        state=row["state"],
        tenant=row["tenant"],
        priority=PRIORITIES[int(row["priority"])],
        parameters={} if isinstance(parameters, str) else parameters,
        attempt=row["attempt"],
        attempts_max=row["attempts_max"],
        progress=_progress(row),
        result=None if row["result"] is None else json.loads(row["result"]),
        error=_error(row["error"]),
        artifacts=tuple(stored.artifact for stored in read_artifacts(row["artifacts"])),
        attempts=attempts(row),
        idempotency_key=row["idempotency_key"],
        unique_key=row["unique_key"],
        order_key=row["order_key"],
        limit_key=row["limit_key"] or None,
        after=tuple(after),
        parent_id=row["parent_id"],
        children=children,
        schedule=row["schedule"],
        submitted_at=row["submitted_at"],
        run_at=row["run_at"],
        deadline_at=row["deadline_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cancel_requested=row["cancel_requested"],
        trace_id=None if traceparent is None else traceparent.split("-")[1],
    )


def attempts(row: Any) -> tuple[Attempt, ...]:
    """Return the attempts that ended before, and the last one, which the row itself tells."""
    earlier = tuple(Attempt.model_validate(one) for one in json.loads(row["attempts"] or "[]"))
    if row["worker"] is None:
        return earlier
    ended = row["finished_at"] is not None
    state = JobState(row["state"])
    last = Attempt(
        number=row["attempt"],
        worker=row["worker"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        outcome=_LAST_OUTCOMES.get(state),
        error=_error(row["error"]) if ended else None,
    )
    return (*earlier, last)


def summary(row: Any) -> JobSummary:
    """Read a row as a line of a list."""
    return JobSummary(
        id=row["id"],
        type=row["type"],
        state=row["state"],
        priority=PRIORITIES[int(row["priority"])],
        attempt=row["attempt"],
        progress=_progress(row),
        error=_error(row["error"]),
        submitted_at=row["submitted_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def _progress(row: Any) -> Progress:
    return Progress(
        done=row["progress_done"], total=row["progress_total"], message=row["progress_message"]
    )


def _error(text: str | None) -> JobError | None:
    return None if text is None else JobError.model_validate_json(text)
