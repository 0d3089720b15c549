"""How submissions become jobs: repeats, keys, dependencies and turns."""

from collections.abc import Sequence
from typing import TypeAlias
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
from lineshaft_job_runner.store import ending, ids, keys
from lineshaft_job_runner.store.batches import TAKEN, TOO_NEW, Batch
from lineshaft_job_runner.store.ids import born

_Found: TypeAlias = dict[UUID, tuple[str, JobState]]
"""Tenant and state of jobs."""

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
            $17::uuid[], $18::text[], $19::float8[])
     WITH ORDINALITY
     AS u (id, tenant, type, priority, parameters, idempotency_key, run_at, allowance,
           attempts_max, timeout_seconds, traceparent, unique_key, order_key, limit_key,
           deadline_at, blockers, parent_id, schedule, made_at, position)
WHERE u.made_at IS NULL OR to_timestamp(u.made_at) <= now() + $20
ORDER BY u.position
ON CONFLICT DO NOTHING
RETURNING id, state::text AS state
"""

_ENDED = """
SELECT h.id, h.tenant, h.state::text AS state
FROM unnest($1::uuid[], $2::timestamptz[]) AS u (id, born)
JOIN job_history h ON h.id = u.id AND h.finished_at >= u.born
"""
"""A job that has ended is looked for in the days since its id was made."""


async def accept(connection: Connection, jobs: Sequence[NewJob]) -> list[Accepted]:
    """Store submissions in the caller's transaction; one outcome for each, in the same order.

    A job id, idempotency key or unique key that is there already gives the earlier job.
    """
    batch = Batch(jobs)
    await _take_keys(connection, batch)
    states = await _insert(connection, batch)
    waiting = [job for job in batch.open if job.after]
    awaited = await _link(connection, batch, waiting, order=list(states))
    created = batch.open
    await _refuse_repeats(connection, batch)
    await ending.grant_turns(
        connection,
        ((j.tenant, j.order_key) for j in created if states[j.id] is JobState.QUEUED),
    )
    await outbox.add(
        connection,
        [
            announcements.waits(
                _ref(job), state=states[job.id], run_at=job.run_at, jobs=len(set(job.after))
            )
            for job in created
        ],
    )
    await _start_what_waits_for_nothing(
        connection, [job for job in waiting if batch.is_open(job)], awaited
    )
    return batch.outcomes()


async def _take_keys(connection: Connection, batch: Batch) -> None:
    """Take the keys of new jobs; who comes second is told the first."""
    named = [job for job in batch.open if job.idempotency_key is not None]
    for job_id, owner in (await _owners(connection, named, "idempotency")).items():
        if job_id != owner:
            batch.repeat(job_id, owner)
    unique = [job for job in batch.open if job.unique_key is not None]
    if not unique:
        return
    # One that comes again must not take the key that its job gave back when it ended.
    await _settle_repeats(connection, batch, unique)
    unique = [job for job in unique if batch.is_open(job)]
    owners = await _owners(connection, unique, "unique")
    moved = {job_id: owner for job_id, owner in owners.items() if job_id != owner}
    await keys.hand_over(connection, unique, moved)
    for job_id, owner in moved.items():
        batch.repeat(job_id, owner)


async def _owners(connection: Connection, jobs: Sequence[NewJob], kind: str) -> dict[UUID, UUID]:
    """Take keys; one that outlived its job, because its day was dropped, is as good as free."""
    owners = await keys.take(connection, jobs, kind)
    earlier = set(owners.values()) - owners.keys()
    if not earlier:
        return owners
    gone = earlier - (await _find(connection, list(earlier))).keys()
    if not gone:
        return owners
    await keys.forget(connection, jobs, kind, owners=gone)
    return await keys.take(connection, jobs, kind)


async def _refuse_repeats(connection: Connection, batch: Batch) -> None:
    """Refuse what has the key of a job that is refused, and forget that it leads there."""
    for job, refused in batch.refuse_repeats().values():
        await keys.give_up(connection, [job], owner=refused)


async def _insert(connection: Connection, batch: Batch) -> dict[UUID, JobState]:
    """Insert what is open; settle the rest: repeats, and ids of other tenants."""
    jobs = batch.open
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
        [ids.made_at(job.id) for job in jobs],
        ids.SLACK,
    )
    states = {row["id"]: JobState(row["state"]) for row in rows}
    # Only now, because an end that was on its way when we came has made room for the row.
    ended = await connection.fetch(_ENDED, list(states), [born(job_id) for job_id in states])
    if ended:
        over = [row["id"] for row in ended]
        await connection.execute("DELETE FROM jobs WHERE id = ANY($1::uuid[])", over)
        states = {job_id: state for job_id, state in states.items() if job_id not in set(over)}
    there = [job for job in jobs if job.id not in states]
    if there:
        await _settle_repeats(connection, batch, there)
        await _refuse_too_new(connection, batch, [job for job in there if batch.is_open(job)])
    return states


async def _settle_repeats(connection: Connection, batch: Batch, jobs: Sequence[NewJob]) -> None:
    """Settle what is there already: repeats, and ids that belong to another tenant."""
    owners = await _find(connection, [job.id for job in jobs])
    for job in jobs:
        if job.id not in owners:
            continue
        if owners[job.id][0] == job.tenant:
            batch.repeat(job.id, job.id)
        else:
            batch.refuse(job.id, TAKEN)
            await keys.give_up(connection, [job])


async def _refuse_too_new(connection: Connection, batch: Batch, jobs: Sequence[NewJob]) -> None:
    """Refuse what is neither there already nor was inserted."""
    for job in jobs:
        batch.refuse(job.id, TOO_NEW)
    await keys.give_up(connection, jobs)


async def _find(connection: Connection, job_ids: Sequence[UUID]) -> _Found:
    """Look up tenant and state of jobs, whether they have ended or not."""
    rows = await connection.fetch(
        f"""
        SELECT id, tenant, state::text AS state FROM jobs WHERE id = ANY($1::uuid[])
        UNION ALL {_ENDED}
        """,  # noqa: S608 - of constants only.
        job_ids,
        [born(job_id) for job_id in job_ids],
    )
    return {row["id"]: (row["tenant"], JobState(row["state"])) for row in rows}


async def _link(
    connection: Connection, batch: Batch, waiting: Sequence[NewJob], *, order: list[UUID]
) -> _Found:
    """Remember who waits for whom; refuse what comes after a job that is not there.

    Of the jobs of one batch, one may come after those before it: so there are no circles.
    """
    found = await _lock_live(connection, sorted({i for job in waiting for i in job.after}))
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
            if not found[job_id][1].is_final
        ]
    if refused:
        await connection.execute("DELETE FROM jobs WHERE id = ANY($1::uuid[])", list(refused))
        await keys.give_up(connection, list(refused.values()))
    await ending.link(connection, links)
    return found


async def _lock_live(connection: Connection, job_ids: Sequence[UUID]) -> _Found:
    """Find jobs, and lock those that have not ended, so that none of them does."""
    locked: set[UUID] = set()
    while job_ids:
        found = await _find(connection, job_ids)
        live = [job_id for job_id, (_, state) in found.items() if not state.is_final]
        if locked.issuperset(live):
            return found
        # Meanwhile one may have ended, or another may have come: so look again.
        locked.update(await ending.lock(connection, live))
    return {}


async def _start_what_waits_for_nothing(
    connection: Connection, waiting: Sequence[NewJob], found: _Found
) -> None:
    """Do for jobs that had ended before what their end would have done."""
    met: dict[UUID, int] = {}
    doomed: list[Ending] = []
    for job in waiting:
        ended = [found[i][1] for i in set(job.after) if found[i][1].is_final]
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
