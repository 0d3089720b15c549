"""What attempts ask of the engine, answered from PostgreSQL: their records, earlier artifacts."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from lineshaft_common.postgres import Pool
from lineshaft_common.transient import is_transient

from lineshaft_job_runner.asking import EngineAwayError
from lineshaft_job_runner.job import ClaimedJob, StoredArtifact
from lineshaft_job_runner.storable import RECORDS_AT_ONCE
from lineshaft_job_runner.store.reads import JobReads


class RecordStore:
    """See `Engine`: a record is committed under the lease of the attempt, or not at all."""

    def __init__(self, pool: Pool, reads: JobReads) -> None:
        self._pool = pool
        self._reads = reads

    async def record(self, job: ClaimedJob, entries: Mapping[str, dict[str, Any]]) -> bool:
        """Commit entries; the row lock keeps the job from being taken over meanwhile."""
        with _away():
            status = await self._pool.execute(
                """
                WITH held AS (
                    SELECT id FROM jobs
                    WHERE id = $1 AND lease_token = $2 AND state = 'running' FOR SHARE
                )
                INSERT INTO job_records (job_id, key, value)
                SELECT held.id, u.key, u.value::jsonb
                FROM held CROSS JOIN unnest($3::text[], $4::text[]) AS u (key, value)
                ON CONFLICT (job_id, key) DO UPDATE
                SET value = excluded.value, recorded_at = now()
                """,
                job.id,
                job.lease_token,
                list(entries),
                [json.dumps(value) for value in entries.values()],
            )
        return int(status.split()[-1]) == len(entries)

    async def recorded(self, job: ClaimedJob, *, after: str) -> dict[str, dict[str, Any]]:
        """Read a page of what all attempts of the job recorded, by key."""
        with _away():
            rows = await self._pool.fetch(
                """
                SELECT key, value FROM job_records
                WHERE job_id = $1 AND key > $2 ORDER BY key LIMIT $3
                """,
                job.id,
                after,
                RECORDS_AT_ONCE,
            )
        return {row["key"]: json.loads(row["value"]) for row in rows}

    async def find_artifact(
        self, job: ClaimedJob, job_id: UUID, name: str
    ) -> StoredArtifact | None:
        """Find an artifact of an ended job of the same tenant."""
        with _away():
            found = await self._reads.artifact(job_id, name, tenant=job.tenant)
        if found is None:
            return None
        return StoredArtifact(artifact=found.artifact, object_key=found.object_key)


@contextmanager
def _away() -> Generator[None]:
    try:
        yield
    except Exception as error:
        if is_transient(error):
            raise EngineAwayError(repr(error)[:200]) from error
        raise
