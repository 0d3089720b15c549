"""The whole way on real servers: ingress, inbox, outbox, domain exchange, log."""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import pytest
from lineshaft_common import messaging, postgres, tracing
from lineshaft_common.messaging import LogRecord, Outgoing, RabbitBus
from lineshaft_common.messaging.settling import DELIVERIES_MAX
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import envelop, uuid7
from lineshaft_contracts.job_events import JobQueued
from lineshaft_contracts.topology import EVENTS_LOG, LANES, PLANT_QUARANTINE
from lineshaft_event_router.__main__ import route
from lineshaft_event_router.settings import Settings
from lineshaft_event_router.store import Inbox
from opentelemetry import trace
from prometheus_client import REGISTRY
from pydantic_core import from_json

from .plant_floor import SOURCE, event, sent

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 60.0
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Shop:
    """A router's surroundings."""

    def __init__(self, bus: RabbitBus, pool: Pool, settings: Settings) -> None:
        self.bus = bus
        self.pool = pool
        self.settings = settings

    @asynccontextmanager
    async def router(self, **changes: Any) -> AsyncGenerator[None]:
        """Run a router in the block, with a connection of its own that ends with it."""
        settings = self.settings.model_copy(update=changes)
        async with (
            messaging.connect(str(settings.amqp_url), name="router") as bus,
            route(settings, self.pool, bus),
        ):
            yield

    async def send(self, *messages: Outgoing) -> None:
        assert await self.bus.publish_many(messages) == [None] * len(messages)

    async def send_as_an_outsider(self, *messages: Outgoing) -> None:
        """Send with a client that is not ours, which writes any header that AMQP allows."""
        async with await aio_pika.connect(str(self.settings.amqp_url)) as connection:
            channel = await connection.channel()
            for message in messages:
                exchange = await channel.get_exchange(message.exchange, ensure=False)
                await exchange.publish(
                    aio_pika.Message(
                        message.body,
                        headers=dict(message.headers),
                        type=message.type,
                        message_id=message.message_id,
                        delivery_mode=2,
                    ),
                    message.routing_key,
                )

    async def logged(self, count: int) -> list[LogRecord]:
        """Wait for so many records of the log, the oldest first."""
        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            self.bus.read_log(EVENTS_LOG, "first") as records,
        ):
            return [await anext(records) for _ in range(count)]

    async def decided(self, before: dict[str, float], count: int) -> dict[str, float]:
        """Wait until so many events were decided on and have left; how many went which way."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                added = {name: total - before[name] for name, total in counted().items()}
                if sum(added.values()) >= count and not await self._outbox():
                    return added
                await asyncio.sleep(0.05)

    async def _outbox(self) -> int:
        return await self.pool.fetchval("SELECT coalesce(sum(messages), 0) FROM outbox_batches")


@pytest.fixture
async def shop(fresh_amqp_url: str, postgres_url: str) -> AsyncGenerator[Shop]:
    settings = Settings.model_validate(
        {"amqp_url": fresh_amqp_url, "postgres_url": postgres_url, "instance": "one"}
    )
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            postgres.connect(
                postgres_url, "lineshaft_common", "lineshaft_event_router", name="test"
            )
        )
        bus = await stack.enter_async_context(messaging.connect(fresh_amqp_url, name="test"))
        yield Shop(bus, pool, settings)


def ids(records: Sequence[LogRecord]) -> list[str]:
    return [from_json(record.body)["id"] for record in records]


def counted() -> dict[str, float]:
    """Return how many events were accepted, repeated and refused in this process so far."""
    totals: dict[str, float] = {"accepted": 0.0, "repeated": 0.0, "refused": 0.0}
    for metric in REGISTRY.collect():
        for sample in metric.samples:
            for name in totals:
                if sample.name == f"lineshaft_events_{name}_total":
                    totals[name] += sample.value
    return totals


async def test_an_event_comes_out_in_the_log_in_one_trace(shop: Shop) -> None:
    body = event(priority="high")
    async with shop.router():
        await shop.send(sent(body, lane="high", headers={"traceparent": TRACEPARENT}))
        (record,) = await shop.logged(1)
    logged = from_json(record.body)
    assert {**logged, **body, "time": 0} | {"data": 0} == {**logged, "time": 0} | {"data": 0}
    assert logged["data"]["quantity"]["good"] == body["data"]["quantity"]["good"]
    assert record.routing_key == "acme.north.stamping.line-1.press-1.unit-produced.high"
    assert (record.type, record.tenant) == (body["type"], "acme")
    carried = trace.get_current_span(record.context).get_span_context()
    assert f"{carried.trace_id:032x}" == TRACEPARENT.split("-")[1]
    in_body = tracing.parse(logged["traceparent"])
    assert in_body is not None
    assert in_body.trace_id == carried.trace_id


async def test_events_that_waited_for_the_router_are_not_lost(shop: Shop) -> None:
    bodies = [event() for _ in range(3)]
    await shop.send(*(sent(body) for body in bodies))
    async with shop.router():
        assert ids(await shop.logged(3)) == [body["id"] for body in bodies]


async def test_a_repeated_event_comes_out_once_within_a_batch_and_across_batches(
    shop: Shop,
) -> None:
    one, two, last = event(), event(), event()
    before = counted()
    await shop.send(*(sent(body) for body in (one, one, two, one)))
    async with shop.router():
        await shop.logged(2)
        await shop.send(sent(one), sent(two, lane="low"))
        await shop.decided(before, 6)
    async with shop.router():  # A restarted router knows them too.
        await shop.send(sent(one), sent(last))
        added = await shop.decided(before, 8)
        logged = ids(await shop.logged(3))
    assert logged == [one["id"], two["id"], last["id"]]
    assert added == {"accepted": 3, "repeated": 5, "refused": 0}


async def test_equal_ids_of_two_tenants_both_come_out(shop: Shop) -> None:
    here = event(id="1")
    there = event(id="1", tenant="umbrella", source="/umbrella/north")
    async with shop.router():
        await shop.send(sent(here), sent(there))
        records = await shop.logged(2)
    assert {record.tenant for record in records} == {"acme", "umbrella"}


async def test_each_source_keeps_its_order(shop: Shop) -> None:
    sources = [f"/acme/north/a/b/press-{number}" for number in range(5)]
    bodies = [event(source=sources[n % 5], sequence=f"{n:06}") for n in range(2000)]
    async with shop.router(batch_max=97):
        await shop.send(*(sent(body) for body in bodies))
        records = await shop.logged(len(bodies))
    seen = defaultdict[str, list[str]](list)
    for record in records:
        logged = from_json(record.body)
        seen[logged["source"]].append(logged["sequence"])
    assert all(sequences == sorted(sequences) for sequences in seen.values())
    assert Counter(ids(records)) == Counter(body["id"] for body in bodies)


async def test_a_critical_event_overtakes_a_backlog(shop: Shop) -> None:
    backlog = [event(priority="low") for _ in range(5000)]
    urgent = event(priority="critical")
    await shop.send(*(sent(body, lane="low") for body in backlog))
    await shop.send(sent(urgent, lane="critical"))
    async with shop.router():
        place = ids(await shop.logged(2000)).index(urgent["id"])
    assert place <= 1000  # At most the batch inside and the batch that waits in the outbox.


async def test_events_of_the_platform_reach_the_log(shop: Shop) -> None:
    queued = JobQueued(job_id=uuid7(), job_type="report.generate", attempt=1)
    job = envelop(queued, source="/services/job-runner", tenant="acme")
    async with shop.router():
        await shop.bus.publish(job)
        (record,) = await shop.logged(1)
    assert record.routing_key == "acme.report.generate.queued"
    assert from_json(record.body)["id"] == job.id


async def test_what_is_out_of_the_window_is_forgotten_and_the_rest_is_kept(shop: Shop) -> None:
    inbox = Inbox(shop.pool, on_accepted=lambda: None)
    await shop.pool.execute(
        """
        INSERT INTO inbox (tenant, source, id, accepted_at)
        SELECT 'acme', '/acme', n::text, now() - CASE WHEN n <= 7 THEN interval '4 days'
                                                      ELSE interval '2 days' END
        FROM generate_series(1, 10) AS n
        """
    )
    window = timedelta(days=3)
    assert [await inbox.forget(older_than=window) for _ in range(2)] == [7, 0]
    assert await shop.pool.fetchval("SELECT count(*) FROM inbox") == 3


class Chaos:
    """Random messages, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._sent: list[dict[str, Any]] = []

    def value(self, depth: int = 0) -> Any:
        """Return any JSON value."""
        kind = self.random.randrange(9 if depth < 4 else 7)
        if kind == 7:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        if kind == 8:
            return {self.text(): self.value(depth + 1) for _ in range(self.random.randrange(4))}
        plain = [None, True, self.random.randrange(-(2**70), 2**70), -0.5, 1e300, self.text(), ""]
        return plain[kind]

    def text(self) -> str:
        letters = 'aZ09/._-*# \0\n"\\é\u2028\U0001f40d'
        return "".join(self.random.choices(letters, k=self.random.randrange(12)))

    def header(self, depth: int = 0) -> Any:
        """Return a value of any type that an AMQP header may have."""
        plain: list[Any] = [
            None,
            True,
            self.random.randrange(-(2**31), 2**31),
            self.random.randrange(2**32, 2**62),
            1.5,
            self.text(),
            bytearray(self.random.randbytes(self.random.randrange(2000))),
            datetime.fromtimestamp(self.random.randrange(2**32), UTC),
        ]
        if depth < 2 and self.random.random() < 0.3:
            return self.random.choice([[self.header(2)], {"a": self.header(depth + 1)}])
        return self.random.choice(plain)

    def headers(self) -> dict[str, Any]:
        names = ["traceparent", "tracestate", "tenant", "CC", "BCC", "x-delivery-count", "é", "x"]
        names += ["lineshaft-reason", "x-death", "x-match"]
        chosen = self.random.sample(names, self.random.randrange(4))
        # The broker itself refuses CC and BCC that are no lists of texts.
        lists = {"CC": ["nobody"], "BCC": ["nobody"]}
        return {name: lists.get(name) or self.header() for name in chosen}

    def body(self) -> dict[str, Any] | bytes:
        kind = self.random.randrange(6)
        if kind == 0:
            return self.random.randbytes(self.random.randrange(200))
        made = event(sequence=str(self.random.random()))
        if kind == 1:
            made[self.random.choice(list(made))] = self.value()
        elif kind == 2:
            made["data"][self.random.choice([*made["data"], "other"])] = self.value()
        elif kind == 3 and self._sent:
            return self.random.choice(self._sent)
        elif kind == 4:
            made.pop(self.random.choice(list(made)))
        self._sent.append(made)
        return made

    def message(self) -> Outgoing:
        lane, headers = self.random.choice(LANES), self.headers()
        return sent(self.body(), lane=lane, headers=headers, type_=self.text())


