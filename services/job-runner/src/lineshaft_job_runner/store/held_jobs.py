"""Jobs that run under a lease, as a worker over AMQP names them: by id and lease token."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from lineshaft_common.postgres import Pool
from lineshaft_contracts.jobs import Progress

from lineshaft_job_runner.job import PRIORITIES, ClaimedJob
from lineshaft_job_runner.remote_ends import HeldJob


class HeldJobs:
    """Finds attempts by their lease token; a token that is not current finds nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, tokens: Mapping[UUID, UUID]) -> dict[UUID, HeldJob]:
        """Return the attempts by lease token; `tokens` gives the job of each."""
        rows = await self._pool.fetch(
            """
            SELECT jobs.id, tenant, type, priority, attempt, attempts_max, timeout_seconds,
                   lease_token, traceparent, worker, deadline_at, cancel_requested,
                   coalesce(deadline_at < now(), false) AS too_late,
                   extract(epoch FROM now() - started_at)::float8 AS ran_seconds,
                   progress_done, progress_total, progress_message
            FROM jobs JOIN unnest($1::uuid[], $2::uuid[]) AS u (id, token)
                 ON jobs.id = u.id AND jobs.lease_token = u.token AND state = 'running'
            """,
            list(tokens.values()),
            list(tokens),
        )
        return {row["lease_token"]: _held(row) for row in rows}


def _held(row: Any) -> HeldJob:
    job = ClaimedJob(
        id=row["id"],
        tenant=row["tenant"],
        type=row["type"],
        priority=PRIORITIES[int(row["priority"])],
        parameters={},
        attempt=row["attempt"],
        attempts_max=row["attempts_max"],
        timeout_seconds=row["timeout_seconds"],
        lease_token=row["lease_token"],
        traceparent=row["traceparent"],
        waited_seconds=0.0,
        deadline_at=row["deadline_at"],
    )
    return HeldJob(
        job=job,
        worker=row["worker"],
        cancel_requested=row["cancel_requested"],
        ran_seconds=row["ran_seconds"],
        too_late=row["too_late"],
        progress=Progress(
            done=row["progress_done"],
            total=row["progress_total"],
            message=row["progress_message"],
        ),
    )
