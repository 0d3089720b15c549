"""Jobs as their owners see them: one, a page of them, and statistics."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from lineshaft_common.postgres import Pool
from lineshaft_contracts.jobs import (
    Artifact,
    ArtifactFound,
    Attempt,
    JobError,
    JobPage,
    JobStats,
    JobSummary,
    JobTypeStats,
    JobView,
    ListJobs,
    Progress,
    Quantiles,
    StatsWindow,
)
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError

from lineshaft_job_runner.job import PRIORITIES

WINDOWS = {"5m": 300, "1h": 3600, "24h": 86_400}
ATTEMPTS_SHOWN_MAX = 100


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
        rows = await self._pool.fetch(
            """
            SELECT id, type, state, priority, attempt, progress_done, progress_total,
                   progress_message, error, submitted_at, started_at, finished_at
            FROM jobs
            WHERE tenant = $1
              AND ($2::text[] = '{}' OR state::text = ANY($2::text[]))
              AND ($3::text IS NULL OR type = $3)
              AND ($4::timestamptz IS NULL OR submitted_at > $4)
              AND ($5::timestamptz IS NULL OR submitted_at < $5)
              AND ($6::uuid IS NULL OR id < $6)
            ORDER BY id DESC LIMIT $7
            """,
            tenant,
            [state.value for state in question.states],
            question.job_type,
            question.submitted_after,
            question.submitted_before,
            _cursor(question.cursor),
            question.limit + 1,
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
        rows = await self._pool.fetch(
            """
            SELECT type, state::text AS state, count(*) AS number,
                   max(extract(epoch FROM now() - submitted_at)) FILTER (WHERE state = 'queued')
                       ::float8 AS oldest
            FROM jobs WHERE tenant = $1 GROUP BY type, state
            """,
            tenant,
        )
        counts: defaultdict[str, int] = defaultdict(int)
        by_type: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for row in rows:
            counts[row["state"]] += row["number"]
            by_type[row["type"]][row["state"]] = row["number"]
        oldest = [row["oldest"] for row in rows if row["oldest"] is not None]
        windows = await asyncio.gather(*(self._window(tenant, s) for s in WINDOWS.values()))
        return JobStats(
            counts=dict(counts),
            by_type=dict(by_type),
            oldest_queued_seconds=max(oldest, default=None),
            windows=dict(zip(WINDOWS, windows, strict=True)),
        )

    async def _window(self, tenant: str, seconds: int) -> StatsWindow:
        rows = await self._pool.fetch(
            """
            SELECT j.type,
                   count(*) FILTER (WHERE outcome = 'succeeded') AS succeeded,
                   count(*) FILTER (WHERE state = 'failed' AND number = attempt) AS failed,
                   count(*) FILTER (WHERE outcome = 'cancelled') AS cancelled,
                   count(*) FILTER (WHERE state = 'quarantined' AND number = attempt)
                       AS quarantined,
                   count(*) FILTER (WHERE number > 1) AS retries,
                   percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
                       ORDER BY extract(epoch FROM a.finished_at - a.started_at)::float8) AS run,
                   percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (
                       ORDER BY greatest(extract(epoch FROM a.started_at - ready_at), 0)::float8)
                       AS wait,
                   coalesce(jsonb_object_agg(code, number_of_code) FILTER (WHERE code IS NOT NULL),
                            '{}') AS errors
            FROM (
                SELECT *, error->>'code' AS code,
                       count(*) OVER (PARTITION BY error->>'code') AS number_of_code
                FROM job_attempts WHERE finished_at > now() - make_interval(secs => $2)
            ) a JOIN jobs j ON j.id = a.job_id AND j.tenant = $1
            GROUP BY j.type ORDER BY j.type
            """,
            tenant,
            float(seconds),
        )
        types = tuple(_type_stats(row) for row in rows)
        ended = sum(sum(t.counts.values()) for t in types)
        return StatsWindow(seconds=seconds, ended_per_minute=ended * 60 / seconds, types=types)


def _type_stats(row: Any) -> JobTypeStats:
    states = ("succeeded", "failed", "cancelled", "quarantined")
    counts = {state: row[state] for state in states}
    tried = counts["succeeded"] + counts["failed"] + counts["quarantined"]
    return JobTypeStats(
        job_type=row["type"],
        counts=counts,
        success_rate=counts["succeeded"] / tried if tried else None,
        run_seconds=Quantiles(**dict(zip(("p50", "p95", "p99"), row["run"], strict=True))),
        wait_seconds=Quantiles(**dict(zip(("p50", "p95", "p99"), row["wait"], strict=True))),
        retries=row["retries"],
        errors=json.loads(row["errors"]),
    )


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
