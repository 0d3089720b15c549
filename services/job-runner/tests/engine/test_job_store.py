"""What the job tables answer and how, on a real PostgreSQL."""

import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from lineshaft_common import postgres
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import Priority, uuid7
from lineshaft_contracts.jobs import JobError, JobState, ListJobs, Progress
from lineshaft_job_runner.job import ClaimedJob, NewJob, Outcome, ProgressUpdate, Verdict
from lineshaft_job_runner.store.jobs import CLAIM, JobStore
from lineshaft_job_runner.store.reads import JobReads

pytestmark = pytest.mark.integration

BACKLOG = 200_000


@pytest.fixture
async def pool(postgres_url: str) -> AsyncGenerator[Pool]:
    async with postgres.connect(
        postgres_url, "lineshaft_common", "lineshaft_job_runner", name="t"
    ) as pool:
        yield pool


@pytest.fixture
def store(pool: Pool) -> JobStore:
    return JobStore(pool, worker="one", on_announced=lambda: None)


def new_job(**changes: Any) -> NewJob:
    values: dict[str, Any] = {
        "id": uuid7(),
        "tenant": "acme",
        "type": "trial.wait",
        "priority": Priority.NORMAL,
        "parameters": "{}",
        "idempotency_key": None,
        "run_at": None,
        "attempts_max": 3,
        "timeout_seconds": 10.0,
        "traceparent": None,
    }
    return NewJob(**(values | changes))


async def started(store: JobStore, **changes: Any) -> ClaimedJob:
    """Submit a job and claim it."""
    job = new_job(**changes)
    await store.accept([job])
    (claimed,) = await store.claim([job.type], limit=1, lease_seconds=60)
    return claimed


async def events(pool: Pool, job_id: UUID) -> list[str]:
    """The kinds of the events about a job, in order."""
    rows = await pool.fetch(
        "SELECT unnest(type) AS type, unnest(body) AS body FROM outbox_batches ORDER BY id"
    )
    return [
        row["type"].split(".")[2]
        for row in rows
        if json.loads(row["body"])["subject"] == str(job_id)
    ]


FAILED = JobError(code="not_yet", message="")


@pytest.mark.parametrize(
    "end",
    [
        {"verdict": Verdict.RELEASED},
        {"verdict": Verdict.FAILED, "error": FAILED, "retry_in": timedelta(seconds=1)},
    ],
    ids=["released", "retrying"],
)
async def test_a_job_that_was_cancelled_while_it_ran_does_not_run_again(
    store: JobStore, pool: Pool, end: Any
) -> None:
    job = await started(store)
    assert await store.cancel(job.id, tenant="acme")
    assert await store.finish([Outcome(job=job, **end)]) == {job.id}
    row = await pool.fetchrow("SELECT state::text, attempt, finished_at, run_at FROM jobs")
    assert row is not None
    assert (row["state"], row["attempt"], row["run_at"]) == ("cancelled", 1, None)
    assert row["finished_at"] is not None
    assert await events(pool, job.id) == ["queued", "started", "cancelled"]


async def test_progress_is_announced_only_while_the_lease_is_held(
    store: JobStore, pool: Pool
) -> None:
    held, lost = await started(store), await started(store)
    await pool.execute("UPDATE jobs SET lease_token = gen_random_uuid() WHERE id = $1", lost.id)
    progress = Progress(done=1, total=2)
    updates = [ProgressUpdate(job=job, progress=progress, moved=True) for job in (held, lost)]
    assert await store.heartbeat(updates, lease_seconds=60) == {held.lease_token: False}
    assert (await events(pool, held.id))[-1] == "progressed"
    assert (await events(pool, lost.id))[-1] == "started"


