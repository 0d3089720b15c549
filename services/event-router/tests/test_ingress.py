"""What the ingress takes, and what it puts in quarantine with which reason."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from lineshaft_common import tracing
from lineshaft_common.messaging.codec import Received
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.topology import INGRESS, PLANT_QUARANTINE
from lineshaft_event_router.ingress import Ingress
from lineshaft_event_router.turnstile import QUANTA, Turnstile
from opentelemetry import trace
from prometheus_client import REGISTRY

from .plant_floor import SOURCE, MemoryInbox, MemoryQuarantine, event, sent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER_TRACE = "0af7651916cd43dd8448eb211c80319c"


class Door:
    """An ingress on a bus in memory."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.inbox = MemoryInbox()
        self.quarantine = MemoryQuarantine()
        self.turnstile = Turnstile()

    @property
    def quarantined(self) -> list[Received]:
        return self.bus.waiting(PLANT_QUARANTINE)

    def reason(self) -> tuple[str, str]:
        """Return the code and the detail of the only message in quarantine."""
        (message,) = self.quarantined
        return message.headers["lineshaft-reason"], message.headers["lineshaft-detail"]


@pytest.fixture
async def door() -> AsyncGenerator[Door]:
    made = Door()
    ingress = Ingress(made.inbox, made.quarantine, made.turnstile)
    async with AsyncExitStack() as stack:
        for lane, queue in INGRESS.items():
            take = partial(ingress.take, lane)
            await stack.enter_async_context(made.bus.subscribe_batch(queue, take, raw=True))
        yield made


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"lineshaft_events_{name}_total", labels) or 0


def nested(levels: int) -> Any:
    return {"deeper": nested(levels - 1)} if levels else 1


