"""Each fire happens once and as its schedule says, on a real PostgreSQL."""

import json
from datetime import timedelta
from typing import Any

import pytest
from lineshaft_job_runner.job import NewJob

pytestmark = pytest.mark.integration


async def test_a_fire_is_a_row_and_a_job_and_the_next_time(timetable: Any) -> None:
    await timetable.due(
        "nightly",
        parameters={"seconds": 2},
        priority="low",
        order_key="line-1",
        limit_key="press",
        attempts_max=7,
        timeout_seconds=9,
    )
    pause = await timetable.fire()
    (row,) = await timetable.ledger_rows("nightly")
    assert (row["outcome"], row["detail"]) == ("submitted", "")
    job = dict(await timetable.pool.fetchrow("SELECT * FROM jobs WHERE id = $1", row["job_id"]))
    expected = {
        "tenant": "acme",
        "type": "trial.wait",
        "priority": 3,
        "order_key": "line-1",
        "limit_key": "press",
        "attempts_max": 7,
        "timeout_seconds": 9.0,
        "schedule": "nightly",
    }
    assert {name: job[name] for name in expected} == expected
    assert json.loads(job["parameters"])["seconds"] == 2
    view = await timetable.view("nightly")
    assert view.last_job_id == row["job_id"]
    assert view.last_fire_at == row["fire_at"]
    assert view.next_fire_at == row["fire_at"] + timedelta(hours=1)
    assert 0 < pause <= 5
    await timetable.fire()
    assert await timetable.live_jobs() == [row["job_id"]]


@pytest.mark.parametrize(
    ("on_missed", "expected", "jobs"),
    [
        ("skip", ["skipped_missed"] * 3, 0),
        ("one", ["skipped_missed", "skipped_missed", "submitted"], 1),
        ("all", ["submitted"] * 3, 3),
    ],
)
async def test_missed_fires_are_all_in_the_ledger(
    timetable: Any, on_missed: str, expected: list[str], jobs: int
) -> None:
    await timetable.due("nightly", fires=3, late=600, on_missed=on_missed, on_busy="run")
    await timetable.fire()
    assert await timetable.ledger("nightly") == expected
    assert len(await timetable.live_jobs()) == jobs


async def test_a_long_outage_of_a_busy_schedule_is_made_up_for_within_bounds(
    timetable: Any,
) -> None:
    await timetable.due("busy", fires=100_000, every=1, late=0, on_missed="all", on_busy="run")
    await timetable.fire()
    outcomes = await timetable.ledger("busy")
    assert outcomes[0] == "skipped_missed"
    assert outcomes.count("submitted") >= 100
    assert len(outcomes) == len(await timetable.live_jobs()) + 1


async def test_busy_skip_waits_for_the_end_of_the_job_before(timetable: Any) -> None:
    await timetable.due("nightly", on_busy="skip")
    await timetable.fire()
    await timetable.again("nightly")
    await timetable.fire()
    assert await timetable.ledger("nightly") == ["submitted", "skipped_busy"]
    await timetable.end_jobs()
    await timetable.again("nightly")
    await timetable.fire()
    assert (await timetable.ledger("nightly"))[-1] == "submitted"


async def test_busy_run_puts_the_next_one_beside_it(timetable: Any) -> None:
    await timetable.due("nightly", on_busy="run")
    await timetable.fire()
    await timetable.again("nightly")
    await timetable.fire()
    assert await timetable.ledger("nightly") == ["submitted", "submitted"]
    assert len(await timetable.live_jobs()) == 2


