"""What a second submission gets: by job id, by idempotency key, by unique key."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.jobs import JobState
from lineshaft_job_runner.job import Ending
from lineshaft_job_runner.store import ending

from .driver import WORK, Jobs, new_job, somebody_waits

pytestmark = pytest.mark.integration

LATEST = UUID(int=(0xFFFF_FFFF_FFFF << 80) | (7 << 76) | (2 << 62))
"""A UUIDv7 of the year 10889."""


async def keys(jobs: Jobs) -> int:
    return await jobs.pool.fetchval("SELECT count(*) FROM job_keys")


async def live(jobs: Jobs) -> set[UUID]:
    return {row["id"] for row in await jobs.pool.fetch("SELECT id FROM jobs")}


async def test_the_same_job_id_twice_in_a_batch_is_one_job(jobs: Jobs) -> None:
    job = new_job()
    assert await jobs.accept(job, job) == [(job.id, True), (job.id, False)]
    assert await jobs.events(job.id) == ["queued"]


@pytest.mark.parametrize("make_id", [uuid7, uuid4], ids=["uuid7", "uuid4"])
@pytest.mark.parametrize("end", ["succeeded", "cancelled"])
async def test_a_command_that_comes_again_after_the_end_of_its_job_runs_nothing(
    jobs: Jobs, make_id: Any, end: str
) -> None:
    job = new_job(id=make_id(), unique_key="u", idempotency_key="i")
    await jobs.accept(job)
    if end == "succeeded":
        await jobs.succeed(*await jobs.claim())
    else:
        await jobs.cancel(job.id)
    assert await jobs.accept(job) == [(job.id, False)]
    assert await live(jobs) == set()
    assert await jobs.state(job.id) == end
    assert (await jobs.events(job.id)).count("queued") == 1


async def test_a_command_that_comes_again_while_its_job_ends_runs_nothing(jobs: Jobs) -> None:
    job = await jobs.submit()
    await jobs.claim()
    async with jobs.pool.acquire() as connection:
        async with connection.transaction():
            await ending.end(connection, [Ending(job_id=job.id, state=JobState.SUCCEEDED)])
            again = asyncio.create_task(jobs.accept(job))
            await somebody_waits(jobs.pool)
        assert await again == [(job.id, False)]
    assert await live(jobs) == set()
    assert await jobs.events(job.id) == ["queued", "started", "succeeded"]


async def test_a_command_that_comes_again_does_not_keep_the_unique_key_of_its_ended_job(
    jobs: Jobs,
) -> None:
    job = await jobs.submit(unique_key="u")
    await jobs.cancel(job.id)
    await jobs.accept(job)
    await jobs.submit(unique_key="u")


async def test_a_command_that_comes_again_finds_its_own_job_whoever_has_its_unique_key_now(
    jobs: Jobs,
) -> None:
    job = await jobs.submit(unique_key="u")
    await jobs.cancel(job.id)
    await jobs.submit(unique_key="u")
    assert await jobs.accept(job) == [(job.id, False)]


@pytest.mark.parametrize("ended", [False, True], ids=["live", "ended"])
async def test_the_job_id_of_another_tenant_is_refused(jobs: Jobs, *, ended: bool) -> None:
    job = await jobs.submit()
    if ended:
        await jobs.cancel(job.id)
    theirs = new_job(id=job.id, tenant="rival", idempotency_key="i", unique_key="u")
    assert await jobs.refused(theirs) == ["job_id_taken"]
    assert (await jobs.view(job.id)).tenant == "acme"
    await jobs.submit(tenant="rival", idempotency_key="i", unique_key="u")


async def test_the_job_id_of_another_tenant_is_refused_in_one_batch_too(jobs: Jobs) -> None:
    job = new_job()
    theirs = new_job(id=job.id, tenant="rival")
    assert await jobs.refused(job, theirs, job) == [None, "job_id_taken", None]
    assert (await jobs.view(job.id)).tenant == "acme"


async def test_an_id_that_cannot_have_been_made_yet_is_refused_and_never_found(
    jobs: Jobs,
) -> None:
    other = new_job()
    assert await jobs.refused(new_job(id=LATEST), other) == ["invalid_input", None]
    assert await live(jobs) == {other.id}
    assert await jobs.reads.views([LATEST], tenant="acme") == {}


@pytest.mark.parametrize("job_id", [uuid4(), UUID(int=0), UUID(int=7 << 76 | 2 << 62)])
async def test_a_job_is_found_after_its_end_whatever_time_its_id_tells(
    jobs: Jobs, job_id: UUID
) -> None:
    job = await jobs.submit(id=job_id)
    await jobs.cancel(job.id)
    assert await jobs.state(job_id) == "cancelled"
    assert await jobs.accept(job) == [(job_id, False)]
    assert await jobs.reads.artifact(job_id, "x", tenant="acme") is None


async def test_an_idempotency_key_gives_the_first_job_of_a_batch(jobs: Jobs) -> None:
    one, two = new_job(idempotency_key="i"), new_job(idempotency_key="i")
    assert await jobs.accept(one, two) == [(one.id, True), (one.id, False)]
    assert await live(jobs) == {one.id}


async def test_an_idempotency_key_gives_the_job_of_an_earlier_batch_also_after_its_end(
    jobs: Jobs,
) -> None:
    first = await jobs.submit(idempotency_key="i")
    assert await jobs.accept(new_job(idempotency_key="i")) == [(first.id, False)]
    await jobs.succeed(*await jobs.claim())
    assert await jobs.accept(new_job(idempotency_key="i")) == [(first.id, False)]
    assert await live(jobs) == set()


async def test_an_idempotency_key_holds_for_one_tenant_and_one_type(jobs: Jobs) -> None:
    await jobs.submit(idempotency_key="i")
    await jobs.submit(idempotency_key="i", tenant="rival")
    await jobs.submit(idempotency_key="i", type=WORK)
    await jobs.submit(unique_key="i")


async def test_an_idempotency_key_is_free_after_thirty_days(jobs: Jobs) -> None:
    await jobs.submit(idempotency_key="i")
    left = await jobs.pool.fetchval("SELECT expires_at - now() FROM job_keys")
    assert 29.9 < left.total_seconds() / 86_400 <= 30
    await jobs.pool.execute("UPDATE job_keys SET expires_at = now()")
    second = await jobs.submit(idempotency_key="i")
    assert await jobs.accept(new_job(idempotency_key="i")) == [(second.id, False)]


async def test_two_submissions_of_one_idempotency_key_at_once_are_one_job(jobs: Jobs) -> None:
    batches = [[new_job(idempotency_key=f"i{n}") for n in range(20)] for _ in range(4)]
    outcomes = await asyncio.gather(*(jobs.accept(*reversed(batch)) for batch in batches))
    assert sum(created for some in outcomes for _, created in some) == 20
    assert all([job_id for job_id, _ in some] == [i for i, _ in outcomes[0]] for some in outcomes)


async def test_a_unique_key_gives_the_job_that_has_it_until_that_has_ended(jobs: Jobs) -> None:
    first = await jobs.submit(unique_key="u")
    assert await jobs.accept(new_job(unique_key="u")) == [(first.id, False)]
    (claimed,) = await jobs.claim()
    assert await jobs.accept(new_job(unique_key="u")) == [(first.id, False)]
    await jobs.succeed(claimed)
    assert await keys(jobs) == 0
    await jobs.submit(unique_key="u")


async def test_a_unique_key_with_a_window_holds_for_the_window_whatever_the_job_does(
    jobs: Jobs,
) -> None:
    first = await jobs.submit(unique_key="u", unique_seconds=600)
    await jobs.cancel(first.id)
    assert await jobs.accept(new_job(unique_key="u", unique_seconds=600)) == [(first.id, False)]
    left = await jobs.pool.fetchval("SELECT expires_at - now() FROM job_keys")
    assert 590 < left.total_seconds() <= 600
    await jobs.pool.execute("UPDATE job_keys SET expires_at = now()")
    await jobs.submit(unique_key="u", unique_seconds=600)


async def test_a_unique_key_gives_the_first_job_of_a_batch(jobs: Jobs) -> None:
    one, two, other = (new_job(unique_key=key) for key in "uuv")
    assert await jobs.accept(one, two, other) == [
        (one.id, True),
        (one.id, False),
        (other.id, True),
    ]


async def test_the_idempotency_key_of_a_job_that_was_not_unique_leads_to_the_job_found_instead(
    jobs: Jobs,
) -> None:
    first = await jobs.submit(unique_key="u")
    loser = new_job(unique_key="u", idempotency_key="i")
    assert await jobs.accept(loser) == [(first.id, False)]
    await jobs.cancel(first.id)
    again = new_job(unique_key="u", idempotency_key="i")
    assert await jobs.accept(again) == [(first.id, False)]


async def test_keys_of_both_kinds_in_one_batch_lead_to_a_job_that_is_there(jobs: Jobs) -> None:
    first = await jobs.submit(unique_key="u")
    loser = new_job(unique_key="u", idempotency_key="i")
    repeat = new_job(idempotency_key="i")
    assert await jobs.accept(loser, repeat) == [(first.id, False), (first.id, False)]


@pytest.mark.parametrize("kind", ["idempotency_key", "unique_key"])
async def test_who_comes_after_a_refused_job_with_the_same_key_is_refused_with_it(
    jobs: Jobs, kind: str
) -> None:
    key = {kind: "k"}
    refused = new_job(after=(uuid7(),), **key)
    repeat = new_job(**{"idempotency_key": "i"} | key)
    assert await jobs.refused(refused, repeat) == ["unknown_dependency", "unknown_dependency"]
    assert await keys(jobs) == 0
    assert await jobs.accept(repeat) == [(repeat.id, True)]


@pytest.mark.parametrize(
    "key", [{"idempotency_key": "a"}, {"unique_key": "a", "unique_seconds": 999}]
)
async def test_a_key_that_outlived_its_job_swallows_no_submission(
    jobs: Jobs, key: dict[str, Any]
) -> None:
    """So it is when ended jobs are kept for less than the keys."""
    first = await jobs.start(**key)
    await jobs.succeed(first)
    assert await jobs.accept(new_job(**key)) == [(first.id, False)]
    await jobs.pool.execute("DELETE FROM job_history")
    second, again = new_job(**key), new_job(**key)
    assert await jobs.accept(second, again) == [(second.id, True), (second.id, False)]
    assert await jobs.state(second.id) == "queued"
