"""What every service's HTTP side does with errors, health, metrics and traces."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from lineshaft_common import http
from lineshaft_common.health import Health
from lineshaft_common.messaging import NoReplyError, OutcomeUnknownError, UnavailableError
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from pydantic import BaseModel

BODY_BYTES_MAX = 1000


class Body(BaseModel):
    size: int


FAILURES: dict[str, Exception] = {
    "problem": ProblemError(
        Problem(
            code="no_such_lot",
            title="No such lot",
            status=404,
            errors=(FieldProblem(pointer="/lot", code="unknown", message="not there"),),
        )
    ),
    "away": NoReplyError("no reply"),
    "broker": UnavailableError("away"),
    "unknown": OutcomeUnknownError("lost"),
    "bug": RuntimeError("the password is 12345"),
}


class Dependency:
    """Something that a service needs."""

    error: Exception | None = None

    async def check(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def dependency() -> Dependency:
    return Dependency()


@pytest.fixture
async def client(dependency: Dependency) -> AsyncGenerator[aiohttp.ClientSession]:
    async def fail(request: web.Request) -> web.Response:
        raise FAILURES[request.match_info["what"]]

    async def take(request: web.Request) -> web.Response:
        return web.json_response({"size": Body.model_validate_json(await request.read()).size})

    app = http.create_app(Health({"database": dependency.check}), body_bytes_max=BODY_BYTES_MAX)
    app.router.add_get("/fail/{what}", fail)
    app.router.add_post("/take", take)
    async with (
        http.serve(app, host="127.0.0.1", port=0) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


async def answer(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = await response.json(content_type=None)
    assert body["status"] == response.status
    assert body["type"] == f"urn:lineshaft:problem:{body['code']}"
    return body


@pytest.mark.parametrize(
    ("what", "status", "code", "retry_after"),
    [
        ("problem", 404, "no_such_lot", None),
        ("away", 503, "service_unavailable", "1"),
        ("broker", 503, "broker_unavailable", "2"),
        ("unknown", 503, "broker_unavailable", "2"),
        ("bug", 500, "internal", None),
    ],
)
async def test_an_error_is_answered_as_a_problem_that_says_what_to_do(
    client: aiohttp.ClientSession, what: str, status: int, code: str, retry_after: str | None
) -> None:
    async with client.get(f"/fail/{what}") as response:
        body = await answer(response)
    assert (response.status, body["code"]) == (status, code)
    assert response.headers.get("Retry-After") == retry_after
    assert "12345" not in json.dumps(body)


async def test_a_field_that_is_wrong_is_pointed_at(client: aiohttp.ClientSession) -> None:
    async with client.post("/take", data=b'{"size": "x"}') as response:
        body = await answer(response)
    assert response.status == 422
    assert [error["pointer"] for error in body["errors"]] == ["/size"]


async def test_a_body_that_is_too_large_is_refused(client: aiohttp.ClientSession) -> None:
    async with client.post("/take", data=b"x" * (BODY_BYTES_MAX + 1)) as response:
        body = await answer(response)
    assert (response.status, body["code"]) == (413, "request_entity_too_large")


async def test_what_is_not_there_and_what_is_not_allowed(client: aiohttp.ClientSession) -> None:
    async with client.get("/nowhere") as response:
        assert (await answer(response))["code"] == "not_found"
    async with client.get("/take") as response:
        assert (await answer(response))["code"] == "method_not_allowed"
        assert response.headers["Allow"] == "POST"


async def test_liveness_does_not_depend_on_others_and_readiness_does(
    client: aiohttp.ClientSession, dependency: Dependency
) -> None:
    async with client.get("/readyz") as response:
        assert response.status == 200
    dependency.error = ConnectionError("refused")
    async with client.get("/readyz") as response:
        body = await response.json(content_type=None)
    async with client.get("/healthz") as live:
        assert live.status == 200
    assert (response.status, body["status"]) == (503, "fail")
    assert body["checks"]["database"][0]["output"] == "ConnectionError: refused"


async def test_metrics_come_as_text_and_as_openmetrics(client: aiohttp.ClientSession) -> None:
    async with client.get("/nowhere"), client.get("/metrics") as response:
        text = await response.text()
    assert "http_server_request_duration_seconds_bucket" in text
    headers = {"Accept": "application/openmetrics-text; version=1.0.0"}
    async with client.get("/metrics", headers=headers) as response:
        text = await response.text()
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("traceparent", ["17", "00-zz", "é", "00-" + "0" * 55])
async def test_a_broken_traceparent_breaks_nothing(
    client: aiohttp.ClientSession, traceparent: str
) -> None:
    headers = {"traceparent": traceparent}
    async with client.post("/take", data=b'{"size": 1}', headers=headers) as response:
        assert response.status == 200


async def test_a_connection_that_sends_no_whole_request_is_closed() -> None:
    app = http.create_app(Health())
    async with http.serve(app, host="127.0.0.1", port=0, first_request_seconds=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
        patient_reader, patient = await asyncio.open_connection("127.0.0.1", port)
        patient.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await patient_reader.readline()).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.4)  # Longer than a first request may take.
        patient.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            while b"HTTP/1.1 200" not in await patient_reader.readline():
                pass
        patient.close()


async def test_an_error_in_the_middle_of_an_answer_does_not_start_a_second_one() -> None:
    async def begin(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise RuntimeError("in the middle")

    app = http.create_app(Health())
    app.router.add_get("/half", begin)
    async with http.serve(app, host="127.0.0.1", port=0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /half HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
    assert answer.count(b"HTTP/1.1") == 1
    assert b"problem" not in answer