async def test_busy_cancel_puts_the_next_one_in_its_place(timetable: Any) -> None:
    await timetable.due("nightly", on_busy="cancel")
    await timetable.fire()
    (earlier,) = await timetable.live_jobs()
    await timetable.again("nightly")
    await timetable.fire()
    (later,) = await timetable.live_jobs()
    assert later != earlier
    (running,) = await timetable.jobs.claim(["trial.wait"], limit=1, lease_seconds=60)
    await timetable.again("nightly")
    await timetable.fire()
    asked_to_stop = "SELECT cancel_requested FROM jobs WHERE id = $1"
    assert await timetable.pool.fetchval(asked_to_stop, running.id)
    assert await timetable.ledger("nightly") == ["submitted"] * 3


@pytest.mark.parametrize(
    ("broken", "code", "goes_on"),
    [
        ({"job_type": "gone.away"}, "unknown_job_type", True),
        ({"parameters": {"seconds": "many"}}, "invalid_input: /parameters/seconds", True),
        ({"zone": "Mars/Olympus", "cron": "0 0 * * *", "every_seconds": None}, "unknown", False),
        ({"cron": "nonsense!", "every_seconds": None}, "not_cron", False),
        ({"cron": None, "every_seconds": None}, "invalid_schedule", False),
    ],
)
async def test_what_cannot_run_any_more_is_refused_and_holds_up_nobody(
    timetable: Any, broken: dict[str, Any], code: str, *, goes_on: bool
) -> None:
    await timetable.due("broken", late=30)
    await timetable.due("sound", late=1)
    await timetable.pool.execute(
        "UPDATE job_schedules SET schedule = schedule || $1::jsonb WHERE name = 'broken'",
        json.dumps(broken),
    )
    await timetable.fire()
    (row,) = await timetable.ledger_rows("broken")
    assert row["outcome"] == "refused"
    assert code in row["detail"]
    assert row["job_id"] is None
    assert await timetable.ledger("sound") == ["submitted"]
    planned = "SELECT next_fire_at IS NOT NULL FROM job_schedules WHERE name = 'broken'"
    assert await timetable.pool.fetchval(planned) is goes_on


async def test_a_fire_that_the_store_does_not_take_is_refused_alone(timetable: Any) -> None:
    jobs = timetable.jobs

    class Fragile:
        """Takes no batch with a job of the schedule `broken`."""

        async def accept_in(self, connection: Any, new: list[NewJob]) -> Any:
            if any(job.schedule == "broken" for job in new):
                await connection.execute("SELECT 1 / 0")
            return await jobs.accept_in(connection, new)

        async def cancel(self, job_id: Any, *, tenant: str) -> bool:
            return await jobs.cancel(job_id, tenant=tenant)

    await timetable.due("before", late=40)
    await timetable.due("broken", late=30)
    await timetable.due("after", late=20)
    await timetable.keeper(jobs=Fragile()).fire_due()
    assert await timetable.ledger("before") == ["submitted"]
    assert await timetable.ledger("broken") == ["refused"]
    assert await timetable.ledger("after") == ["submitted"]
    assert (await timetable.view("broken")).next_fire_at is not None


async def test_a_clock_that_was_set_back_fires_nothing_twice(timetable: Any) -> None:
    await timetable.due("nightly", on_busy="run")
    await timetable.fire()
    await timetable.pool.execute("UPDATE job_schedules SET next_fire_at = last_fire_at")
    await timetable.fire()
    assert await timetable.ledger("nightly") == ["submitted"]
    assert len(await timetable.live_jobs()) == 1
    view = await timetable.view("nightly")
    assert view.next_fire_at == view.last_fire_at + timedelta(hours=1)


async def test_a_schedule_ends(timetable: Any) -> None:
    now = await timetable.store.now()
    await timetable.due("last", ends_at=now + timedelta(minutes=1))
    await timetable.fire()
    assert await timetable.ledger("last") == ["submitted"]
    assert (await timetable.view("last")).next_fire_at is None


async def test_more_schedules_than_fit_one_transaction_all_fire(timetable: Any) -> None:
    for number in range(120):
        await timetable.due(f"number-{number}")
    await timetable.fire()
    assert len(await timetable.live_jobs()) == 120
