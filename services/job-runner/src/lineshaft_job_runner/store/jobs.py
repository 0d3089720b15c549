"""The life of jobs in PostgreSQL: a transition is one statement, guarded by the old state."""

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from lineshaft_common import outbox
from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.jobs import JobError, JobState

from lineshaft_job_runner import announcements
from lineshaft_job_runner.job import (
    LOSSES_MAX,
    PRIORITIES,
    Accepted,
    ClaimedJob,
    Ending,
    NewJob,
    Outcome,
    ProgressUpdate,
)
from lineshaft_job_runner.store import accepting, cancelling, claiming, ending, returning
from lineshaft_job_runner.store.ending import ref

DUE_MAX = 1_000
CHANNEL = "lineshaft_jobs"
LOST = JobError(code="worker_lost", message="The worker process ended under the job.")
LATE = JobError(
    code="deadline_exceeded", message="It had not ended by its deadline.", retryable=False
)


class JobStore:
    """Jobs and their attempts. Times are the database's own; workers' clocks do not count.

    `on_announced` is called when events were committed to the outbox.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        worker: str,
        on_announced: Callable[[], None],
        positions: claiming.Positions | None = None,
    ) -> None:
        self._positions = claiming.Positions() if positions is None else positions
        self._pool = pool
        self._worker = worker
        self._on_announced = on_announced

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Connection]:
        """Open a transaction whose events leave as soon as it is committed."""
        async with self._pool.acquire() as connection, connection.transaction():
            yield connection
        self._on_announced()

    async def accept(self, jobs: Sequence[NewJob]) -> list[Accepted]:
        """Store submissions; one outcome for each, in the same order."""
        async with self.transaction() as connection:
            return await self.accept_in(connection, jobs)

    async def accept_in(self, connection: Connection, jobs: Sequence[NewJob]) -> list[Accepted]:
        """Do the same inside a caller's transaction."""
        outcomes = await accepting.accept(connection, jobs)
        await connection.execute("SELECT pg_notify($1, '')", CHANNEL)
        return outcomes

    async def claim(
        self, types: Sequence[str], *, limit: int, lease_seconds: float
    ) -> list[ClaimedJob]:
        """Take up to `limit` ready jobs under a lease; queued -> running.

        Which ones, `allocation.allocate` says; claims of all workers go one after the other.
        """
        async with self._pool.acquire() as connection:
            if not await claiming.is_any_waiting(connection, types):
                return []
        async with self.transaction() as connection:
            chosen = await claiming.choose(
                connection, types, places=limit, positions=self._positions
            )
            if not chosen:
                return []
            rows = await claiming.start(
                connection, chosen, worker=self._worker, lease=timedelta(seconds=lease_seconds)
            )
            children = await claiming.children(
                connection, [row["id"] for row in rows if row["child_count"]]
            )
            await outbox.add(
                connection, [announcements.started(ref(row), self._worker) for row in rows]
            )
        return [_claimed(row, children.get(row["id"])) for row in rows]

    async def heartbeat(
        self, updates: Sequence[ProgressUpdate], *, lease_seconds: float
    ) -> dict[UUID, bool]:
        """Extend leases, store and announce progress; by lease token whether to cancel the job.

        A token that is missing in the answer is no longer current: the job is somebody else's.
        """
        async with self.transaction() as connection:
            rows = await connection.fetch(
                """
                UPDATE jobs SET lease_until = now() + $6,
                       progress_done = coalesce(u.done, progress_done),
                       progress_total = coalesce(u.total, progress_total),
                       progress_message = coalesce(u.message, progress_message),
                       checkpoint = coalesce(u.checkpoint::jsonb, jobs.checkpoint)
                FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::text[],
                            $7::text[]) AS u (id, token, done, total, message, checkpoint)
                WHERE jobs.id = u.id AND jobs.lease_token = u.token AND state = 'running'
                RETURNING u.token, cancel_requested
                """,
                [u.job.id for u in updates],
                [u.job.lease_token for u in updates],
                [u.progress.done if u.moved else None for u in updates],
                [u.progress.total if u.moved else None for u in updates],
                [u.progress.message if u.moved else None for u in updates],
                timedelta(seconds=lease_seconds),
                [ending.written(u.checkpoint) for u in updates],
            )
            held = {row["token"]: row["cancel_requested"] for row in rows}
            news = [u for u in updates if u.moved and u.job.lease_token in held]
            await outbox.add(
                connection, [announcements.progressed(u.job.ref, u.progress) for u in news]
            )
        return held

    async def finish(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """Store how attempts ended; the lease tokens that were still good.

        running -> succeeded | failed | retrying | cancelled | queued | scheduled | waiting, and
        nothing for the rest. A job that somebody wants cancelled is not run again: it is
        cancelled; nor is one whose deadline has passed: it has failed.
        """
        async with self.transaction() as connection:
            held = await self._held(connection, outcomes)
            by_token = {outcome.job.lease_token: outcome for outcome in outcomes}
            over: list[Ending] = []
            again: list[Outcome] = []
            for row in held:
                outcome = by_token[row["lease_token"]]
                end = _ending(outcome, cancelled=row["cancel_requested"], late=row["late"])
                if end is None:
                    again.append(outcome)
                else:
                    over.append(end)
            await self._add_children(connection, [by_token[row["lease_token"]] for row in held])
            await returning.go_on(connection, again)
            await ending.end(connection, over)
        return {row["lease_token"] for row in held}

    @staticmethod
    async def _add_children(connection: Connection, outcomes: Sequence[Outcome]) -> None:
        """Store the jobs that jobs submitted, all or, with their ends, none."""
        parents = [outcome for outcome in outcomes if outcome.children]
        if not parents:
            return
        await connection.execute(
            """
            UPDATE jobs SET child_count = child_count + u.number
            FROM unnest($1::uuid[], $2::integer[]) AS u (id, number) WHERE jobs.id = u.id
            """,
            [parent.job.id for parent in parents],
            [len(parent.children) for parent in parents],
        )
        children = [child for parent in parents for child in parent.children]
        for outcome in await accepting.accept(connection, children):
            if outcome.problem is not None:
                message = f"child {outcome.job_id} is refused: {outcome.problem.title}"
                raise ValueError(message)

    async def _held(self, connection: Connection, outcomes: Sequence[Outcome]) -> list[Any]:
        """Lock the jobs whose lease is still ours."""
        return await connection.fetch(
            """
            SELECT jobs.id, lease_token, cancel_requested,
                   coalesce(deadline_at < now(), false) AS late
            FROM jobs JOIN unnest($1::uuid[], $2::uuid[]) AS u (id, token)
                 ON u.id = jobs.id AND u.token = jobs.lease_token
            WHERE state = 'running'
            ORDER BY jobs.id FOR UPDATE OF jobs
            """,
            [o.job.id for o in outcomes],
            [o.job.lease_token for o in outcomes],
        )

    async def promote(self) -> int:
        """Queue the jobs whose time has come; scheduled | retrying -> queued."""
        async with self.transaction() as connection:
            return await returning.promote(connection, limit=DUE_MAX)

    async def expire(self) -> int:
        """End the jobs whose deadline has passed and that do not run; they have failed."""
        async with self.transaction() as connection:
            rows = await connection.fetch(
                """
                SELECT id FROM jobs WHERE deadline_at < now() AND state <> 'running'
                ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
                """,
                DUE_MAX,
            )
            await ending.end(
                connection,
                [Ending(job_id=row["id"], state=JobState.FAILED, error=LATE) for row in rows],
            )
        return len(rows)

    async def rescue(self) -> int:
        """Take jobs from workers that went silent; running -> queued | quarantined | cancelled."""
        async with self.transaction() as connection:
            rows = await connection.fetch(
                """
                SELECT id, cancel_requested, losses FROM jobs
                WHERE state = 'running' AND lease_until < now()
                ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
                """,
                DUE_MAX,
            )
            over: list[Ending] = []
            again: list[UUID] = []
            for row in rows:
                if row["cancel_requested"]:
                    over.append(Ending(job_id=row["id"], state=JobState.CANCELLED, error=LOST))
                elif row["losses"] + 1 >= LOSSES_MAX:
                    over.append(Ending(job_id=row["id"], state=JobState.QUARANTINED, error=LOST))
                else:
                    again.append(row["id"])
            await returning.requeue_lost(connection, again, LOST)
            await ending.end(connection, over)
        return len(rows)

    async def cancel(self, job_id: UUID, *, tenant: str) -> bool:
        """Cancel a waiting job at once, or ask a running one to stop; False when it has ended."""
        async with self.transaction() as connection:
            return await cancelling.cancel(connection, job_id, tenant=tenant)

    async def catch_up(self) -> int:
        """Cancel the jobs that came after their cancellation."""
        async with self.transaction() as connection:
            return await cancelling.catch_up(connection)


def _ending(outcome: Outcome, *, cancelled: bool, late: bool) -> Ending | None:
    """Say how the job ends; None when another attempt follows."""
    state, error = outcome.state, outcome.error
    if not state.is_final:
        if not (cancelled or late):
            return None
        state = JobState.CANCELLED if cancelled else JobState.FAILED
        error = error if cancelled else LATE
    return Ending(
        job_id=outcome.job.id,
        state=state,
        result=outcome.result,
        error=error,
        artifacts=outcome.artifacts,
        run_seconds=outcome.run_seconds,
        progress=outcome.progress,
    )


def _claimed(row: Any, children: dict[str, int] | None) -> ClaimedJob:
    checkpoint = row["checkpoint"]
    given: dict[str, Any] | str = json.loads(row["parameters"])
    parameters, key = ({}, given) if isinstance(given, str) else (given, None)
    return ClaimedJob(
        id=row["id"],
        tenant=row["tenant"],
        type=row["type"],
        priority=PRIORITIES[int(row["priority"])],
        parameters=parameters,
        parameters_key=key,
        attempt=row["attempt"],
        attempts_max=row["attempts_max"],
        timeout_seconds=row["timeout_seconds"],
        lease_token=row["lease_token"],
        traceparent=row["traceparent"],
        waited_seconds=row["waited_seconds"],
        deadline_at=row["deadline_at"],
        checkpoint=None if checkpoint is None else json.loads(checkpoint),
        children=children,
    )
