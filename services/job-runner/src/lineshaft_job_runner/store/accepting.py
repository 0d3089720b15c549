"""How submissions become jobs: repeats, keys, dependencies and turns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from lineshaft_common import outbox
from lineshaft_common.postgres import Connection
from lineshaft_contracts.jobs import AfterFailure, JobState
from lineshaft_contracts.problems import FieldProblem, Problem

from lineshaft_job_runner import announcements
from lineshaft_job_runner.job import (
    PRIORITY_NUMBERS,
    RANK_ALLOWANCE,
    Accepted,
    Ending,
    JobRef,
    NewJob,
)
from lineshaft_job_runner.store import ending, keys
from lineshaft_job_runner.store.ids import SLACK, born

TAKEN = Problem(code="job_id_taken", title="This job id cannot be used", status=409)

_INSERT = """
INSERT INTO jobs (id, tenant, type, state, priority, parameters, idempotency_key, run_at, ready_at,
                  rank, attempts_max, timeout_seconds, traceparent, unique_key, order_key, turn,
                  limit_key, deadline_at, blockers, parent_id, schedule)
SELECT u.id, u.tenant, u.type,
       CASE WHEN u.blockers > 0 THEN 'waiting' WHEN u.run_at > now() THEN 'scheduled'
            ELSE 'queued' END::job_state,
       u.priority, u.parameters::jsonb, u.idempotency_key, u.run_at, greatest(u.run_at, now()),
       greatest(u.run_at, now()) + u.allowance, u.attempts_max, u.timeout_seconds, u.traceparent,
       u.unique_key, u.order_key, u.order_key IS NULL, coalesce(u.limit_key, ''), u.deadline_at,
       u.blockers, u.parent_id, u.schedule
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::text[],
            $7::timestamptz[], $8::interval[], $9::smallint[], $10::real[], $11::text[],
            $12::text[], $13::text[], $14::text[], $15::timestamptz[], $16::integer[],
            $17::uuid[], $18::text[], $19::timestamptz[])
     WITH ORDINALITY
     AS u (id, tenant, type, priority, parameters, idempotency_key, run_at, allowance,
           attempts_max, timeout_seconds, traceparent, unique_key, order_key, limit_key,
           deadline_at, blockers, parent_id, schedule, born, position)
