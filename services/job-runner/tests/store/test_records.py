"""Records of attempts in PostgreSQL: only under a current lease, and gone with their job."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.jobs import Artifact
from lineshaft_job_runner.asking import EngineAwayError
from lineshaft_job_runner.job import StoredArtifact, Verdict
from lineshaft_job_runner.storable import RECORDS_AT_ONCE
from lineshaft_job_runner.store.history import HistoryStore
from lineshaft_job_runner.store.records import RecordStore

from .driver import Jobs

pytestmark = pytest.mark.integration


@pytest.fixture
def records(jobs: Jobs) -> RecordStore:
    return RecordStore(jobs.pool, jobs.reads)


async def test_the_latest_entry_of_a_key_counts(jobs: Jobs, records: RecordStore) -> None:
    job = await jobs.start()
    assert await records.record(job, {"a": {"state": "sending"}, "b": {"n": 1}})
    assert await records.record(job, {"a": {"state": "sent"}})
    assert await records.recorded(job, after="") == {"a": {"state": "sent"}, "b": {"n": 1}}


async def test_pages_go_on_where_the_last_one_ended(jobs: Jobs, records: RecordStore) -> None:
    job = await jobs.start()
    keys = [f"{mark}{n:03}" for mark in "Za_é" for n in range(150)]
    for at in range(0, len(keys), RECORDS_AT_ONCE):
        chunk: dict[str, dict[str, Any]] = {key: {} for key in keys[at : at + RECORDS_AT_ONCE]}
        assert await records.record(job, chunk)
    first = await records.recorded(job, after="")
    second = await records.recorded(job, after=max(first))
    assert [*first, *second] == sorted(keys)


async def test_nothing_is_recorded_without_a_current_lease(
    jobs: Jobs, records: RecordStore
) -> None:
    job = await jobs.start()
    assert not await records.record(replace(job, lease_token=uuid4()), {"a": {}})
    await jobs.end(job, Verdict.RELEASED)
    assert not await records.record(job, {"a": {}})
    assert await records.recorded(job, after="") == {}


async def test_the_next_attempt_and_a_retried_job_read_the_same_records(
    jobs: Jobs, records: RecordStore
) -> None:
    job = await jobs.start()
    await records.record(job, {"a": {"state": "sent"}})
    await jobs.end(job, Verdict.RELEASED)
    (again,) = await jobs.claim(1)
    await jobs.fail(again)
    assert await records.recorded(again, after="") == {"a": {"state": "sent"}}


async def test_records_go_with_the_day_of_their_job(jobs: Jobs, records: RecordStore) -> None:
    history = HistoryStore(jobs.pool)
    await history.make_days()
    ended, running = await jobs.start(), await jobs.start()
    for job in (ended, running):
        await records.record(job, {"a": {}})
    await jobs.succeed(ended)
    await history.drop(datetime.now(UTC).date())
    assert await records.recorded(ended, after="") == {}
    assert await records.recorded(running, after="") == {"a": {}}
    await history.make_days()


async def test_artifacts_are_found_for_their_own_tenant_alone(
    jobs: Jobs, records: RecordStore
) -> None:
    made = await jobs.start()
    artifact = Artifact(name="a.pdf", media_type="application/pdf", bytes=3, sha256="0" * 64)
    stored = StoredArtifact(artifact=artifact, object_key="k/a")
    await jobs.end(made, Verdict.SUCCEEDED, result={}, artifacts=(stored,))
    asking, rival = await jobs.start(), await jobs.start(tenant="rival")
    assert await records.find_artifact(asking, made.id, "a.pdf") == stored
    assert await records.find_artifact(asking, made.id, "b.pdf") is None
    assert await records.find_artifact(asking, uuid7(), "a.pdf") is None
    assert await records.find_artifact(rival, made.id, "a.pdf") is None


async def test_a_database_that_is_away_is_told_from_one_that_refuses(
    jobs: Jobs, records: RecordStore
) -> None:
    job = await jobs.start()
    async with jobs.pool.acquire() as connection:
        await connection.execute("SET lock_timeout = '50ms'")
        impatient = RecordStore(connection, jobs.reads)  # pyright: ignore[reportArgumentType]
        async with jobs.pool.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE job_records IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(EngineAwayError):
                await impatient.record(job, {"a": {}})
        await connection.execute("RESET lock_timeout")
