"""Explanations, runs again, limits, schedules and the audit."""

from typing import Any
from uuid import uuid4

import pytest
from lineshaft_gateway.keys import Scope

from .conftest import World, pointers, problem
from .test_jobs import JOB, PARAMETERS

LIMIT = {"limit_key": "press-1", "running_max": 1}
SCHEDULE = {
    "job_type": "report.generate",
    "parameters": PARAMETERS,
    "cron": "30 22 * * 1-5",
    "zone": "Europe/Berlin",
}


@pytest.fixture(autouse=True)
async def runner(world: World) -> None:
    await world.run_jobs()


async def ask(world: World, method: str, path: str, key: dict[str, str], body: Any = None) -> Any:
    return await world.client.request(method, f"/api/{path}", json=body, headers=key)


async def test_a_job_is_explained(world: World) -> None:
    id_ = uuid4()
    response = await ask(world, "GET", f"jobs/{id_}/explain", world.key("acme", Scope.JOBS_READ))
    body = await response.json()
    assert (response.status, body["job_id"], body["state"]) == (200, str(id_), "queued")
    assert body["reasons"] == [
        {"code": "paused", "message": "paused", "details": {"limit": "press-1"}}
    ]
    none = await ask(world, "GET", "jobs/none/explain", world.key())
    await problem(none, 404, "job_not_found")


async def test_a_job_that_cannot_be_retried_says_why(world: World) -> None:
    response = await ask(world, "POST", f"jobs/{uuid4()}/retry", world.key())
    await problem(response, 409, "job_not_retryable")


async def test_a_redrive_is_told_and_audited_under_the_key(world: World) -> None:
    key = world.key()
    prefix = key["Authorization"].split("_")[1]
    redrive = {"states": ["failed"], "error_code": "timeout", "jobs_max": 10, "dry_run": True}
    counted = await ask(world, "POST", "jobs/redrive", key, redrive)
    assert (counted.status, (await counted.json())["redriven"]) == (200, 0)
    done = await (await ask(world, "POST", "jobs/redrive", key, {})).json()
    assert (done["matched"], done["redriven"]) == (3, 3)
    assert [one.error_code for _, one in world.runner.steering.redrives] == ["timeout", None]
    audit = await (await ask(world, "GET", "jobs-audit?limit=1", key)).json()
    assert [one["id"] for one in audit["entries"]] == [done["id"]]
    assert audit["entries"][0]["actor"] == prefix
    other = await (await ask(world, "GET", "jobs-audit", world.key("globex"))).json()
    assert other["entries"] == []


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("jobs/redrive", {"states": ["running"]}, ""),
        ("jobs/redrive", {"states": []}, "/states"),
        ("jobs/redrive", {"jobs_max": 10_001}, "/jobs_max"),
        ("jobs/redrive", {"type": "report.generate"}, "/type"),
        ("job-schedules/preview", {**SCHEDULE, "every_seconds": 5}, ""),
        ("job-schedules/preview", {**SCHEDULE, "on_gap": "jump"}, "/on_gap"),
        ("job-schedules/preview?limit=101", SCHEDULE, "/query/limit"),
    ],
)
async def test_bad_orders_are_told_where_they_are_wrong(
    world: World, path: str, body: Any, pointer: str
) -> None:
    response = await ask(world, "POST", path, world.key(), body)
    assert pointers(await problem(response, 422, "invalid_input")) == [pointer]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("job-limits/press-1", {}, ""),
        ("job-limits/press-1", {"starts_max": 5}, ""),
        ("job-limits/press-1", {**LIMIT, "limit_key": "a\0"}, "/limit_key"),
        ("job-limits/press-1", {**LIMIT, "limit_key": "a\t"}, "/limit_key"),
        ("job-limits/press-1", {**LIMIT, "colour": "red"}, "/colour"),
        ("job-limits/Press", LIMIT, "/path/name"),
        ("job-schedules/s", {**SCHEDULE, "parameters": {}}, "/parameters/source"),
        ("job-schedules/s", {**SCHEDULE, "job_type": "no.such"}, "/job_type"),
        ("job-schedules/s", {**SCHEDULE, "cron": None}, ""),
        ("job-schedules/S", SCHEDULE, "/path/name"),
    ],
)
async def test_bad_limits_and_schedules_are_told_where_they_are_wrong(
    world: World, path: str, body: Any, pointer: str
) -> None:
    response = await ask(world, "PUT", path, world.key(), body)
    told = await response.json(content_type="application/problem+json")
    assert (response.status, pointer in pointers(told)) == (422, True)