async def test_statistics_say_nothing_about_other_tenants_and_count_each_job_once(
    store: JobStore, pool: Pool
) -> None:
    for tenant in ("acme", "rival", "rival"):
        for _ in range(2):
            job = await started(store, tenant=tenant)
            await store.finish([Outcome(job=job, verdict=Verdict.RELEASED)])
            (job,) = await store.claim([job.type], limit=1, lease_seconds=60)
            assert job.attempt == 1
            error = JobError(code="never", message="", retryable=False)
            await store.finish([Outcome(job=job, verdict=Verdict.FAILED, error=error)])
    for _ in range(3):
        job = await started(store, type="trial.work")
        await store.finish([Outcome(job=job, verdict=Verdict.SUCCEEDED, result={})])
    window = (await JobReads(pool).stats(tenant="acme")).windows["5m"]
    wait, work = window.types
    assert (wait.counts["failed"], wait.errors, wait.retries) == (2, {"never": 2}, 0)
    assert (work.counts["succeeded"], work.errors) == (3, {})
    assert window.ended_per_minute == 1.0


async def test_a_claim_takes_the_most_urgent_of_all_types(store: JobStore) -> None:
    low = new_job(type="trial.wait", priority=Priority.LOW)
    urgent = new_job(type="trial.work", priority=Priority.CRITICAL)
    other = new_job(type="trial.other", priority=Priority.CRITICAL)
    await store.accept([low, other, urgent])
    types = ["trial.wait", "trial.work"]
    first = await store.claim(types, limit=1, lease_seconds=60)
    rest = await store.claim(types, limit=5, lease_seconds=60)
    assert [j.id for j in first] == [urgent.id]
    assert [j.id for j in rest] == [low.id]


async def test_a_claim_does_not_read_the_backlog_of_other_types(
    store: JobStore, pool: Pool
) -> None:
    await pool.execute(
        """
        INSERT INTO jobs (id, tenant, type, state, priority, parameters, rank, attempts_max,
                          timeout_seconds)
        SELECT gen_random_uuid(), 'acme', 'trial.other', 'queued', 2, '{}',
               now() - interval '1 day', 3, 10 FROM generate_series(1, $1)
        """,
        BACKLOG,
    )
    await store.accept([new_job() for _ in range(3)])
    await pool.execute("ANALYZE jobs")
    async with pool.acquire() as connection, connection.transaction():
        (text,) = await connection.fetchrow(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {CLAIM}",
            ["trial.wait", "trial.work"],
            10,
            "one",
            timedelta(seconds=60),
        ) or ("",)
    plan = json.loads(text)[0]["Plan"]
    assert "jobs_ready_by_type" in text
    assert '"Seq Scan"' not in text
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 500
    assert await pool.fetchval("SELECT count(*) FROM jobs WHERE state = 'running'") == 3


async def test_jobs_in_several_states_are_one_list_newest_first(
    store: JobStore, pool: Pool
) -> None:
    ended = await started(store)
    await store.finish([Outcome(job=ended, verdict=Verdict.SUCCEEDED, result={})])
    running = await started(store)
    waiting = new_job()
    await store.accept([waiting])
    reads = JobReads(pool)

    async def listed(*states: JobState) -> list[UUID]:
        return [j.id for j in (await reads.page(ListJobs(states=states), tenant="acme")).jobs]

    assert await listed(JobState.QUEUED, JobState.SUCCEEDED) == [waiting.id, ended.id]
    assert await listed() == [waiting.id, running.id, ended.id]
    assert await listed(JobState.UNKNOWN) == []


async def test_the_time_of_a_job_is_compared_with_the_clock_of_the_database(
    store: JobStore, pool: Pool
) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    later, past = new_job(run_at=at), new_job(run_at=datetime(1, 1, 1, tzinfo=UTC))
    await store.accept([later, past])
    rows = {row["id"]: row for row in await pool.fetch("SELECT id, state::text, run_at FROM jobs")}
    assert (rows[later.id]["state"], rows[later.id]["run_at"]) == ("scheduled", at)
    assert rows[past.id]["state"] == "queued"
