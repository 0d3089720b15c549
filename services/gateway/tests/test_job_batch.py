"""Many jobs in one call."""

import asyncio
from collections.abc import AsyncGenerator
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientResponse
from lineshaft_common.messaging.bus import OutcomeUnknownError
from lineshaft_common.messaging.outgoing import Outgoing
from lineshaft_contracts.jobs import SubmitJobs
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.registry import read
from lineshaft_contracts.topology import JOB_RUNNER_SUBMIT
from lineshaft_gateway.job_batch import VALUES_MAX
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.routes.job_batch import BATCHES_PER_TENANT_MAX
from pydantic_core import to_json

from .conftest import World, pointers, problem
from .test_jobs import JOB, PARAMETERS

CUSTOM = {"type": "acme.custom", "parameters": {"number": 1}}


async def send(world: World, jobs: Any, **headers: str) -> ClientResponse:
    key = world.key("acme", Scope.JOBS_WRITE, Scope.JOBS_READ)
    return await world.client.post(
        "/api/jobs/batch",
        data=BytesIO(to_json({"jobs": jobs})),
        headers={**key, "Content-Type": "application/json", **headers},
    )


def sent(world: World) -> list[SubmitJobs]:
    """Return the messages that the job-runner got, or will get."""
    bodies = [one.body for one in world.bus.published if one.type == SubmitJobs.type]
    return [read(SubmitJobs.type, body).data for body in bodies]


async def test_every_job_is_answered_in_its_place(world: World) -> None:
    await world.run_jobs()
    jobs = [
        {**JOB, "priority": "high"},
        {"type": "no.such"},
        {**JOB, "colour": "red"},
        {**CUSTOM, "idempotency_key": "one"},
        {**CUSTOM, "idempotency_key": "one"},
        {**JOB, "parameters": {**PARAMETERS, "colour": 5}},
        {**CUSTOM, "after": [str(uuid4())]},
        "no job",
    ]
    response = await send(world, jobs)
    body = await response.json()
    results = body["results"]
    assert response.status == 200
    assert [one["index"] for one in results] == list(range(len(jobs)))
    assert [one["outcome"] for one in results] == [
        "created",
        "refused",
        "refused",
        "created",
        "repeated",
        "refused",
        "refused",
        "refused",
    ]
    assert {name: body[name] for name in ("created", "repeated", "accepted", "refused")} == {
        "created": 2,
        "repeated": 1,
        "accepted": 0,
        "refused": 5,
    }
    assert results[4]["id"] == results[3]["id"]
    told = {one["index"]: one["problem"] for one in results if one["problem"]}
    assert {index: one["code"] for index, one in told.items()} == {
        1: "unknown_job_type",
        2: "invalid_input",
        5: "invalid_input",
        6: "invalid_input",
        7: "invalid_input",
    }
    assert {index: pointers(one) for index, one in told.items()} == {
        1: ["/jobs/1/type"],
        2: ["/jobs/2/colour"],
        5: ["/jobs/5/parameters/colour"],
        6: ["/jobs/6/after/0"],
        7: ["/jobs/7"],
    }
    first = await world.client.get(f"/api/jobs/{results[0]['id']}", headers=world.key())
    assert (await first.json())["priority"] == "high"


async def test_ten_thousand_jobs_travel_in_messages_of_a_hundred(world: World) -> None:
    world.runner.types = ("acme.custom",)
    await world.run_jobs()
    response = await send(world, [{**CUSTOM, "order_key": str(n % 7)} for n in range(10_000)])
    body = await response.json()
    assert (response.status, body["created"], body["refused"]) == (200, 10_000, 0)
    assert len({one["id"] for one in body["results"]}) == 10_000
    assert [len(one.jobs) for one in sent(world)] == [100] * 100
    assert world.runner.asked.count("lineshaft.jobs.list-types.v1") == 1


async def test_large_jobs_travel_in_messages_of_about_a_mebibyte(world: World) -> None:
    await world.run_jobs()
    text = "x" * 50_000
    response = await send(world, [{**CUSTOM, "parameters": {"text": text}} for _ in range(45)])
    assert (await response.json())["created"] == 45
    assert all(len(one.body) < 1_150_000 for one in world.bus.published)
    assert [len(one.jobs) for one in sent(world)] == [20, 20, 5]


async def test_while_the_runner_is_away_all_jobs_are_safe(world: World) -> None:
    response = await send(world, [{**JOB, "priority": "low"}] * 1_050 + [{"type": 5}])
    body = await response.json()
    assert (response.status, body["accepted"], body["refused"]) == (202, 1_050, 1)
    assert len(world.bus.waiting(JOB_RUNNER_SUBMIT)) == 11
    await world.run_jobs()
    assert set(world.runner.jobs) >= {job.job_id for one in sent(world) for job in one.jobs}
    assert len(world.runner.jobs) == 1_050


async def test_a_type_nobody_can_judge_now_does_not_hinder_the_others(world: World) -> None:
    response = await send(world, [JOB, CUSTOM, CUSTOM])
    body = await response.json()
    assert [one["outcome"] for one in body["results"]] == ["accepted", "refused", "refused"]
    assert body["results"][1]["problem"]["code"] == "service_unavailable"


async def test_while_the_broker_is_away_nothing_is_accepted(world: World) -> None:
    world.bus.unavailable = True
    await problem(await send(world, [JOB] * 3), 503, "broker_unavailable")


