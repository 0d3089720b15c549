import json
from io import BytesIO
from typing import Any

import pytest
from lineshaft_common.messaging.bus import OutcomeUnknownError, PublishError
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.topology import INGRESS
from lineshaft_gateway.keys import Scope

from .conftest import MakeWorld, World, pointers, problem

BATCH = {"Content-Type": "application/cloudevents-batch+json"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


def event(**given: Any) -> dict[str, Any]:
    made = {
        "specversion": "1.0",
        "id": "event-1",
        "source": "/acme/hamburg/assembly/line-3/press-1",
        "type": "plant.resource.state-changed.v1",
        "time": "2026-11-25T00:00:00Z",
        "data": {"state": "running"},
        **given,
    }
    return {name: value for name, value in made.items() if value is not None}


async def send(world: World, body: Any, headers: dict[str, str] | None = None) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", **world.key(), **(headers or {})}
    return await world.client.post("/api/events", data=BytesIO(data), headers=fields)


@pytest.mark.parametrize("headers", [STRUCTURED, {}, {"Content-Type": "Application/JSON"}])
async def test_a_structured_event_is_accepted(world: World, headers: dict[str, str]) -> None:
    response = await send(world, event(priority="critical", severity=900), headers)
    assert response.status == 202
    assert await response.json() == {"accepted": 1, "ids": ["event-1"]}
    (message,) = world.bus.waiting(INGRESS["critical"])
    sent = json.loads(message.body)
    assert message.message_type == "plant.resource.state-changed.v1"
    assert message.headers["tenant"] == sent["tenant"] == "acme"
    assert (sent["data"], sent["severity"]) == ({"state": "running"}, 900)


async def test_a_binary_event_is_accepted_and_equals_the_structured_one(world: World) -> None:
    await send(world, event(subject="Prüfung 1", severity=5), STRUCTURED)
    binary = {
        "ce-specversion": "1.0",
        "ce-id": "event-1",
        "ce-source": "/acme/hamburg/assembly/line-3/press-1",
        "ce-type": '"plant.resource.state-changed.v1"',
        "ce-time": "2026-11-25T00:00:00Z",
        "CE-Subject": "Pr%C3%BCfung%201",
        "ce-severity": "5",
    }
    response = await send(world, {"state": "running"}, binary)
    assert response.status == 202
    structured, from_headers = (
        json.loads(one.body) for one in world.bus.waiting(INGRESS["normal"])
    )
    for one in (structured, from_headers):
        one.pop("traceparent", None)
    assert structured == from_headers


async def test_a_batch_is_accepted_as_a_whole(world: World) -> None:
    events = [event(id=f"e{n}", priority="low") for n in range(500)]
    response = await send(world, events, BATCH)
    assert response.status == 202
    assert (await response.json())["accepted"] == 500
    waiting = world.bus.waiting(INGRESS["low"])
    assert [json.loads(one.body)["id"] for one in waiting] == [one["id"] for one in events]


async def test_an_empty_batch_is_accepted(world: World) -> None:
    response = await send(world, [], BATCH)
    assert (response.status, await response.json()) == (202, {"accepted": 0, "ids": []})


async def test_a_batch_with_one_bad_event_is_refused_as_a_whole(world: World) -> None:
    events = [event(id=f"e{n}") for n in range(5)]
    events[3]["data"] = {"state": "dancing"}
    body = await problem(await send(world, events, BATCH), 422, "invalid_event")
    assert pointers(body) == ["/3/data/state"]
    assert world.bus.published == []


async def test_a_batch_above_the_limit_is_refused(world: World) -> None:
    events = [event(id=f"e{n}") for n in range(501)]
    await problem(await send(world, events, BATCH), 413, "batch_too_large")


@pytest.mark.parametrize(
    ("given", "code", "pointer"),
    [
        ({"type": "plant.resource.exploded.v1"}, "unknown_event_type", "/type"),
        ({"type": "lineshaft.jobs.succeeded.v1"}, "unknown_event_type", "/type"),
        ({"type": 5}, "invalid_event", "/type"),
        ({"id": None}, "invalid_event", "/id"),
        ({"id": ""}, "invalid_event", "/id"),
        ({"specversion": "0.3"}, "invalid_event", "/specversion"),
        ({"time": "yesterday"}, "invalid_event", "/time"),
        ({"time": "2099-01-01T00:00:00Z"}, "invalid_event", "/time"),
        ({"source": "acme"}, "invalid_event", "/source"),
        ({"source": "/globex/site"}, "invalid_event", "/source"),
        ({"priority": "extreme"}, "invalid_event", "/priority"),
        ({"data": {"state": "running", "colour": 1}}, "invalid_event", "/data/colour"),
        ({"data": {"state": "run\0ning"}}, "invalid_event", "/data/state"),
        ({"data": []}, "invalid_event", "/data"),
    ],
)
async def test_a_bad_event_is_told_where_it_is_wrong(
    world: World, given: dict[str, Any], code: str, pointer: str
) -> None:
    body = await problem(await send(world, event(**given), STRUCTURED), 422, code)
    assert pointer in pointers(body)
    batched = await send(world, [event(id="fine"), event(**given)], BATCH)
    assert f"/1{pointer}" in pointers(await problem(batched, 422, code))
    assert world.bus.published == []


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", STRUCTURED, 422, "invalid_event"),
        (b"", STRUCTURED, 422, "invalid_event"),
        (b"[]", STRUCTURED, 422, "invalid_event"),
        (b"{}", BATCH, 422, "invalid_event"),
        (b"\xff\xfe", STRUCTURED, 422, "invalid_event"),
        (b"[" * 100_000, BATCH, 422, "invalid_event"),
        (b'{"data":' + b"[" * 50 + b"]" * 50 + b"}", STRUCTURED, 422, "invalid_event"),
        (b"<a/>", {"Content-Type": "text/xml"}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Type": "text/xml", "ce-id": "1"}, 415, "unsupported_media_type"),
        (b"{", {"ce-id": "1"}, 400, "invalid_json"),
        (b"{}", {"ce-id": "%FF"}, 422, "invalid_event"),
        (b" " * 300_000, STRUCTURED, 413, "event_too_large"),
        (b" " * 2_000_000, STRUCTURED, 413, "body_too_large"),
    ],
)
async def test_what_is_no_event_is_refused(
    world: World, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    await problem(await send(world, body, headers), status, code)
    assert world.bus.published == []


async def test_an_event_of_another_tenant_is_refused(world: World) -> None:
    other = event(tenant="globex", source="/globex/site")
    body = await problem(await send(world, [event(), other], BATCH), 403, "wrong_tenant")
    assert pointers(body) == ["/1/tenant"]
    binary = {"ce-tenant": "globex", "ce-id": "1"}
    await problem(await send(world, {"state": "running"}, binary), 403, "wrong_tenant")
    assert world.bus.published == []


async def test_garbage_as_trace_context_is_not_passed_on(world: World) -> None:
    response = await send(
        world, event(traceparent="garbage"), {"traceparent": "zz-garbage", "tracestate": "=,="}
    )
    assert response.status == 202
    (message,) = world.bus.waiting(INGRESS["normal"])
    assert json.loads(message.body).get("traceparent") != "garbage"


async def test_while_the_broker_is_away_no_event_is_accepted(world: World) -> None:
    world.bus.unavailable = True
    response = await send(world, [event(id="a"), event(id="b")], BATCH)
    body = await problem(response, 503, "events_not_accepted")
    assert (body["safe_ids"], pointers(body)) == ([], ["/0", "/1"])
    assert response.headers["Retry-After"]


class HalfBus(MemoryBus):
    """Loses every second message, and the confirm of the last one."""

    async def publish_many(
        self, messages: Any, *, deadline_seconds: float = 5.0
    ) -> list[PublishError | None]:
        outcomes: list[PublishError | None] = [None] * len(messages)
        outcomes[1::2] = [PublishError("refused")] * len(outcomes[1::2])
        outcomes[-1] = OutcomeUnknownError("no confirm")
        return outcomes


async def test_a_partial_failure_says_which_events_are_safe(make_world: MakeWorld) -> None:
    async with make_world(bus=HalfBus()) as world:
        response = await send(world, [event(id=f"e{n}") for n in range(5)], BATCH)
        body = await problem(response, 503, "events_not_accepted")
    assert body["safe_ids"] == ["e0", "e2"]
    codes = [(one["pointer"], one["code"]) for one in body["errors"]]
    assert codes == [("/1", "not_accepted"), ("/3", "not_accepted"), ("/4", "outcome_unknown")]


async def test_events_need_their_own_scope(world: World) -> None:
    response = await send(world, event(), world.key("acme", Scope.EVENTS_READ))
    await problem(response, 403, "missing_scope")


async def test_extensions_that_nobody_knows_are_left_out(world: World) -> None:
    """CloudEvents lets publishers add attributes; a receiver may ignore them."""
    assert (await send(world, event(colour="red"), STRUCTURED)).status == 202
    (message,) = world.bus.waiting(INGRESS["normal"])
    assert "colour" not in json.loads(message.body)
