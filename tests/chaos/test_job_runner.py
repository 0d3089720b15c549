"""Job-runners are killed, frozen and blocked: nothing is lost, nothing is finished twice."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncGenerator
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import pytest
from lineshaft_contracts.jobs import JobState

from .fleet import LEASE_SECONDS, PLUGIN, ROUNDS, Fleet, Worker

pytestmark = [
    pytest.mark.integration,
    pytest.mark.chaos,
    pytest.mark.parametrize("number", range(ROUNDS)),
]


@pytest.fixture
async def fleet(
    number: int, fresh_amqp_url: str, postgres_url: str, tmp_path: Path
) -> AsyncGenerator[Fleet]:
    del number
    async with Fleet.on(fresh_amqp_url, postgres_url, tmp_path) as fleet:
        yield fleet


async def kill_now_and_then(fleet: Fleet, worker: Worker, times: int) -> None:
    """Kill it in the middle of its work, as far as there is any left."""
    for _ in range(times):
        before = len(fleet.effects())
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                while len(fleet.effects()) == before:
                    await asyncio.sleep(0.01)
        await asyncio.sleep(random.uniform(0, 0.5))  # The moment of the kill is the test.
        await worker.killed_and_started()


async def test_a_killed_runner_loses_no_job_and_finishes_none_twice(fleet: Fleet) -> None:
    jobs = [
        fleet.job(
            "trial.work" if number % 3 == 0 else "trial.wait",
            parameters={"seconds": random.uniform(0, 2)},
        )
        for number in range(40)
    ]
    async with fleet.worker("one") as one:
        # Two losses at most: a third would put a job into quarantine, which is another test.
        views = await fleet.through(jobs, lambda: kill_now_and_then(fleet, one, 2))
    fleet.agrees(views, losses_max=2)


async def test_a_runner_that_was_frozen_cannot_finish_what_another_took_over(
    fleet: Fleet,
) -> None:
    jobs = [
        fleet.job("trial.work", parameters={"seconds": 2}),
        fleet.job(parameters={"seconds": 2}),
    ]
    async with fleet.worker("frozen") as frozen:
        await fleet.submit(*jobs)
        for job in jobs:
            await fleet.becomes(job.job_id, JobState.RUNNING)
        frozen.signal(signal.SIGSTOP)
        async with fleet.worker("other"):
            views = await fleet.ends([job.job_id for job in jobs])
            frozen.signal(signal.SIGCONT)
            await frozen.tells("lease_lost")
    fleet.agrees(views, losses_max=1)
    for view in views:
        assert [(a.number, a.outcome) for a in view.attempts] == [(1, "lost"), (2, "succeeded")]
        assert [a.worker for a in view.attempts] == ["frozen", "other"]


async def test_a_job_that_blocks_the_loop_costs_nobody_the_lease(fleet: Fleet) -> None:
    blocking = fleet.job(parameters={"act": "block", "seconds": 0.2})
    others = [fleet.job(parameters={"seconds": LEASE_SECONDS}) for _ in range(10)]
    lease = {"LINESHAFT_LEASE_SECONDS": "5"}  # Less than the loop is blocked.
    async with fleet.worker("one", **lease), fleet.worker("other", **lease):
        await fleet.submit(*others, blocking)
        views = await fleet.ends([job.job_id for job in (*others, blocking)])
    fleet.agrees(views, losses_max=0)


async def test_jobs_that_kill_crash_or_burst_do_not_take_good_ones_along(fleet: Fleet) -> None:
    poison = {
        "die": "failed",
        "exit": "failed",
        "eat": "failed",
        "grow": "failed",
        "large": "failed",
        "fail_for_good": "failed",
        "hang": "failed",
    }
    bad = [
        fleet.job("trial.work", parameters={"act": act}, attempts_max=1, timeout_seconds=5)
        for act in poison
    ]
    good = [fleet.job("trial.work") for _ in range(10)] + [fleet.job() for _ in range(10)]
    mixed = [*bad, *good]
    random.shuffle(mixed)
    async with fleet.worker("one") as one:
        await fleet.submit(*mixed)
        ended = {job.id: job for job in await fleet.ends([job.job_id for job in mixed])}
        assert one.is_alive
    fleet.agrees([ended[job.job_id] for job in good], losses_max=0)
    assert [str(ended[job.job_id].state) for job in bad] == list(poison.values())


async def test_a_worker_killer_is_put_in_quarantine_and_the_others_go_on(fleet: Fleet) -> None:
    async with fleet.worker("one") as one:
        (killer,) = await fleet.submit(fleet.job(parameters={"seconds": 30}))
        for attempt in range(1, 4):
            while (await fleet.becomes(killer.id, JobState.RUNNING)).attempt < attempt:
                await asyncio.sleep(0.05)
            await one.killed_and_started()
        assert (await fleet.becomes(killer.id, JobState.QUARANTINED)).error is not None
        views = await fleet.through([fleet.job() for _ in range(5)], lambda: asyncio.sleep(0))
    fleet.agrees(views, losses_max=0)


async def test_what_is_submitted_by_many_again_and_again_is_done_once(fleet: Fleet) -> None:
    jobs = [
        fleet.job(idempotency_key=f"order-{number}", parameters={"seconds": random.uniform(0, 1)})
        for number in range(60)
    ]
    # The same command again, and another command with the same key.
    doubles = [fleet.job(idempotency_key=job.idempotency_key) for job in jobs]
    async with fleet.worker("one") as one, fleet.worker("other"):
        first, again, others, _ = await asyncio.gather(
            fleet.submit(*jobs),
            fleet.submit(*jobs),
            fleet.submit(*doubles),
            kill_now_and_then(fleet, one, 1),
        )
        views = await fleet.ends([view.id for view in first])
    assert [v.id for v in first] == [v.id for v in again] == [v.id for v in others]
    fleet.agrees(views, losses_max=1)
    assert len({job_id for job_id, _ in fleet.effects()}) == len(jobs)


async def test_commands_that_come_again_after_a_crash_run_nothing_again(fleet: Fleet) -> None:
    jobs = [fleet.job() for _ in range(1_000)]
    async with fleet.worker("one") as one:

        async def publish() -> None:
            for start in range(0, len(jobs), 50):
                await fleet.publish(jobs[start : start + 50])

        publishing = asyncio.create_task(publish())
        await kill_now_and_then(fleet, one, 2)  # Also between commit and ack, sooner or later.
        await publishing
        await fleet.publish(jobs)  # A publisher that did not see its confirms.
        views = await fleet.ends([job.job_id for job in jobs])
    fleet.agrees(views, losses_max=2)


async def test_a_type_that_only_new_workers_know_waits_for_them_in_a_rolling_restart(
    fleet: Fleet,
) -> None:
    jobs = [fleet.job() for _ in range(20)]
    async with fleet.worker("old-one", PYTHONPATH=""), fleet.worker("old-two", PYTHONPATH=""):
        for job in jobs[:10]:
            await fleet.insist(job)
        async with fleet.worker("new-one"):
            for job in jobs[10:]:
                await fleet.insist(job)
            views = await fleet.ends([job.job_id for job in jobs])
    fleet.agrees(views, losses_max=0)
    assert {view.attempts[0].worker for view in views} == {"new-one"}


async def test_the_order_of_a_key_and_the_waiting_for_children_survive_kills(
    fleet: Fleet,
) -> None:
    ordered = [
        fleet.job(order_key="line-1", parameters={"seconds": random.uniform(0, 0.2)})
        for _ in range(15)
    ]
    parents = [fleet.job(parameters={"act": "wait_for_children"}) for _ in range(3)]
    async with fleet.worker("one") as one, fleet.worker("other"):
        views = await fleet.through([*ordered, *parents], lambda: kill_now_and_then(fleet, one, 2))
    fleet.agrees(views, losses_max=2)
    wanted = {str(job.job_id) for job in ordered}
    done = [job_id for job_id, _ in fleet.effects() if job_id in wanted]
    assert [job_id for job_id, _ in groupby(done)] == [str(job.job_id) for job in ordered]
    assert [view.children for view in views[len(ordered) :]] == [{"succeeded": 3}] * 3


SHIFTED_CLOCK = """
import datetime, time
SHIFT = {seconds}
class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=SHIFT)
datetime.datetime = Shifted
real, real_ns = time.time, time.time_ns
time.time = lambda: real() + SHIFT
time.time_ns = lambda: real_ns() + SHIFT * 10**9
"""


def shifted_clock(folder: Path, *, days: int) -> str:
    """Write a start file that shifts a process's wall clock; returns the path to start it with."""
    folder.mkdir()
    source = SHIFTED_CLOCK.format(seconds=days * 86_400)
    (folder / "sitecustomize.py").write_text(source)
    return f"{folder}{os.pathsep}{PLUGIN}"


async def test_workers_whose_clocks_are_wrong_keep_and_take_the_right_jobs(
    fleet: Fleet, tmp_path: Path
) -> None:
    jobs = [fleet.job(parameters={"seconds": 2 * LEASE_SECONDS}) for _ in range(30)]
    ahead = shifted_clock(tmp_path / "ahead", days=2)
    behind = shifted_clock(tmp_path / "behind", days=-2)
    places = {"LINESHAFT_LOOP_JOBS_MAX": "10"}  # So that each of them has to take some.
    async with (
        fleet.worker("now", **places),
        fleet.worker("ahead", PYTHONPATH=ahead, **places),
        fleet.worker("behind", PYTHONPATH=behind, **places),
    ):
        await fleet.publish(jobs)
        views = await fleet.ends([job.job_id for job in jobs])
    fleet.agrees(views, losses_max=0)