async def test_jobs_that_the_broker_did_not_confirm_are_told_apart(world: World) -> None:
    await world.run_jobs()
    deliver = world.bus.publish_many
    calls = 0

    async def publish_many(messages: Any, **given: Any) -> Any:
        nonlocal calls
        calls += any(isinstance(one, Outgoing) and one.type == SubmitJobs.type for one in messages)
        if calls == 2:
            calls += 1
            return [OutcomeUnknownError("no confirm")]
        return await deliver(messages, **given)

    world.bus.publish_many = publish_many  # type: ignore[method-assign]
    body = await (await send(world, [JOB] * 250)).json()
    assert (body["created"], body["refused"]) == (150, 100)
    codes = {one["problem"]["code"] for one in body["results"][100:200]}
    assert codes == {"broker_unavailable"}


async def test_a_refusal_of_a_whole_message_is_one_of_each_of_its_jobs(world: World) -> None:
    world.runner.refuses_batches = ProblemError(Problem(code="full", title="Full", status=503))
    await world.run_jobs()
    body = await (await send(world, [JOB] * 2)).json()
    assert [one["problem"]["code"] for one in body["results"]] == ["full", "full"]


async def test_one_key_for_the_call_makes_a_key_of_each_job(world: World) -> None:
    await world.run_jobs()
    jobs = [JOB, {**JOB, "idempotency_key": "own"}, JOB]
    first = await (await send(world, jobs, **{"Idempotency-Key": '"import-7"'})).json()
    again = await (await send(world, jobs, **{"Idempotency-Key": "import-7"})).json()
    assert [one["outcome"] for one in first["results"]] == ["created"] * 3
    assert [one["outcome"] for one in again["results"]] == ["repeated"] * 3
    keys = [job.idempotency_key for job in world.runner.jobs.values()]
    assert keys == ["import-7/0", "own", "import-7/2"]


@pytest.mark.parametrize("key", ["a" * 250, "a\tb", ""])
async def test_a_key_that_cannot_be_one_is_refused(world: World, key: str) -> None:
    response = await send(world, [JOB], **{"Idempotency-Key": key})
    body = await problem(response, 422, "invalid_input")
    assert pointers(body) == ["/header/Idempotency-Key"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ([], "/jobs"),
        ({}, "/jobs"),
        ({"jobs": []}, "/jobs"),
        ({"jobs": {}}, "/jobs"),
        ({"jobs": [JOB], "colour": "red"}, ""),
        ({"jobs": [1] * 10_001}, "/jobs"),
    ],
)
async def test_what_is_no_batch_is_refused(world: World, body: Any, pointer: str) -> None:
    response = await world.client.post("/api/jobs/batch", json=body, headers=world.key())
    assert pointers(await problem(response, 422, "invalid_input")) == [pointer]


async def test_bodies_are_bounded(world: World) -> None:
    headers = {**world.key(), "Content-Type": "application/json"}

    async def chunks() -> AsyncGenerator[bytes]:
        for _ in range(40):
            yield b" " * 1024 * 1024

    post = world.client.post
    large = await post("/api/jobs/batch", data=chunks(), headers=headers)
    await problem(large, 413, "body_too_large")
    text = BytesIO(b"[" * (VALUES_MAX + 1))
    brackets = await post("/api/jobs/batch", data=text, headers=headers)
    await problem(brackets, 413, "batch_too_large")
    other = await post("/api/jobs", data=chunks(), headers=headers)
    await problem(other, 413, "body_too_large")
    broken = await post("/api/jobs/batch", data=b"{", headers=headers)
    await problem(broken, 400, "invalid_json")
    form = await post("/api/jobs/batch", data={"jobs": "1"}, headers=world.key())
    await problem(form, 415, "unsupported_media_type")


async def test_nul_and_depth_are_refused_in_their_place(world: World) -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    jobs = [
        {**CUSTOM, "parameters": {"a": "\0"}},
        {**CUSTOM, "parameters": {"a": deep}},
        {**CUSTOM, "unique_key": "a\n"},
    ]
    body = await (await send(world, jobs)).json()
    told = [one["problem"]["errors"][0] for one in body["results"]]
    assert [one["code"] for one in told] == [
        "nul_character",
        "too_deep",
        "string_pattern_mismatch",
    ]
    assert told[0]["pointer"] == "/jobs/0/parameters/a"
    assert told[1]["pointer"].startswith("/jobs/1/parameters/a/0/0")
    assert told[2]["pointer"] == "/jobs/2/unique_key"


async def test_a_tenant_sends_two_batches_at_a_time(world: World) -> None:
    head = [
        "POST /api/jobs/batch HTTP/1.1",
        "Host: gateway",
        f"Authorization: {world.key()['Authorization']}",
        "Content-Type: application/json",
        "Content-Length: 13",
    ]
    under_way: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for _ in range(BATCHES_PER_TENANT_MAX):
        reader, writer = await asyncio.open_connection(world.client.host, world.client.port)
        writer.write("\r\n".join([*head, "", '{"jobs":']).encode())
        under_way.append((reader, writer))
    async with asyncio.timeout(30):
        while (third := await send(world, [JOB])).status != 429:
            await asyncio.sleep(0.01)
    assert (await third.json())["code"] == "too_many_batches"
    other = await world.client.post(
        "/api/jobs/batch", json={"jobs": [JOB]}, headers=world.key("globex")
    )
    assert other.status == 202
    for reader, writer in under_way:
        writer.write(b" [1]}")
        assert b" 200 " in await reader.readline()
        writer.close()


async def test_submitting_needs_the_scope(world: World) -> None:
    key = world.key("acme", Scope.JOBS_READ, Scope.JOBS_ADMIN)
    response = await world.client.post("/api/jobs/batch", json={"jobs": [JOB]}, headers=key)
    await problem(response, 403, "missing_scope")