BAD: dict[str, tuple[Callable[[], Any], str, str]] = {
    "no-json": (lambda: b"{", "invalid_event", ": EOF"),
    "an-array": (lambda: b"[]", "invalid_event", ": an event is a JSON object"),
    "no-utf-8": (lambda: b'{"id": "\xff"}', "invalid_event", ": "),
    "empty": (lambda: b"", "invalid_event", ": "),
    "not-a-number": (lambda: b'{"data": NaN}', "invalid_event", ": "),
    "very-deep": (lambda: b"[" * 100_000, "invalid_event", ": recursion limit"),
    "no-id": (lambda: event(id=None), "invalid_event", "/id: Field required"),
    "no-data": (lambda: event(data=None), "invalid_event", "/data: Field required"),
    "no-time": (lambda: event(time=None), "invalid_event", "/time: Field required"),
    "time-is-a-number": (lambda: event(time=17), "invalid_event", "/time: "),
    "time-without-zone": (
        lambda: event(time="2026-03-02T06:15:00"),
        "invalid_event",
        "/time: ",
    ),
    "id-is-a-number": (lambda: event(id=17), "invalid_event", "/id: "),
    "other-specversion": (lambda: event(specversion="0.3"), "invalid_event", "/specversion: "),
    "other-tenant": (
        lambda: event(source="/umbrella/north"),
        "invalid_event",
        "/source: must begin with the event's tenant",
    ),
    "no-equipment": (lambda: event(source="press-1"), "invalid_event", "/source: "),
    "upper-case-equipment": (lambda: event(source="/acme/North"), "invalid_event", "/source: "),
    "in-the-future": (
        lambda: event(time=(datetime.now(UTC) + timedelta(minutes=6)).isoformat()),
        "invalid_event",
        "/time: is more than",
    ),
    "nul": (
        lambda: event(subject="a\0b"),
        "invalid_event",
        "/subject: NUL characters are not accepted",
    ),
    "nul-in-data": (
        lambda: event(data={"material_definition_id": "\0", "quantity": {}}),
        "invalid_event",
        "/data/material_definition_id: NUL",
    ),
    "deep-data": (lambda: event(data=nested(20)), "invalid_event", ": at most 16 levels"),
    "unknown-type": (
        lambda: event(type="plant.production.unit-produced.v99"),
        "unknown_event_type",
        "/type: ",
    ),
    "type-of-the-platform": (
        lambda: event(type="lineshaft.jobs.queued.v1"),
        "unknown_event_type",
        "/type: no such event is accepted from outside",
    ),
    "too-large": (lambda: event(subject="x" * 300_000), "event_too_large", "at most 262144"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_event_goes_to_quarantine_with_code_and_pointer(door: Door, name: str) -> None:
    make, code, detail = BAD[name]
    before = counted("refused", code=code)
    message = sent(make())
    await door.bus.publish_many([message])
    reason, found = door.reason()
    assert reason == code
    assert detail in found
    assert door.quarantined[0].body == message.body
    assert counted("refused", code=code) == before + 1
    assert [refusal.problem.code for refusal in door.quarantine.refusals] == [code]
    assert not door.inbox.accepted


async def test_a_misspelt_field_of_the_data_is_named(door: Door) -> None:
    body = event()
    body["data"]["materal"] = "x"
    await door.bus.publish_many([sent(body)])
    assert "/data/materal: Extra inputs are not permitted" in door.reason()[1]


async def test_a_cloudevents_extension_that_we_do_not_know_is_no_fault(door: Door) -> None:
    await door.bus.publish_many([sent(event(comexampleextension="x"))])
    (accepted,) = door.inbox.accepted
    assert b"comexample" not in accepted.to_json()


async def test_a_message_in_quarantine_says_where_it_came_from(door: Door) -> None:
    message = sent(b"{", lane="high", headers={"plant": "north", "CC": "jobs.commands"})
    await door.bus.publish_many([message])
    (quarantined,) = door.quarantined
    assert quarantined.headers["lineshaft-queue"] == "event-router.ingress.high"
    assert quarantined.headers["lineshaft-exchange"] == "plant.ingress"
    assert quarantined.headers["lineshaft-routing-key"] == "high"
    assert "CC" not in quarantined.headers
    assert datetime.fromisoformat(quarantined.headers["lineshaft-time"]).tzinfo is not None


async def test_the_good_ones_of_a_batch_go_on_in_their_order() -> None:
    door = Door()
    ingress = Ingress(door.inbox, door.quarantine, door.turnstile)
    good = [event(id=str(number)) for number in range(20)]
    mixed = [body for one in good for body in (one, b"no event")]
    await door.bus.publish_many([sent(body) for body in mixed])
    async with door.bus.subscribe_batch(
        INGRESS["normal"], partial(ingress.take, "normal"), raw=True
    ):
        pass
    assert [envelope.id for envelope in door.inbox.accepted] == [str(n) for n in range(20)]
    assert door.inbox.batches == [20]
    assert len(door.quarantined) == 20


async def test_every_event_is_counted_once(door: Door) -> None:
    labels = {"type": event()["type"], "lane": "low"}
    accepted, repeated = counted("accepted", **labels), counted("repeated")
    one, two = event(), event()
    await door.bus.publish_many([sent(body, lane="low") for body in (one, two, one, one)])
    assert counted("accepted", **labels) == accepted + 2
    assert counted("repeated") == repeated + 2


async def test_equal_ids_of_two_sources_are_two_events(door: Door) -> None:
    bodies = [
        event(id="1"),
        event(id="1", source="/acme/south"),
        event(id="1", source="/umbrella/north", tenant="umbrella"),
        event(id="1"),
    ]
    await door.bus.publish_many([sent(body) for body in bodies])
    assert len(door.inbox.accepted) == 3


async def test_an_event_is_heard_now_and_happened_when_it_says(door: Door) -> None:
    happened = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    claimed = event(time=happened.isoformat(), recordedtime="2020-01-01T00:00:00Z")
    await door.bus.publish_many([sent(claimed)])
    (envelope,) = door.inbox.accepted
    assert envelope.time == happened
    assert envelope.recordedtime is not None
    assert datetime.now(UTC) - envelope.recordedtime < timedelta(seconds=5)


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": 17},
        {"traceparent": b"\xff\xfe"},
        {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01".encode()},
        {"traceparent": None, "tracestate": 4},
        {"traceparent": ["a"], "x": {"y": [1, {"z": b"\0"}]}},
        {"x-delivery-count": "many"},
        {"CC": ["jobs.commands", 3], "BCC": "x"},
        {"when": datetime(2026, 1, 1, tzinfo=UTC), "ratio": 1.5, "yes": True, "none": None},
    ],
)
@pytest.mark.parametrize("body", [event(), b"no event"])
async def test_headers_of_any_type_harm_nobody(
    door: Door, headers: dict[str, Any], body: Any
) -> None:
    await door.bus.publish_many([sent(body, headers=headers), sent(event())])
    quarantined = 1 if body == b"no event" else 0
    assert (len(door.inbox.accepted), len(door.quarantined)) == (2 - quarantined, quarantined)


def header(trace_id: str) -> str:
    return f"00-{trace_id}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("headers", "attributes", "expected"),
    [
        ({"traceparent": header(TRACE)}, {}, (TRACE, None)),
        ({"traceparent": header(TRACE).encode()}, {}, (TRACE, None)),
        ({}, {"traceparent": header(TRACE), "tracestate": "a=1"}, (TRACE, "a=1")),
        (
            {"traceparent": header(TRACE)},
            {"traceparent": header(OTHER_TRACE), "tracestate": "a=1"},
            (TRACE, None),
        ),
        (
            {"traceparent": header(TRACE), "tracestate": "b=2"},
            {"traceparent": header(OTHER_TRACE), "tracestate": "a=1"},
            (TRACE, "b=2"),
        ),
        ({"traceparent": 5}, {"traceparent": header(OTHER_TRACE)}, (OTHER_TRACE, None)),
        ({}, {"traceparent": "no trace at all"}, (None, None)),
        ({}, {}, (None, None)),
    ],
)
async def test_an_event_goes_on_in_the_trace_of_its_sender(
    door: Door,
    headers: dict[str, Any],
    attributes: dict[str, Any],
    expected: tuple[str | None, str | None],
) -> None:
    await door.bus.publish_many([sent(event(**attributes), headers=headers)])
    (envelope,) = door.inbox.accepted
    context = trace.get_current_span(tracing.extract(envelope.traceparent)).get_span_context()
    found = f"{context.trace_id:032x}" if context.is_valid else None
    assert (found, envelope.tracestate) == expected