def pretends_deliveries(message: Outgoing) -> bool:
    count: Any = message.headers.get("x-delivery-count")
    return isinstance(count, int) and count > DELIVERIES_MAX


@pytest.mark.parametrize("seed", [1, 2, 1020890193, None])
async def test_whatever_is_sent_is_accepted_or_repeated_or_in_quarantine(
    shop: Shop, seed: int | None
) -> None:
    seed = random.randrange(2**32) if seed is None else seed
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails.
    chaos, before = Chaos(seed), counted()
    messages = [*(chaos.message() for _ in range(600)), sent(event(id="after"))]
    async with shop.router():
        await shop.send_as_an_outsider(*messages)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                added = {name: total - before[name] for name, total in counted().items()}
                quarantined, _ = await shop.bus.depth(PLANT_QUARANTINE)
                total = added["accepted"] + added["repeated"] + quarantined
                if total >= len(messages):
                    break
                await asyncio.sleep(0.05)
        assert total == len(messages)
        # A sender may lie about how often a message was delivered: that is no event of ours.
        assert quarantined - added["refused"] == sum(pretends_deliveries(m) for m in messages)
        records = await shop.logged(int(added["accepted"]))
    assert added["accepted"] > 100
    assert added["repeated"] > 20
    assert added["refused"] > 100
    logged = [from_json(record.body) for record in records]
    keys = Counter((one["tenant"], one["source"], one["id"]) for one in logged)
    assert max(keys.values()) == 1
    assert "after" in ids(records)
    assert all(one["source"] == SOURCE for one in logged)


async def test_an_id_that_amqp_cannot_carry_is_refused_and_stops_nothing(shop: Shop) -> None:
    before = counted()
    bodies = [event(id=letter * 128) for letter in "aé工\U0001f40d"]
    async with shop.router():
        await shop.send(*(sent(body) for body in bodies), sent(event(id="last")))
        assert await shop.decided(before, 5) == {"accepted": 2, "repeated": 0, "refused": 3}
        records = await shop.logged(2)
    assert ids(records) == ["a" * 128, "last"]
