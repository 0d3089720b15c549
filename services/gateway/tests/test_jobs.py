from typing import Any
from uuid import UUID, uuid4

import pytest
from lineshaft_contracts.topology import JOB_RUNNER_CANCEL, JOB_RUNNER_SUBMIT
from lineshaft_gateway.keys import Scope

from .conftest import World, pointers, problem

PARAMETERS = {
    "source": "plant",
    "shift_start": "2026-11-24T05:00:00Z",
    "shift_end": "2026-11-24T13:00:00Z",
}
JOB = {"type": "report.generate", "parameters": PARAMETERS}


async def test_a_job_is_created_and_can_be_read_where_location_says(world: World) -> None:
    await world.run_jobs()
    key = world.key()
    response = await world.client.post(
        "/api/jobs", json={**JOB, "priority": "high", "attempts_max": 5}, headers=key
    )
    job = await response.json()
    assert response.status == 201
    assert UUID(job["id"]).version == 7
    assert (job["state"], job["tenant"], job["priority"]) == ("queued", "acme", "high")
    assert job["attempts_max"] == 5
    assert response.headers["Location"] == f"/api/jobs/{job['id']}"
    read = await world.client.get(response.headers["Location"], headers=key)
    assert (read.status, (await read.json())["id"]) == (200, job["id"])


async def test_a_repeat_with_the_same_key_is_answered_200_with_the_first_job(
    world: World,
) -> None:
    await world.run_jobs()
    key = {**world.key(), "Idempotency-Key": '"order-1"'}
    first = await world.client.post("/api/jobs", json=JOB, headers=key)
    again = await world.client.post("/api/jobs", json=JOB, headers=key)
    in_body = await world.client.post(
        "/api/jobs", json={**JOB, "idempotency_key": "order-1"}, headers=key
    )
    assert (first.status, again.status, in_body.status) == (201, 200, 200)
    ids = {(await one.json())["id"] for one in (first, again, in_body)}
    assert len(ids) == 1


async def test_while_the_runner_is_away_a_job_is_accepted_for_later(world: World) -> None:
    key = world.key()
    response = await world.client.post("/api/jobs", json=JOB, headers=key)
    body = await response.json()
    assert (response.status, body["state"]) == (202, "accepted")
    assert response.headers["Location"] == f"/api/jobs/{body['id']}"
    assert len(world.bus.waiting(JOB_RUNNER_SUBMIT)) == 1
    await world.run_jobs()
    read = await world.client.get(f"/api/jobs/{body['id']}", headers=key)
    assert read.status == 200


async def test_while_the_broker_is_away_nothing_is_accepted(world: World) -> None:
    world.bus.unavailable = True
    response = await world.client.post("/api/jobs", json=JOB, headers=world.key())
    await problem(response, 503, "broker_unavailable")
    assert int(response.headers["Retry-After"]) >= 1