WHERE NOT EXISTS (
    SELECT FROM job_history h
    WHERE h.id = u.id AND h.finished_at >= least(u.born, now() - $20::interval)
)
ORDER BY u.position
ON CONFLICT DO NOTHING
RETURNING id, state::text AS state
"""
"""A job that has ended already is looked for in the days since its id was made."""


@dataclass
class _Batch:
    """Submissions on their way in."""

    outcomes: dict[int, Accepted] = field(default_factory=dict[int, Accepted])
    """By position; what is missing is still on its way."""
    open: dict[UUID, tuple[int, NewJob]] = field(default_factory=dict[UUID, tuple[int, NewJob]])

    def refuse(self, job_id: UUID, problem: Problem) -> None:
        """Settle one: there is no job."""
        position, _ = self.open.pop(job_id)
        self.outcomes[position] = Accepted(job_id=job_id, created=False, problem=problem)

    def repeat(self, job_id: UUID, earlier: UUID) -> None:
        """Settle one: its job is there already."""
        position, _ = self.open.pop(job_id)
        self.outcomes[position] = Accepted(job_id=earlier, created=False)


async def accept(connection: Connection, jobs: Sequence[NewJob]) -> list[Accepted]:
    """Store submissions in the caller's transaction; one outcome for each, in the same order.

    A job id, idempotency key or unique key that is there already gives the earlier job.
    """
    batch, again = _Batch(), list[tuple[int, UUID]]()
    for position, job in enumerate(jobs):
        if job.id in batch.open:
            again.append((position, job.id))
        else:
            batch.open[job.id] = (position, job)
    await _take_keys(connection, batch)
    states = await _insert(connection, batch)
    waiting = [job for _, job in batch.open.values() if job.after]
    if waiting:
        await _link(connection, batch, waiting, order=list(states))
    created = [job for _, job in batch.open.values()]
    await ending.grant_turns(
        connection,
        ((j.tenant, j.order_key) for j in created if states[j.id] is JobState.QUEUED),
    )
    await outbox.add(
        connection,
        [
            announcements.waits(
                _ref(job), state=states[job.id], run_at=job.run_at, jobs=len(job.after)
            )
            for job in created
        ],
    )
    if waiting:
        await _start_what_waits_for_nothing(connection, [j for j in waiting if j.id in batch.open])
    for position, job in batch.open.values():
        batch.outcomes[position] = Accepted(job_id=job.id, created=True)
    by_id = {jobs[position].id: outcome for position, outcome in batch.outcomes.items()}
    for position, job_id in again:
        first = by_id[job_id]
        batch.outcomes[position] = Accepted(
            job_id=first.job_id, created=False, problem=first.problem
        )
    return [batch.outcomes[position] for position in range(len(jobs))]


async def _take_keys(connection: Connection, batch: _Batch) -> None:
    """Take the keys of new jobs; who comes second is told the first."""
    for kind in ("idempotency", "unique"):
        keyed = [job for _, job in batch.open.values() if keys.key_of(job, kind) is not None]
        owners = await keys.take(connection, keyed, kind)
        moved = {job.id: owners[job.id] for job in keyed if owners[job.id] != job.id}
        if kind == "unique":
            await keys.hand_over(connection, keyed, moved)
        for job_id, owner in moved.items():
            batch.repeat(job_id, owner)


async def _insert(connection: Connection, batch: _Batch) -> dict[UUID, JobState]:
    """Insert what is open; settle the rest: repeats, and ids of other tenants."""
    jobs = [job for _, job in batch.open.values()]
    if not jobs:
        return {}
    rows = await connection.fetch(
        _INSERT,
        [job.id for job in jobs],
        [job.tenant for job in jobs],
        [job.type for job in jobs],
        [PRIORITY_NUMBERS[job.priority] for job in jobs],
        [job.parameters for job in jobs],
        [job.idempotency_key for job in jobs],
        [job.run_at for job in jobs],
        [RANK_ALLOWANCE[job.priority] for job in jobs],
        [job.attempts_max for job in jobs],
        [job.timeout_seconds for job in jobs],
        [job.traceparent for job in jobs],
        [job.unique_key for job in jobs],
        [job.order_key for job in jobs],
        [job.limit_key for job in jobs],
        [job.deadline_at for job in jobs],
        [len(set(job.after)) for job in jobs],
        [job.parent_id for job in jobs],
        [job.schedule for job in jobs],
        [born(job.id) for job in jobs],
        SLACK,
    )
    states = {row["id"]: JobState(row["state"]) for row in rows}
    there = [job for job in jobs if job.id not in states]
    if there:
        await _settle_repeats(connection, batch, there)
    return states


async def _settle_repeats(connection: Connection, batch: _Batch, there: Sequence[NewJob]) -> None:
    """Tell repeats from ids that belong to another tenant."""
    owners = await _find(connection, [job.id for job in there])
    foreign = [job for job in there if job.id in owners and owners[job.id][0] != job.tenant]
    for job in foreign:
        batch.refuse(job.id, TAKEN)
    await keys.give_up(connection, foreign)
    for job in there:
        if job not in foreign:
            batch.repeat(job.id, job.id)


async def _find(
    connection: Connection, job_ids: Sequence[UUID]
) -> dict[UUID, tuple[str, JobState]]:
    """Look up tenant and state of jobs, whether they have ended or not."""
    rows = await connection.fetch(
        """
        SELECT id, tenant, state::text AS state FROM jobs WHERE id = ANY($1::uuid[])
        UNION ALL
        SELECT h.id, h.tenant, h.state::text
        FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, born)
        JOIN job_history h ON h.id = u.id AND h.finished_at >= u.born
        """,
        job_ids,
        [born(job_id) for job_id in job_ids],
    )
    return {row["id"]: (row["tenant"], JobState(row["state"])) for row in rows}


async def _link(
    connection: Connection, batch: _Batch, waiting: Sequence[NewJob], *, order: list[UUID]
) -> None:
    """Remember who waits for whom; refuse what comes after a job that is not there.

    Of the jobs of one batch, one may come after those before it: so there are no circles.
    """
    wanted = sorted({job_id for job in waiting for job_id in job.after})
    live = set(await ending.lock(connection, wanted))
    found = await _find(connection, wanted)
    places = {job_id: place for place, job_id in enumerate(order)}
    refused: dict[UUID, NewJob] = {}
    links: list[tuple[UUID, UUID, bool]] = []
    for job in waiting:
        place = places[job.id]
        unknown = [
            i
            for i, job_id in enumerate(job.after)
            if found.get(job_id, ("",))[0] != job.tenant
            or places.get(job_id, -1) >= place
            or job_id in refused
        ]
        if unknown:
            refused[job.id] = job
            batch.refuse(job.id, _unknown(job, unknown))
            continue
        links += [
            (job_id, job.id, job.after_failure is AfterFailure.CANCEL)
            for job_id in set(job.after)
            if job_id in live
        ]
    if refused:
        await connection.execute("DELETE FROM jobs WHERE id = ANY($1::uuid[])", list(refused))
        await keys.give_up(connection, list(refused.values()))
    await link(connection, links)


async def link(connection: Connection, links: Sequence[tuple[UUID, UUID, bool]]) -> None:
    """Store (on, job, cancels): the second waits for the first, whose row is locked."""
    if not links:
        return
    await connection.execute(
        """
        WITH linked AS (
            INSERT INTO job_dependencies (on_job_id, job_id, cancels)
            SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::boolean[])
        )
        UPDATE jobs SET awaited = true WHERE id = ANY($1::uuid[]) AND NOT awaited
        """,
        [on for on, _, _ in links],
        [job for _, job, _ in links],
        [cancels for _, _, cancels in links],
    )


async def _start_what_waits_for_nothing(connection: Connection, waiting: Sequence[NewJob]) -> None:
    """Do for jobs that had ended before what their end would have done."""
    found = await _find(connection, sorted({i for job in waiting for i in job.after}))
    met: dict[UUID, int] = {}
    doomed: list[Ending] = []
    for job in waiting:
        ended = [found[i][1] for i in set(job.after) if i in found and found[i][1].is_final]
        if job.after_failure is AfterFailure.CANCEL and any(
            state is not JobState.SUCCEEDED for state in ended
        ):
            doomed.append(
                Ending(job_id=job.id, state=JobState.CANCELLED, error=ending.DEPENDENCY_FAILED)
            )
        elif ended:
            met[job.id] = len(ended)
    await ending.release(connection, met)
    await ending.end(connection, doomed)


def _unknown(job: NewJob, places: Sequence[int]) -> Problem:
    return Problem(
        code="unknown_dependency",
        title="The job comes after a job that is not there",
        status=422,
        errors=tuple(
            FieldProblem(
                pointer=f"/after/{place}",
                code="unknown_dependency",
                message=f"there is no job {job.after[place]}",
            )
            for place in places
        ),
    )


def _ref(job: NewJob) -> JobRef:
    return JobRef(
        job_id=job.id,
        job_type=job.type,
        attempt=0,
        tenant=job.tenant,
        traceparent=job.traceparent,
    )
