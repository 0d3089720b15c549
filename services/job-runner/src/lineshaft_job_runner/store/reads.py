"""Jobs as their owners see them: one, a page of them, and statistics."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from lineshaft_common.postgres import Pool
from lineshaft_contracts.job_statistics import JobStats
from lineshaft_contracts.jobs import (
    Artifact,
    ArtifactFound,
    Attempt,
    JobError,
    JobPage,
    JobState,
    JobSummary,
    JobView,
    ListJobs,
    Progress,
)
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError

from lineshaft_job_runner.job import PRIORITIES
from lineshaft_job_runner.store import statistics

ATTEMPTS_SHOWN_MAX = 100
_PAGE = """
    SELECT id, type, state, priority, attempt, progress_done, progress_total,
           progress_message, error, submitted_at, started_at, finished_at
    FROM jobs
    WHERE tenant = $1
      AND ($2::text IS NULL OR type = $2)
      AND ($3::timestamptz IS NULL OR submitted_at > $3)
      AND ($4::timestamptz IS NULL OR submitted_at < $4)
      AND ($5::uuid IS NULL OR id < $5)
    ORDER BY id DESC LIMIT $6
"""
_OF_ONE_STATE = _PAGE.replace("tenant = $1", "tenant = $1 AND state = wanted.state")
_PAGE_OF_STATES = f"""
    SELECT found.* FROM unnest($7::text[]::job_state[]) AS wanted (state)
    CROSS JOIN LATERAL ({_OF_ONE_STATE}) AS found
    ORDER BY found.id DESC LIMIT $6
"""  # noqa: S608 - of constants only.
"""Per state, so that each reads its own part of the index."""


class JobReads:
    """Reads of the job tables; never a job of another tenant."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def views(self, job_ids: Sequence[UUID], *, tenant: str | None) -> dict[UUID, JobView]:
        """Find jobs by id with their attempts and artifacts; `tenant` None means any."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(
                """
                SELECT id, tenant, type, state, priority, parameters, idempotency_key,
                       submitted_at, run_at, attempt, attempts_max, cancel_requested,
                       progress_done, progress_total, progress_message, started_at, finished_at,
                       result, error, traceparent
                FROM jobs WHERE id = ANY($1::uuid[]) AND ($2::text IS NULL OR tenant = $2)
                """,
                job_ids,
                tenant,
            )
            started = [row["id"] for row in rows if row["started_at"] is not None]
            attempts = await self._attempts(connection, started)
            artifacts = await self._artifacts(connection, started)
        return {
            row["id"]: _view(row, attempts.get(row["id"], ()), artifacts.get(row["id"], ()))
            for row in rows
        }

    async def _attempts(self, connection: Any, ids: list[UUID]) -> dict[UUID, list[Attempt]]:
        found: defaultdict[UUID, list[Attempt]] = defaultdict(list)
        if ids:
            rows = await connection.fetch(
                """
                SELECT job_id, number, worker, started_at, finished_at, outcome, error
                FROM job_attempts WHERE job_id = ANY($1::uuid[]) ORDER BY job_id, started_at
                """,
                ids,
            )
            for row in rows:
                found[row["job_id"]].append(
                    Attempt(
                        number=row["number"],
                        worker=row["worker"],
                        started_at=row["started_at"],
                        finished_at=row["finished_at"],
                        outcome=row["outcome"],
                        error=_error(row["error"]),
                    )
                )
        return {job_id: shown[-ATTEMPTS_SHOWN_MAX:] for job_id, shown in found.items()}

    async def _artifacts(self, connection: Any, ids: list[UUID]) -> dict[UUID, list[Artifact]]:
        found: defaultdict[UUID, list[Artifact]] = defaultdict(list)
        if ids:
            rows = await connection.fetch(
                """
                SELECT job_id, name, media_type, bytes, sha256, rows, pages
                FROM job_artifacts WHERE job_id = ANY($1::uuid[]) ORDER BY job_id, name
                """,
                ids,
            )
            for row in rows:
                found[row["job_id"]].append(_artifact(row))
        return found

    async def page(self, question: ListJobs, *, tenant: str) -> JobPage:
        """List jobs, newest first; ids are time-ordered, so the cursor is the last id."""
        states = [s.value for s in question.states if s is not JobState.UNKNOWN]
        if question.states and not states:
            return JobPage(jobs=())
        rows = await self._pool.fetch(
            _PAGE_OF_STATES if states else _PAGE,
            tenant,
            question.job_type,
            question.submitted_after,
            question.submitted_before,
            _cursor(question.cursor),
            question.limit + 1,
            *([states] if states else []),
        )
        shown = rows[: question.limit]
        return JobPage(
            jobs=tuple(_summary(row) for row in shown),
            next_cursor=str(shown[-1]["id"]) if len(rows) > question.limit else None,
        )

    async def artifact(self, job_id: UUID, name: str, *, tenant: str) -> ArtifactFound | None:
        """Find an artifact of one job."""
        row = await self._pool.fetchrow(
            """
            SELECT name, object_key, media_type, bytes, sha256, rows, pages
            FROM job_artifacts a
            WHERE job_id = $1 AND name = $2
              AND EXISTS (SELECT FROM jobs WHERE id = a.job_id AND tenant = $3)
            """,
            job_id,
            name,
            tenant,
        )
        if row is None:
            return None
        return ArtifactFound(artifact=_artifact(row), object_key=row["object_key"])

    async def stats(self, *, tenant: str) -> JobStats:
        """Count jobs now, and look back over each window."""
        return await statistics.look(self._pool, tenant=tenant)


def _cursor(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise ProblemError(
            Problem(
                code="invalid_input",
                title="The cursor is not one of ours",
                status=422,
                errors=(
                    FieldProblem(
                        pointer="/cursor", code="cursor", message="pass next_cursor unchanged"
                    ),
                ),
            )
        ) from None


def _error(text: str | None) -> JobError | None:
    return None if text is None else JobError.model_validate_json(text)


def _progress(row: Any) -> Progress:
    return Progress(
        done=row["progress_done"], total=row["progress_total"], message=row["progress_message"]
    )


def _artifact(row: Any) -> Artifact:
    return Artifact(
        name=row["name"],
        media_type=row["media_type"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        rows=row["rows"],
        pages=row["pages"],
    )


def _summary(row: Any) -> JobSummary:
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


def _view(row: Any, attempts: Sequence[Attempt], artifacts: Sequence[Artifact]) -> JobView:
    traceparent = row["traceparent"]
    return JobView(
        id=row["id"],
        type=row["type"],
        state=row["state"],
        tenant=row["tenant"],
        priority=PRIORITIES[int(row["priority"])],
        parameters=json.loads(row["parameters"]),
        attempt=row["attempt"],
        attempts_max=row["attempts_max"],
        progress=_progress(row),
        result=None if row["result"] is None else json.loads(row["result"]),
        error=_error(row["error"]),
        artifacts=tuple(artifacts),
        attempts=tuple(attempts),
        idempotency_key=row["idempotency_key"],
        submitted_at=row["submitted_at"],
        run_at=row["run_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        cancel_requested=row["cancel_requested"],
        trace_id=None if traceparent is None else traceparent.split("-")[1],
    )