async def test_while_the_runner_is_away_reads_say_so(world: World) -> None:
    key = world.key()
    for path in ("jobs", f"jobs/{uuid4()}", "jobs-stats", "job-types"):
        response = await world.client.get(f"/api/{path}", headers=key)
        await problem(response, 503, "service_unavailable")
        assert response.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({}, "/type", "missing"),
        ({"type": 5}, "/type", "string_type"),
        ({"type": "Nonsense!"}, "/type", "string_pattern_mismatch"),
        ({**JOB, "colour": "red"}, "/colour", "extra_forbidden"),
        ({**JOB, "priority": "extreme"}, "/priority", "enum"),
        ({**JOB, "attempts_max": 0}, "/attempts_max", "greater_than_equal"),
        ({**JOB, "attempts_max": "3"}, "/attempts_max", "int_type"),
        ({**JOB, "timeout_seconds": -1}, "/timeout_seconds", "greater_than"),
        ({**JOB, "run_at": "tomorrow"}, "/run_at", "datetime_parsing"),
        ({**JOB, "run_at": "2026-11-24T05:00:00"}, "/run_at", "timezone_aware"),
        ({**JOB, "idempotency_key": ""}, "/idempotency_key", "string_too_short"),
        ({**JOB, "idempotency_key": "a\0"}, "/idempotency_key", "nul_character"),
        ({**JOB, "idempotency_key": "a\x1f"}, "/idempotency_key", "string_pattern_mismatch"),
        ({**JOB, "unique_key": "a\x7f"}, "/unique_key", "string_pattern_mismatch"),
        ({**JOB, "order_key": "a\n"}, "/order_key", "string_pattern_mismatch"),
        ({**JOB, "limit_key": "\0"}, "/limit_key", "nul_character"),
        ({**JOB, "unique_seconds": 5}, "/unique_seconds", "incomplete"),
        ({**JOB, "after": ["a"]}, "/after/0", "uuid_parsing"),
        ({**JOB, "after": [str(uuid4())] * 101}, "/after", "too_long"),
        ({**JOB, "after_failure": "stop"}, "/after_failure", "enum"),
        ({**JOB, "parameters": []}, "/parameters", "dict_type"),
        ({**JOB, "parameters": {**PARAMETERS, "x": 1}}, "/parameters/x", "extra_forbidden"),
        ({**JOB, "parameters": {"source": "plant"}}, "/parameters/shift_start", "missing"),
        ({**JOB, "parameters": {"a~/b": "\0"}}, "/parameters/a~0~1b", "nul_character"),
    ],
)
async def test_bad_submissions_are_told_where_they_are_wrong(
    world: World, body: Any, pointer: str, code: str
) -> None:
    response = await world.client.post("/api/jobs", json=body, headers=world.key())
    told = await problem(response, 422, "invalid_input")
    assert (pointer, code) in {(error["pointer"], error["code"]) for error in told["errors"]}
    assert world.bus.published == []


async def test_an_idempotency_key_that_contradicts_the_body_is_refused(world: World) -> None:
    response = await world.client.post(
        "/api/jobs",
        json={**JOB, "idempotency_key": "a"},
        headers={**world.key(), "Idempotency-Key": "b"},
    )
    body = await problem(response, 422, "invalid_input")
    assert pointers(body) == ["/idempotency_key"]


@pytest.mark.parametrize("key", ["", "a" * 256, "a\tb"])
async def test_an_idempotency_key_in_the_header_is_held_to_the_same_rules(
    world: World, key: str
) -> None:
    headers = {**world.key(), "Idempotency-Key": key}
    response = await world.client.post("/api/jobs", json=JOB, headers=headers)
    body = await problem(response, 422, "invalid_input")
    assert pointers(body) == ["/header/Idempotency-Key"]


async def test_an_unknown_type_is_refused_with_the_list_of_known_ones(world: World) -> None:
    await world.run_jobs()
    response = await world.client.post("/api/jobs", json={"type": "no.such"}, headers=world.key())
    body = await problem(response, 422, "unknown_job_type")
    assert pointers(body) == ["/type"]
    assert "acme.custom" in body["detail"]
    assert "data.export" in body["detail"]


async def test_a_type_that_a_live_worker_serves_is_accepted(world: World) -> None:
    await world.run_jobs()
    key = world.key()
    for _ in range(3):
        response = await world.client.post(
            "/api/jobs", json={"type": "acme.custom", "parameters": {"any": 1}}, headers=key
        )
        assert response.status == 201
    assert world.runner.asked.count("lineshaft.jobs.list-types.v1") == 1


async def test_a_type_that_came_up_since_the_last_look_is_accepted(world: World) -> None:
    await world.run_jobs()
    key = world.key()
    assert (await world.client.get("/api/job-types", headers=key)).status == 200
    world.runner.types = ("report.generate", "acme.newer")
    response = await world.client.post("/api/jobs", json={"type": "acme.newer"}, headers=key)
    assert response.status == 201


async def test_an_unknown_type_cannot_be_judged_while_the_runner_is_away(world: World) -> None:
    response = await world.client.post(
        "/api/jobs", json={"type": "acme.custom"}, headers=world.key()
    )
    await problem(response, 503, "service_unavailable")


async def test_parameters_above_a_megabyte_are_refused(world: World) -> None:
    response = await world.client.post(
        "/api/jobs",
        json={"type": "acme.custom", "parameters": {"text": "x" * 1_010_000}},
        headers=world.key(),
    )
    assert pointers(await problem(response, 413, "parameters_too_large")) == ["/parameters"]