async def test_a_limit_is_set_read_listed_and_removed(world: World) -> None:
    key = world.key("acme", Scope.JOBS_READ, Scope.JOBS_ADMIN)
    put = await ask(world, "PUT", "job-limits/press-1", key, LIMIT)
    limit = await put.json()
    assert (put.status, limit["name"], limit["every_tenant"]) == (200, "press-1", False)
    assert (limit["limit"]["running_max"], limit["running"]) == (1, 2)
    assert await (await ask(world, "GET", "job-limits/press-1", key)).json() == limit
    assert (await (await ask(world, "GET", "job-limits", key)).json())["limits"] == [limit]
    other = world.key("globex")
    assert (await (await ask(world, "GET", "job-limits", other)).json())["limits"] == []
    await problem(
        await ask(world, "DELETE", "job-limits/press-1", other), 404, "job_limit_not_found"
    )
    assert (await ask(world, "DELETE", "job-limits/press-1", key)).status == 204
    gone = await ask(world, "GET", "job-limits/press-1", key)
    await problem(gone, 404, "job_limit_not_found")


async def test_limits_for_every_tenant_are_the_platforms(world: World) -> None:
    pause = {"job_type": "data.export", "paused": True}
    tenants_own = world.key("acme", Scope.JOBS_READ, Scope.JOBS_ADMIN)
    for method in ("PUT", "DELETE"):
        path = "job-limits/exports?every_tenant=true"
        body = pause if method == "PUT" else None
        refused = await ask(world, method, path, tenants_own, body)
        await problem(refused, 403, "missing_scope")
    put = await ask(world, "PUT", "job-limits/exports?every_tenant=true", world.key(), pause)
    assert ((await put.json())["every_tenant"], put.status) == (True, 200)
    listed = await (await ask(world, "GET", "job-limits", tenants_own)).json()
    assert [(one["name"], one["running"]) for one in listed["limits"]] == [("exports", None)]
    counted = await ask(world, "GET", "job-limits/exports?every_tenant=true", world.key())
    assert (await counted.json())["running"] == 2
    own = await ask(world, "GET", "job-limits/exports", world.key())
    await problem(own, 404, "job_limit_not_found")


async def test_a_schedule_is_set_read_listed_and_removed(world: World) -> None:
    key = world.key("acme", Scope.JOBS_READ, Scope.JOBS_WRITE)
    put = await ask(world, "PUT", "job-schedules/preview", key, SCHEDULE)
    schedule = await put.json()
    assert (put.status, schedule["name"]) == (200, "preview")
    assert schedule["schedule"]["zone"] == "Europe/Berlin"
    assert await (await ask(world, "GET", "job-schedules/preview", key)).json() == schedule
    listed = await (await ask(world, "GET", "job-schedules", key)).json()
    assert listed["schedules"] == [schedule]
    fires = await (await ask(world, "GET", "job-schedules/preview/fires?limit=5", key)).json()
    assert [one["outcome"] for one in fires["past"]] == ["submitted"]
    other = world.key("globex")
    for method, path in (
        ("GET", "job-schedules/preview"),
        ("GET", "job-schedules/preview/fires"),
        ("DELETE", "job-schedules/preview"),
        ("GET", "job-schedules/No%20Name"),
    ):
        missing = await ask(world, method, path, other)
        await problem(missing, 404, "job_schedule_not_found")
    assert (await ask(world, "DELETE", "job-schedules/preview", key)).status == 204
    assert (await (await ask(world, "GET", "job-schedules", key)).json())["schedules"] == []


async def test_a_preview_makes_nothing(world: World) -> None:
    key = world.key("acme", Scope.JOBS_READ)
    response = await ask(world, "POST", "job-schedules/preview?limit=3", key, SCHEDULE)
    assert len((await response.json())["coming"]) == 3
    assert world.runner.steering.schedules == {}


async def test_who_submits_jobs_may_not_hold_up_those_of_others(world: World) -> None:
    key = world.key("acme", Scope.JOBS_READ, Scope.JOBS_WRITE)
    for method, path, body in (
        ("POST", "jobs/redrive", {}),
        ("GET", "jobs-audit", None),
        ("PUT", "job-limits/press-1", LIMIT),
        ("DELETE", "job-limits/press-1", None),
    ):
        await problem(await ask(world, method, path, key, body), 403, "missing_scope")


async def test_a_submission_says_how_it_stands_to_others(world: World) -> None:
    first = await (await ask(world, "POST", "jobs", world.key(), JOB)).json()
    body = {
        **JOB,
        "unique_key": "shift-early",
        "unique_seconds": 60,
        "order_key": "line-1",
        "limit_key": "press-1",
        "deadline_at": "2026-12-01T00:00:00+01:00",
        "after": [first["id"]],
        "after_failure": "run",
    }
    response = await ask(world, "POST", "jobs", world.key(), body)
    job = await response.json()
    assert response.status == 201
    assert (job["unique_key"], job["order_key"]) == ("shift-early", "line-1")
    assert (job["limit_key"], job["after"]) == ("press-1", [first["id"]])
    assert job["deadline_at"] == "2026-11-30T23:00:00Z"
    for query, found in (
        ("order_key=line-1&state=queued&state=waiting", [job["id"]]),
        ("order_key=line-2", []),
        (f"parent_id={uuid4()}", []),
        ("idempotency_key=none", []),
    ):
        listed = await (await ask(world, "GET", f"jobs?{query}", world.key())).json()
        assert [one["id"] for one in listed["jobs"]] == found, query
