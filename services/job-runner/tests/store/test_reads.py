"""What users see of their jobs: lists over live and ended ones, and statistics."""

from typing import Any
from uuid import UUID

import pytest
from lineshaft_contracts.jobs import JobState, ListJobs
from lineshaft_job_runner.job import Verdict

from .driver import NEVER, WORK, Jobs

pytestmark = pytest.mark.integration


async def listed(jobs: Jobs, *, tenant: str = "acme", **question: Any) -> list[UUID]:
    """Read all pages of a list."""
    found: list[UUID] = []
    cursor: str | None = None
    while True:
        page = await jobs.reads.page(ListJobs(cursor=cursor, **question), tenant=tenant)
        found += [job.id for job in page.jobs]
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_jobs_in_several_states_are_one_list_newest_first(jobs: Jobs) -> None:
    ended = await jobs.start()
    await jobs.succeed(ended)
    running = await jobs.start()
    waiting = await jobs.submit()
    assert await listed(jobs, states=(JobState.QUEUED, JobState.SUCCEEDED)) == [
        waiting.id,
        ended.id,
    ]
    twice = (JobState.QUEUED, JobState.QUEUED)
    assert await listed(jobs, states=twice) == [waiting.id]
    assert await listed(jobs) == [waiting.id, running.id, ended.id]
    assert await listed(jobs, states=(JobState.UNKNOWN,)) == []
    assert await listed(jobs, tenant="rival") == []


@pytest.mark.parametrize("states", [(), tuple(JobState)], ids=["any", "named"])
async def test_pages_show_each_job_once_whether_it_has_ended_or_not(
    jobs: Jobs, states: tuple[JobState, ...]
) -> None:
    made = [await jobs.submit() for _ in range(9)]
    for job in made[::3]:
        await jobs.cancel(job.id)
    assert await listed(jobs, limit=2, states=states) == [job.id for job in reversed(made)]


async def test_a_job_that_ends_between_two_pages_is_neither_lost_nor_shown_twice(
    jobs: Jobs,
) -> None:
    made = [await jobs.submit() for _ in range(6)]
    first = await jobs.reads.page(ListJobs(limit=3), tenant="acme")
    for job in made[1:4]:
        await jobs.cancel(job.id)
    rest = await jobs.reads.page(ListJobs(limit=9, cursor=first.next_cursor), tenant="acme")
    shown = [job.id for job in (*first.jobs, *rest.jobs)]
    assert shown == [job.id for job in reversed(made)]


@pytest.mark.parametrize("ended", [False, True], ids=["live", "ended"])
async def test_a_list_can_be_narrowed_by_keys_and_type(jobs: Jobs, *, ended: bool) -> None:
    job = await jobs.submit(order_key="o", idempotency_key="i", type=WORK)
    if ended:
        await jobs.cancel(job.id)
    await jobs.submit(order_key="p", idempotency_key="j")
    for question in ({"order_key": "o"}, {"idempotency_key": "i"}, {"job_type": WORK}):
        assert await listed(jobs, **question) == [job.id]


async def test_a_job_of_another_tenant_is_not_found(jobs: Jobs) -> None:
    live, ended = await jobs.submit(), await jobs.submit()
    await jobs.cancel(ended.id)
    assert await jobs.reads.views([live.id, ended.id], tenant="rival") == {}
    assert len(await jobs.reads.views([live.id, ended.id], tenant="acme")) == 2


async def test_what_was_asked_for_is_told_before_and_after_the_end(jobs: Jobs) -> None:
    fields = {
        "unique_key": "u",
        "order_key": "o",
        "limit_key": "l",
        "schedule": "nightly",
        "idempotency_key": "i",
        "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
        "deadline_at": jobs.soon(),
    }
    job = await jobs.submit(**fields)
    live = await jobs.view(job.id)
    await jobs.cancel(job.id)
    ended = await jobs.view(job.id)
    for view in (live, ended):
        assert (view.unique_key, view.order_key, view.limit_key) == ("u", "o", "l")
        assert (view.schedule, view.trace_id) == ("nightly", "a" * 32)
        assert view.deadline_at == fields["deadline_at"]
    assert ended.submitted_at == live.submitted_at


async def test_statistics_say_nothing_about_other_tenants_and_count_each_job_once(
    jobs: Jobs,
) -> None:
    for tenant in ("acme", "rival", "rival"):
        for _ in range(2):
            await jobs.end(await jobs.start(tenant=tenant), Verdict.RELEASED)
            (job,) = await jobs.claim(1)
            assert job.attempt == 1
            await jobs.end(job, Verdict.FAILED, error=NEVER)
    for _ in range(3):
        await jobs.succeed(await jobs.start(type=WORK))
    await jobs.submit()
    stats = await jobs.reads.stats(tenant="acme")
    assert stats.counts == {"failed": 2, "succeeded": 3, "queued": 1}
    assert stats.oldest_queued_seconds is not None
    wait, work = stats.windows["5m"].types
    assert (wait.counts["failed"], wait.errors, wait.retries) == (2, {"never": 2}, 0)
    assert (work.counts["succeeded"], work.errors, work.success_rate) == (3, {}, 1.0)
    assert work.run_seconds.p50 is not None
    assert stats.windows["5m"].ended_per_minute == 1.0
    assert (await jobs.reads.stats(tenant="nobody")).counts == {}


async def test_statistics_count_lost_and_failed_attempts_as_retries(jobs: Jobs) -> None:
    job = await jobs.start()
    await jobs.lose(job)
    (again,) = await jobs.claim()
    await jobs.end(again, Verdict.FAILED, error=NEVER, retry_in=jobs.moment)
    (types,) = (await jobs.reads.stats(tenant="acme")).windows["5m"].types
    assert (types.retries, types.errors) == (2, {"worker_lost": 1, "never": 1})