async def test_a_store_that_is_away_for_a_moment_loses_nothing(door: Door) -> None:
    before = counted("refused", code="invalid_event")
    door.inbox.fails = [ConnectionRefusedError("database is away"), TimeoutError()]
    await door.bus.publish_many([sent(event()), sent(b"no event")])
    assert len(door.inbox.accepted) == 1
    assert counted("refused", code="invalid_event") == before + 1


async def test_an_event_that_the_store_cannot_take_is_set_aside_alone() -> None:
    door = Door()
    ingress = Ingress(door.inbox, door.quarantine, door.turnstile)
    door.inbox.poisonous.add("2")
    await door.bus.publish_many([sent(event(id=id_)) for id_ in ("1", "2", "3")])
    async with door.bus.subscribe_batch(
        INGRESS["normal"], partial(ingress.take, "normal"), raw=True
    ):
        pass
    assert door.reason() == ("handler_failed", "ValueError")
    assert [envelope.id for envelope in door.inbox.accepted] == ["1", "3"]


async def test_a_large_batch_is_taken_in_turns_while_others_have_work() -> None:
    door = Door()
    ingress = Ingress(door.inbox, door.quarantine, door.turnstile)
    await door.bus.publish_many([sent(event(), lane="critical"), sent(event(), lane="critical")])
    await door.bus.publish_many([sent(event(), lane="low") for _ in range(150)])
    for lane in ("critical", "low"):
        take = partial(ingress.take, lane)
        async with door.bus.subscribe_batch(INGRESS[lane], take, raw=True):
            pass
    assert door.inbox.batches == [2, QUANTA["low"], 150 - QUANTA["low"]]


async def test_source_is_what_the_plant_said(door: Door) -> None:
    await door.bus.publish_many([sent(event())])
    (envelope,) = door.inbox.accepted
    assert envelope.source == SOURCE
    assert envelope.key == "acme.north.stamping.line-1.press-1.unit-produced.normal"
