"""Setting, deleting, listing and previewing schedules, on a real PostgreSQL."""

import json
from datetime import timedelta
from typing import Any

import pytest
from lineshaft_contracts.envelope import envelop
from lineshaft_contracts.job_schedules import (
    DeleteJobSchedule,
    JobFires,
    JobSchedule,
    ListJobFires,
    ListJobSchedules,
    PreviewJobSchedule,
)
from lineshaft_contracts.problems import Problem, ProblemError

pytestmark = pytest.mark.integration


def asked(message: Any, tenant: str = "acme") -> Any:
    return envelop(message, source="/services/test", tenant=tenant)


async def problem_of(awaitable: Any) -> Problem:
    with pytest.raises(ProblemError) as raised:
        await awaitable
    return raised.value.problem


def delete(name: str) -> Any:
    return asked(DeleteJobSchedule(name=name, actor="lsk_test"))


async def names(timetable: Any, tenant: str = "acme") -> list[str]:
    answer = await timetable.desk.list(asked(ListJobSchedules(), tenant))
    return [view.name for view in answer.schedules]


async def audit(timetable: Any) -> list[tuple[str, str, str]]:
    rows = await timetable.pool.fetch("SELECT * FROM job_audit ORDER BY id")
    return [(row["actor"], row["action"], json.loads(row["details"])["name"]) for row in rows]


async def test_a_schedule_is_set_replaced_and_deleted_with_a_record_of_each(
    timetable: Any,
) -> None:
    first = await timetable.set("nightly", cron="30 2 * * *", zone="Europe/Berlin")
    assert first.next_fire_at is not None
    assert (first.last_fire_at, first.last_job_id) == (None, None)
    assert await timetable.set("nightly", cron="30 2 * * *", zone="Europe/Berlin") == first
    second = await timetable.set("nightly", cron="30 3 * * *", zone="Europe/Berlin")
    assert second.schedule.cron == "30 3 * * *"
    assert await names(timetable) == ["nightly"]
    assert (await timetable.desk.delete(delete("nightly"))).name == "nightly"
    assert await names(timetable) == []
    problem = await problem_of(timetable.desk.delete(delete("nightly")))
    assert (problem.code, problem.status) == ("job_schedule_not_found", 404)
    assert await audit(timetable) == [
        ("lsk_test", "set_schedule", "nightly"),
        ("lsk_test", "set_schedule", "nightly"),
        ("lsk_test", "delete_schedule", "nightly"),
    ]


async def test_tenants_do_not_see_each_others_schedules(timetable: Any) -> None:
    await timetable.set("b")
    await timetable.set("a")
    await timetable.set("a", tenant="rival")
    assert await names(timetable) == ["a", "b"]
    assert await names(timetable, "rival") == ["a"]
    await timetable.desk.delete(delete("a"))
    assert await names(timetable, "rival") == ["a"]
    one = await timetable.desk.list(asked(ListJobSchedules(name="b"), "rival"))
    assert one.schedules == ()
    problem = await problem_of(timetable.desk.list_fires(asked(ListJobFires(name="b"), "rival")))
    assert problem.code == "job_schedule_not_found"


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"cron": "0 0 31 2 *"}, "invalid_input", "/cron"),
        ({"cron": "0 0 */20 * 1L"}, "invalid_input", "/cron"),
        ({"cron": "0 0 * * *", "zone": "Mars/Olympus"}, "invalid_input", "/zone"),
        ({"parameters": {"seconds": "many"}}, "invalid_input", "/parameters/seconds"),
        ({"parameters": {"act": "succeed", "typo": 1}}, "invalid_input", "/parameters/typo"),
        ({"job_type": "no.such"}, "unknown_job_type", "/job_type"),
        ({"note": "\x00"}, "invalid_input", None),
        ({"parameters": {"act": "x" * 9_000}}, "invalid_input", None),
    ],
)
async def test_what_could_never_run_is_refused_when_it_is_set(
    timetable: Any, fields: dict[str, Any], code: str, pointer: str | None
) -> None:
    problem = await problem_of(timetable.set("wrong", **fields))
    assert (problem.code, problem.status) == (code, 422)
    assert [error.pointer for error in problem.errors] == ([pointer] if pointer else [])
    assert await names(timetable) == []
    clock = {} if "cron" in fields else {"every_seconds": 60}
    schedule = JobSchedule.model_validate({"job_type": "trial.wait", **clock, **fields})
    preview = timetable.desk.preview(asked(PreviewJobSchedule(schedule=schedule)))
    assert (await problem_of(preview)).code == code