async def test_a_list_is_filtered_by_what_the_query_says(world: World) -> None:
    await world.run_jobs()
    key = world.key()
    await world.client.post("/api/jobs", json=JOB, headers=key)
    query = "state=queued&state=running&type=report.generate&limit=10"
    found = await world.client.get(f"/api/jobs?{query}", headers=key)
    assert len((await found.json())["jobs"]) == 1
    none = await world.client.get("/api/jobs?state=failed", headers=key)
    assert (await none.json())["jobs"] == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/query/limit"),
        ("state=done", "/query/state/0"),
        ("limit=many", "/query/limit"),
        ("limit=1&limit=2", "/query/limit"),
        ("submitted_after=yesterday", "/query/submitted_after"),
        ("type=Nonsense", "/query/type"),
        ("colour=red", "/query/colour"),
        ("order_key=a%0A", "/query/order_key"),
        ("idempotency_key=%00", "/query/idempotency_key"),
        ("parent_id=none", "/query/parent_id"),
    ],
)
async def test_bad_queries_are_told_which_parameter(
    world: World, query: str, pointer: str
) -> None:
    response = await world.client.get(f"/api/jobs?{query}", headers=world.key())
    assert pointers(await problem(response, 422, "invalid_input")) == [pointer]


async def test_a_cancellation_is_answered_or_kept_for_the_runner(world: World) -> None:
    key = world.key()
    later = await world.client.post(f"/api/jobs/{uuid4()}/cancel", headers=key)
    assert (later.status, (await later.json())["state"]) == (202, "cancel_requested")
    assert len(world.bus.waiting(JOB_RUNNER_CANCEL)) == 1
    await world.run_jobs()
    job = await (await world.client.post("/api/jobs", json=JOB, headers=key)).json()
    cancelled = await world.client.post(f"/api/jobs/{job['id']}/cancel", headers=key)
    assert (cancelled.status, (await cancelled.json())["id"]) == (200, job["id"])


async def test_what_is_no_id_is_no_job(world: World) -> None:
    key = world.key()
    for path in ("not-an-id", "..%2f..%2fetc"):
        response = await world.client.get(f"/api/jobs/{path}", headers=key)
        await problem(response, 404, "job_not_found")


async def test_nothing_of_another_tenant_is_there(world: World) -> None:
    await world.run_jobs()
    acme, other = world.key("acme"), world.key("globex")
    job = await (await world.client.post("/api/jobs", json=JOB, headers=acme)).json()
    world.keep_artifact("rows.csv", b"1")
    at = f"/api/jobs/{job['id']}"
    assert (await world.client.get(f"{at}/artifacts/rows.csv", headers=acme)).status == 200
    for method, path in (
        ("GET", at),
        ("POST", f"{at}/cancel"),
        ("GET", f"{at}/artifacts/rows.csv"),
    ):
        response = await world.client.request(method, path, headers=other)
        await problem(response, 404, "job_not_found")
    listed = await world.client.get("/api/jobs", headers=other)
    assert (await listed.json())["jobs"] == []
    counted = await world.client.get("/api/jobs-stats", headers=other)
    assert (await counted.json())["counts"] == {"queued": 0}


async def test_the_same_idempotency_key_of_two_tenants_makes_two_jobs(world: World) -> None:
    await world.run_jobs()
    made = [
        await world.client.post(
            "/api/jobs", json=JOB, headers={**world.key(tenant), "Idempotency-Key": "k"}
        )
        for tenant in ("acme", "globex")
    ]
    assert [one.status for one in made] == [201, 201]


async def test_a_read_that_did_not_change_is_answered_304(world: World) -> None:
    await world.run_jobs()
    key = world.key("acme", Scope.JOBS_READ)
    first = await world.client.get("/api/jobs", headers=key)
    again = await world.client.get(
        "/api/jobs", headers={**key, "If-None-Match": first.headers["ETag"]}
    )
    assert (again.status, await again.read()) == (304, b"")


@pytest.mark.parametrize("number", ["1e999", "-1E+400", "1" * 400 + ".5"])
async def test_a_number_that_would_become_infinite_is_refused_and_not_changed(
    world: World, number: str
) -> None:
    await world.run_jobs()
    response = await world.client.post(
        "/api/jobs",
        data='{"type": "acme.custom", "parameters": {"x": [1, ' + number + "]}}",
        headers={**world.key(), "Content-Type": "application/json"},
    )
    assert pointers(await problem(response, 422, "invalid_input")) == ["/parameters/x/1"]
