"""How jobs go on that have not ended: back to the queue, to another time, or behind others."""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from lineshaft_common import outbox
from lineshaft_common.postgres import Connection
from lineshaft_contracts.jobs import JobError, JobState

from lineshaft_job_runner import announcements
from lineshaft_job_runner.job import Outcome, Verdict
from lineshaft_job_runner.store import ending
from lineshaft_job_runner.store.ending import ALLOWANCES, ref

_ENDED_ATTEMPT = """
       attempts = CASE WHEN jsonb_array_length(attempts) >= 100 THEN attempts - 0
                       ELSE coalesce(attempts, '[]') END
                  || jsonb_build_object('number', attempt, 'worker', worker,
                         'started_at', started_at, 'finished_at', now(),
                         'outcome', u.outcome, 'error', u.last_error::jsonb),
       worker = NULL, lease_token = NULL, lease_until = NULL
"""
"""A job keeps its last hundred attempts."""

_GO_ON = f"""
UPDATE jobs SET state = u.became::job_state, error = u.last_error::jsonb,
       attempt = attempt - u.refund, run_at = now() + u.run_in,
       ready_at = now() + coalesce(u.run_in, interval '0'),
       rank = CASE WHEN u.run_in IS NULL THEN rank
                   ELSE now() + u.run_in + ($9::interval[])[priority + 1] END,
       blockers = u.children,
       checkpoint = coalesce(u.checkpoint::jsonb, jobs.checkpoint),
       progress_done = u.done, progress_total = u.total, progress_message = u.message,
{_ENDED_ATTEMPT}
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::smallint[], $6::interval[],
            $7::integer[], $8::text[], $10::bigint[], $11::bigint[], $12::text[])
     AS u (id, became, outcome, last_error, refund, run_in, children, checkpoint, done, total,
           message)
WHERE jobs.id = u.id AND state = 'running'
RETURNING jobs.id, tenant, type, attempt, traceparent, state::text AS state, run_at, blockers
"""  # noqa: S608 - of constants only.

_YIELD_TURNS = """
WITH RECURSIVE above AS (
    SELECT parent.id, parent.parent_id, child.order_key
    FROM jobs child JOIN jobs parent ON parent.id = child.parent_id
    WHERE child.parent_id = ANY($1::uuid[]) AND child.order_key IS NOT NULL
    UNION
    SELECT parent.id, parent.parent_id, above.order_key
    FROM above JOIN jobs parent ON parent.id = above.parent_id
)
UPDATE jobs SET turn = false FROM above
WHERE jobs.id = above.id AND jobs.order_key = above.order_key AND turn AND state = 'waiting'
RETURNING tenant, jobs.order_key
"""

_REQUEUE_LOST = f"""
UPDATE jobs SET state = 'queued', losses = losses + 1, ready_at = now(),
       error = u.last_error::jsonb,
{_ENDED_ATTEMPT}
FROM (SELECT 'lost' AS outcome, $2::text AS last_error) AS u
WHERE id = ANY($1::uuid[]) AND state = 'running'
RETURNING id, tenant, type, attempt, traceparent
"""  # noqa: S608 - of constants only.


async def go_on(connection: Connection, outcomes: Sequence[Outcome]) -> None:
    """Store ends of attempts that others follow; the rows are locked.

    running -> queued (released) | retrying (failed) | scheduled (snoozed) | waiting (for its
    children that have not ended; new ones are stored already). An attempt that was not the job's
    fault is given back.
    """
    if not outcomes:
        return
    parents = [o.job.id for o in outcomes if o.verdict is Verdict.WAITING]
    links = await _live_children(connection, parents)
    counts = Counter(parent for _, parent, _ in links)
    rows = await connection.fetch(
        _GO_ON,
        [o.job.id for o in outcomes],
        [o.state.value for o in outcomes],
        [o.verdict.value for o in outcomes],
        [o.error and o.error.model_dump_json() for o in outcomes],
        [int(o.verdict is not Verdict.FAILED) for o in outcomes],
        [o.retry_in for o in outcomes],
        [counts[o.job.id] for o in outcomes],
        [ending.written(o.checkpoint) for o in outcomes],
        ALLOWANCES,
        [o.progress.done for o in outcomes],
        [o.progress.total for o in outcomes],
        [o.progress.message for o in outcomes],
    )
    await ending.link(connection, links)
    await _yield_turns(connection, [parent for parent in parents if counts[parent]])
    errors = {o.job.id: o.error for o in outcomes}
    await outbox.add(
        connection,
        [
            announcements.waits(
                ref(row),
                state=JobState(row["state"]),
                run_at=row["run_at"],
                jobs=row["blockers"],
                error=errors[row["id"]],
            )
            for row in rows
        ],
    )
    childless = [parent for parent in parents if not counts[parent]]
    await ending.release(connection, dict.fromkeys(childless, 0))


async def _yield_turns(connection: Connection, parents: Sequence[UUID]) -> None:
    """Let go of turns that the jobs under a waiting one need: it would wait for them for ever."""
    if not parents:
        return
    rows = await connection.fetch(_YIELD_TURNS, parents)
    await ending.grant_turns(connection, ((row["tenant"], row["order_key"]) for row in rows))


async def _live_children(
    connection: Connection, parents: Sequence[UUID]
) -> list[tuple[UUID, UUID, bool]]:
    """Lock the children of jobs that have not ended, of whichever attempt; returns links."""
    if not parents:
        return []
    rows = await connection.fetch(
        "SELECT id, parent_id FROM jobs WHERE parent_id = ANY($1::uuid[]) ORDER BY id FOR UPDATE",
        parents,
    )
    return [(row["id"], row["parent_id"], False) for row in rows]


async def requeue_lost(connection: Connection, job_ids: Sequence[UUID], error: JobError) -> None:
    """Queue jobs whose worker went silent; running -> queued. The rows are locked."""
    if not job_ids:
        return
    rows = await connection.fetch(_REQUEUE_LOST, job_ids, error.model_dump_json())
    await _announce_queued(connection, rows)


async def promote(connection: Connection, *, limit: int) -> int:
    """Queue what has become due; scheduled | retrying -> queued."""
    rows = await connection.fetch(
        """
        WITH due AS (
            SELECT id FROM jobs WHERE state IN ('scheduled', 'retrying') AND run_at <= now()
            ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED
        )
        UPDATE jobs SET state = 'queued' FROM due WHERE jobs.id = due.id
        RETURNING jobs.id, tenant, type, attempt, traceparent, order_key
        """,
        limit,
    )
    await ending.grant_turns(connection, ((row["tenant"], row["order_key"]) for row in rows))
    await _announce_queued(connection, rows)
    return len(rows)


async def _announce_queued(connection: Connection, rows: Sequence[Any]) -> None:
    await outbox.add(
        connection, [announcements.waits(ref(row), state=JobState.QUEUED) for row in rows]
    )
