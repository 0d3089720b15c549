"""How jobs are cancelled, also those that have not arrived yet."""

from datetime import timedelta
from uuid import UUID

from lineshaft_common.postgres import Connection
from lineshaft_contracts.jobs import JobState

from lineshaft_job_runner.job import Ending
from lineshaft_job_runner.store import ending
from lineshaft_job_runner.store.ids import born

REMEMBERED_FOR = timedelta(hours=1)
CAUGHT_UP_MAX = 100


async def cancel(connection: Connection, job_id: UUID, *, tenant: str) -> bool:
    """Cancel a waiting job, or ask a running one to stop; False when it is not there to stop.

    One that is not known at all may still be on its way, because a submission and its
    cancellation were kept while the job-runner was away: it is remembered for `catch_up`.
    """
    state = await connection.fetchval(
        """
        UPDATE jobs SET cancel_requested = true WHERE id = $1 AND tenant = $2
        RETURNING state::text
        """,
        job_id,
        tenant,
    )
    if state is None:
        await _remember(connection, job_id, tenant)
        return False
    if state != JobState.RUNNING:
        await ending.end(connection, [Ending(job_id=job_id, state=JobState.CANCELLED)])
    await connection.execute("SELECT pg_notify('lineshaft_jobs', 'cancel')")
    return True


async def _remember(connection: Connection, job_id: UUID, tenant: str) -> None:
    await connection.execute(
        """
        INSERT INTO job_cancellations (job_id, tenant)
        SELECT $1, $2
        WHERE NOT EXISTS (SELECT FROM job_history WHERE id = $1 AND finished_at >= $3)
        ON CONFLICT DO NOTHING
        """,
        job_id,
        tenant,
        born(job_id),
    )


async def catch_up(connection: Connection) -> int:
    """Cancel jobs that came after their cancellation; forget what never came."""
    rows = await connection.fetch(
        """
        SELECT c.job_id, c.tenant FROM job_cancellations c
        JOIN jobs j ON j.id = c.job_id AND j.tenant = c.tenant
        ORDER BY c.job_id LIMIT $1 FOR UPDATE OF c SKIP LOCKED
        """,
        CAUGHT_UP_MAX,
    )
    for row in rows:
        await cancel(connection, row["job_id"], tenant=row["tenant"])
    await connection.execute(
        """
        DELETE FROM job_cancellations
        WHERE job_id = ANY($1::uuid[]) OR asked_at < now() - $2::interval
        """,
        [row["job_id"] for row in rows],
        REMEMBERED_FOR,
    )
    return len(rows)
