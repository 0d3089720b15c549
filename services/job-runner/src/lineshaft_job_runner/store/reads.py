"""Jobs as their owners see them: one, a page of them, and statistics."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

import structlog
from lineshaft_common.objects import ObjectMissingError
from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.job_statistics import JobStats
from lineshaft_contracts.jobs import ArtifactFound, JobPage, JobState, JobView, ListJobs

from lineshaft_job_runner.store import statistics
from lineshaft_job_runner.store.claiming import children
from lineshaft_job_runner.store.cursors import read_cursor
from lineshaft_job_runner.store.ending import read_artifacts
from lineshaft_job_runner.store.ids import born
from lineshaft_job_runner.store.rows import ENDED_COLUMNS, LIVE_COLUMNS, summary, view

log = structlog.get_logger(__name__)

PARAMETERS_SECONDS_MAX = 2.0
"""How long a read waits for the object store."""

_SHOWN = """
    id, type, state, priority, attempt, progress_done, progress_total, progress_message, error,
    submitted_at, started_at
"""
_WANTED = """
    tenant = $1
    AND ($2::text IS NULL OR type = $2)
    AND ($3::timestamptz IS NULL OR submitted_at > $3)
    AND ($4::timestamptz IS NULL OR submitted_at < $4)
    AND ($5::uuid IS NULL OR id < $5)
    AND ($7::text IS NULL OR order_key = $7)
    AND ($8::text IS NULL OR idempotency_key = $8)
    AND ($9::uuid IS NULL OR parent_id = $9)
"""
_PAGE = f"""
    (SELECT {_SHOWN}, NULL::timestamptz AS finished_at FROM jobs
     WHERE {_WANTED} ORDER BY id DESC LIMIT $6)
    UNION ALL
    (SELECT {_SHOWN}, finished_at FROM job_history
     WHERE {_WANTED} ORDER BY id DESC LIMIT $6)
    ORDER BY id DESC LIMIT $6
"""  # noqa: S608 - of constants only.
_OF_ONE_STATE = _PAGE.replace("tenant = $1", "tenant = $1 AND state = wanted.state")
_PAGE_OF_STATES = f"""
    SELECT found.* FROM unnest($10::text[]::job_state[]) AS wanted (state)
    CROSS JOIN LATERAL ({_OF_ONE_STATE}) AS found
    ORDER BY found.id DESC LIMIT $6
"""  # noqa: S608 - of constants only.
"""Per state, so that each reads its own part of the index."""

_FIND = f"""
    SELECT {LIVE_COLUMNS} FROM jobs
    WHERE id = ANY($1::uuid[]) AND ($3::text IS NULL OR tenant = $3)
    UNION ALL
    SELECT found.* FROM unnest($1::uuid[], $2::timestamptz[]) AS u (wanted, born)
    CROSS JOIN LATERAL (
        SELECT {ENDED_COLUMNS} FROM job_history
        WHERE id = u.wanted AND finished_at >= u.born AND ($3::text IS NULL OR tenant = $3)
    ) AS found
"""  # noqa: S608 - of constants only.


class Parameters(Protocol):
    """Where large parameters lie; see large_parameters.py."""

    async def find(self, key: str) -> dict[str, Any]:
        """Return the parameters under a key; raises ObjectMissingError."""
        ...


class JobReads:
    """Reads of the job tables; never a job of another tenant."""

    def __init__(self, pool: Pool, parameters: Parameters) -> None:
        self._pool = pool
        self._parameters = parameters

    async def views(self, job_ids: Sequence[UUID], *, tenant: str | None) -> dict[UUID, JobView]:
        """Find jobs by id with their attempts and artifacts; `tenant` None means any."""
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(_FIND, job_ids, [born(i) for i in job_ids], tenant)
            parents = [row["id"] for row in rows if row["child_count"]]
            counts = await children(connection, parents)
            waiting = [row["id"] for row in rows if row["state"] == JobState.WAITING]
            after = await self._after(connection, waiting)
        views = {
            row["id"]: view(row, after=after.get(row["id"], ()), children=counts.get(row["id"]))
            for row in rows
        }
        return views | {
            row["id"]: await self._with_parameters(views[row["id"]], json.loads(row["parameters"]))
            for row in rows
            if row["parameters"].startswith('"')
        }

    async def _with_parameters(self, job: JobView, key: str) -> JobView:
        """Add what lies in the object store; nothing when that has lost it, or is away.

        What became of a job is told all the same.
        """
        try:
            async with asyncio.timeout(PARAMETERS_SECONDS_MAX):
                return job.model_copy(update={"parameters": await self._parameters.find(key)})
        except ObjectMissingError:
            log.warning("parameters_missing", job_id=str(job.id))
        except Exception as error:  # noqa: BLE001 - whatever the object store is up to.
            log.warning("parameters_unavailable", job_id=str(job.id), error=repr(error)[:300])
        return job

    @staticmethod
    async def _after(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, list[UUID]]:
        """Return what jobs wait for."""
        found: defaultdict[UUID, list[UUID]] = defaultdict(list)
        if job_ids:
            rows = await connection.fetch(
                """
                SELECT job_id, on_job_id FROM job_dependencies WHERE job_id = ANY($1::uuid[])
                ORDER BY job_id, on_job_id LIMIT 1000
                """,
                job_ids,
            )
            for row in rows:
                found[row["job_id"]].append(row["on_job_id"])
        return found

    async def page(self, question: ListJobs, *, tenant: str) -> JobPage:
        """List jobs, newest first; ids are time-ordered, so the cursor is the last id."""
        states = [s.value for s in dict.fromkeys(question.states) if s is not JobState.UNKNOWN]
        if question.states and not states:
            return JobPage(jobs=())
        rows = await self._pool.fetch(
            _PAGE_OF_STATES if states else _PAGE,
            tenant,
            question.job_type,
            question.submitted_after,
            question.submitted_before,
            read_cursor(question.cursor),
            question.limit + 1,
            question.order_key,
            question.idempotency_key,
            question.parent_id,
            *([states] if states else []),
        )
        shown = rows[: question.limit]
        return JobPage(
            jobs=tuple(summary(row) for row in shown),
            next_cursor=str(shown[-1]["id"]) if len(rows) > question.limit else None,
        )

    async def artifact(self, job_id: UUID, name: str, *, tenant: str) -> ArtifactFound | None:
        """Find an artifact of one job."""
        text = await self._pool.fetchval(
            """
            SELECT artifacts FROM job_history
            WHERE id = $1 AND finished_at >= $2 AND tenant = $3
            """,
            job_id,
            born(job_id),
            tenant,
        )
        for stored in read_artifacts(text):
            if stored.artifact.name == name:
                return ArtifactFound(artifact=stored.artifact, object_key=stored.object_key)
        return None

    async def stats(self, *, tenant: str) -> JobStats:
        """Count jobs now, and look back over each window."""
        return await statistics.look(self._pool, tenant=tenant)