async def test_a_tenant_has_a_thousand_schedules_at_most(timetable: Any) -> None:
    await timetable.set("one")
    await timetable.pool.execute(
        """
        INSERT INTO job_schedules (tenant, name, schedule)
        SELECT 'acme', 'more-' || n, schedule FROM job_schedules, generate_series(1, 999) AS n
        """
    )
    problem = await problem_of(timetable.set("too-many"))
    assert (problem.code, problem.status) == ("too_many_schedules", 409)
    await timetable.set("one", every_seconds=60)
    await timetable.set("one", tenant="rival")
    assert len(await names(timetable)) == 1_000


async def test_a_paused_schedule_rests_and_misses_nothing(timetable: Any) -> None:
    now = await timetable.store.now()
    start = now - timedelta(minutes=90)
    running = await timetable.set("hourly", starts_at=start)
    assert running.next_fire_at == start + timedelta(hours=2)
    paused = await timetable.set("hourly", starts_at=start, paused=True)
    assert paused.next_fire_at is None
    await timetable.fire()
    assert (await timetable.desk.list_fires(asked(ListJobFires(name="hourly")))).coming == ()
    again = await timetable.set("hourly", starts_at=start)
    assert again.next_fire_at == running.next_fire_at
    await timetable.fire()
    assert await timetable.ledger("hourly") == []


async def test_a_schedule_that_is_replaced_while_due_keeps_the_fire_that_both_have(
    timetable: Any,
) -> None:
    await timetable.due("nightly")
    view = await timetable.view("nightly")
    fields = view.schedule.model_dump(exclude={"parameters"})
    replaced = await timetable.set("nightly", **fields, parameters={"seconds": 5})
    assert replaced.next_fire_at == view.next_fire_at
    await timetable.fire()
    assert await timetable.ledger("nightly") == ["submitted"]
    text = await timetable.pool.fetchval("SELECT parameters FROM jobs")
    assert json.loads(text)["seconds"] == 5


async def test_a_schedule_that_is_given_another_clock_while_due_follows_that_one(
    timetable: Any,
) -> None:
    await timetable.due("nightly")
    replaced = await timetable.set("nightly", every_seconds=7200)
    assert replaced.next_fire_at > await timetable.store.now()
    await timetable.fire()
    assert await timetable.ledger("nightly") == []


async def test_past_and_coming_fires_are_told(timetable: Any) -> None:
    await timetable.due("hourly", fires=3, late=600)
    await timetable.fire()
    fires: JobFires = await timetable.desk.list_fires(asked(ListJobFires(name="hourly", limit=2)))
    assert [fire.outcome for fire in fires.past] == ["submitted", "skipped_missed"]
    assert fires.past[0].fire_at - fires.past[1].fire_at == timedelta(hours=1)
    assert (fires.past[0].job_id is None, fires.past[1].job_id) == (False, None)
    assert len(fires.coming) == 10
    assert fires.coming[0] == fires.past[0].fire_at + timedelta(hours=1)


async def test_a_preview_tells_the_fires_and_sets_nothing(timetable: Any) -> None:
    schedule = JobSchedule(
        job_type="trial.wait", cron="30 2 * * *", zone="Europe/Berlin", paused=True
    )
    answer = await timetable.desk.preview(asked(PreviewJobSchedule(schedule=schedule, limit=100)))
    assert (answer.past, len(answer.coming)) == ((), 100)
    assert answer.coming[0] > await timetable.store.now()
    assert await names(timetable) == []
    assert await audit(timetable) == []


async def test_a_deleted_schedule_loses_its_ledger_and_keeps_its_jobs(timetable: Any) -> None:
    await timetable.due("nightly")
    await timetable.fire()
    await timetable.desk.delete(delete("nightly"))
    await timetable.due("nightly")
    fires = await timetable.desk.list_fires(asked(ListJobFires(name="nightly")))
    assert fires.past == ()
    assert await sweep(timetable) == (0, 1)
    assert len(await timetable.live_jobs()) == 1
    await timetable.fire()
    assert await timetable.ledger("nightly") == ["submitted"]


async def test_the_ledger_is_kept_for_ninety_days(timetable: Any) -> None:
    await timetable.due("hourly", fires=4, late=600)
    await timetable.fire()
    aged = "UPDATE job_fires SET decided_at = now() - interval '91 days' WHERE outcome = $1"
    await timetable.pool.execute(aged, "skipped_missed")
    assert await sweep(timetable) == (1, 1)


async def sweep(timetable: Any) -> tuple[int, int]:
    """Tidy up; the rows that are left in the ledger, and the schedules."""
    fires = timetable.keeper()._fires
    while await fires.sweep():
        pass
    return await timetable.pool.fetchrow(
        "SELECT (SELECT count(*) FROM job_fires), (SELECT count(*) FROM job_schedules)"
    )
