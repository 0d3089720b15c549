import json
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from lineshaft_gateway.keys import Scope

from .conftest import MakeWorld, World, pointers, problem

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "field",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer lsk_",
        "Bearer lsk_aaaaaaaaaaaa_wrong",
        "Bearer lsk_a_b_c",
        "Bearer " + "x" * 5000,
        "Basic dXNlcjpwYXNz",
        "bearer lsk_\N{LATIN SMALL LETTER E WITH ACUTE}_x",
    ],
)
async def test_a_request_without_a_valid_key_is_refused(world: World, field: str) -> None:
    response = await world.client.get("/api/jobs", headers={"Authorization": field})
    await problem(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


async def test_a_key_with_a_wrong_secret_is_refused(world: World) -> None:
    text = world.key()["Authorization"]
    response = await world.client.get("/api/jobs", headers={"Authorization": text[:-1] + "!"})
    await problem(response, 401, "unauthorized")


async def test_an_expired_or_revoked_key_is_refused(world: World) -> None:
    expired = world.key(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await problem(await world.client.get("/api/keys", headers=expired), 401, "unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/api/jobs", Scope.JOBS_WRITE),
        ("GET", "/api/jobs", Scope.JOBS_READ),
        ("GET", "/api/jobs/1", Scope.JOBS_READ),
        ("POST", "/api/jobs/1/cancel", Scope.JOBS_WRITE),
        ("GET", "/api/jobs/1/artifacts/a", Scope.JOBS_READ),
        ("GET", "/api/jobs-stats", Scope.JOBS_READ),
        ("GET", "/api/job-types", Scope.JOBS_READ),
        ("POST", "/api/events", Scope.EVENTS_WRITE),
        ("GET", "/api/events/stream", Scope.EVENTS_READ),
        ("GET", "/api/system/health", Scope.SYSTEM_READ),
        ("GET", "/api/system/traces/1", Scope.SYSTEM_READ),
        ("POST", "/api/system/cdn-purges", Scope.SYSTEM_WRITE),
        ("POST", "/api/keys", Scope.KEYS_WRITE),
        ("GET", "/api/keys", Scope.KEYS_WRITE),
        ("DELETE", "/api/keys/1", Scope.KEYS_WRITE),
    ],
)
async def test_each_operation_needs_its_scope(
    world: World, method: str, path: str, scope: Scope
) -> None:
    others = [one for one in Scope if one is not scope]
    response = await world.client.request(method, path, headers=world.key("acme", *others))
    body = await problem(response, 403, "missing_scope")
    assert scope in body["detail"]
    assert f'scope="{scope}"' in response.headers["WWW-Authenticate"]


async def test_a_key_is_looked_up_once_in_a_while(world: World) -> None:
    key = world.key()
    for _ in range(20):
        assert (await world.client.get("/api/keys", headers=key)).status == 200
    assert world.key_store.lookups == 1


async def test_known_keys_are_accepted_while_the_database_is_away(world: World) -> None:
    key = world.key("acme", Scope.SYSTEM_READ)
    assert (await world.client.get("/api/system/health", headers=key)).status == 200
    world.key_store.away = True
    assert (await world.client.get("/api/system/health", headers=key)).status == 200
    response = await world.client.get("/api/system/health", headers=world.key())
    await problem(response, 503, "login_unavailable")


async def test_who_asks_too_often_has_to_wait(make_world: MakeWorld) -> None:
    async with make_world(requests_per_second=0.5, requests_burst=3) as world:
        key = world.key()
        remaining: list[str] = []
        for _ in range(3):
            response = await world.client.get("/api/keys", headers=key)
            assert response.status == 200
            assert response.headers["RateLimit-Limit"] == "3"
            remaining.append(response.headers["RateLimit-Remaining"])
        refused = await world.client.get("/api/keys", headers=key)
        await problem(refused, 429, "too_many_requests")
        assert remaining == ["2", "1", "0"]
        assert 1 <= int(refused.headers["Retry-After"]) <= 2
        assert int(refused.headers["RateLimit-Reset"]) > 0
        other = await world.client.get("/api/keys", headers=world.key())
        assert other.status == 200


async def test_who_guesses_keys_has_to_wait(world: World) -> None:
    statuses = [
        (
            await world.client.get(
                "/api/jobs", headers={"Authorization": f"Bearer lsk_{n:012x}_secret"}
            )
        ).status
        for n in range(60)
    ]
    assert statuses[0] == 401
    assert statuses[-1] == 429
    assert world.key_store.lookups <= 55


async def test_who_guesses_keys_locks_out_no_known_key_of_the_same_address(world: World) -> None:
    known, unknown = world.key(), world.key()
    assert (await world.client.get("/api/keys", headers=known)).status == 200
    for n in range(60):
        guess = {"Authorization": f"Bearer lsk_{n:012x}_secret"}
        await world.client.get("/api/jobs", headers=guess)
    assert (await world.client.get("/api/keys", headers=known)).status == 200
    wrong = {"Authorization": known["Authorization"][:-1] + "!"}
    for refused in (wrong, unknown):
        response = await world.client.get("/api/keys", headers=refused)
        await problem(response, 429, "too_many_requests")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "invalid_json"),
        (b"", JSON, 400, "invalid_json"),
        (b"\xff", JSON, 400, "invalid_json"),
        (b'{"a": NaN}', JSON, 400, "invalid_json"),
        (b'"\\ud800"', JSON, 400, "invalid_json"),
        (b"[" * 5000 + b"]" * 5000, JSON, 400, "invalid_json"),
        (b'{"parameters":' + b"[" * 60 + b"]" * 60 + b"}", JSON, 422, "invalid_input"),
        (b"[]", JSON, 422, "invalid_input"),
        (b"null", JSON, 422, "invalid_input"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {}, 415, "unsupported_media_type"),
        (b" " * 1_100_000, JSON, 413, "body_too_large"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    world: World, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    response = await world.client.post(
        "/api/jobs", data=BytesIO(body), headers={**world.key(), **headers}
    )
    await problem(response, status, code)
    assert world.bus.published == []


async def test_a_body_without_a_length_is_held_to_the_limit_too(world: World) -> None:
    async def parts() -> Any:
        for _ in range(200):
            yield b" " * 10_000

    response = await world.client.post("/api/jobs", data=parts(), headers={**world.key(), **JSON})
    await problem(response, 413, "body_too_large")


async def test_deep_json_is_told_where(world: World) -> None:
    body = json.dumps({"type": "a.b", "parameters": {"a": json.loads("[" * 40 + "]" * 40)}})
    response = await world.client.post("/api/jobs", data=body, headers={**world.key(), **JSON})
    (pointer,) = pointers(await problem(response, 422, "invalid_input"))
    assert pointer.startswith("/parameters/a/0/0")


async def test_what_is_not_there_is_a_problem(world: World) -> None:
    await problem(await world.client.get("/api/nothing"), 404, "not_found")
    response = await world.client.put("/api/jobs")
    await problem(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(",")) >= {"GET", "POST"}


async def test_head_is_answered_like_get_without_a_body(world: World) -> None:
    response = await world.client.head("/api/keys", headers=world.key())
    assert (response.status, await response.read()) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0


async def test_every_answer_carries_the_security_fields(world: World) -> None:
    for path in ("/", "/docs", "/api/", "/api/jobs", "/nothing", "/healthz"):
        response = await world.client.get(path)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Server"] == "lineshaft"
        assert response.headers["X-Request-Id"]
