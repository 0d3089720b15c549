"""Dead letters on real servers: kept, shown, sent to their own queue, and never lost."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from lineshaft_common import messaging, postgres
from lineshaft_common.messaging import Bus, Delivery, Outgoing, PublishError, settling
from lineshaft_common.messaging.settling import ATTEMPTS_MAX, ROUNDS_MAX
from lineshaft_common.postgres import Pool
from lineshaft_contracts.dead_letters import (
    DeadLettersRedriven,
    GetDeadLetter,
    LetterFilter,
    ListDeadLetterAudit,
    ListDeadLetters,
    RedriveDeadLetters,
)
from lineshaft_contracts.envelope import Envelope, envelop
from lineshaft_contracts.problems import ProblemError
from lineshaft_contracts.topology import DEAD_LETTERS, MONITOR_PLANT, MONITOR_TELEMETRY, Queue
from lineshaft_event_router.dead_letters import DeadLetters
from lineshaft_event_router.store import DeadLetterBox

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 30.0


class Office:
    """Dead letters, their surroundings, and somebody who asks for them."""

    def __init__(self, bus: Bus, pool: Pool) -> None:
        self.bus = bus
        self.pool = pool
        self.box = DeadLetterBox(pool)
        self.desk = DeadLetters(self.box, bus)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with self.bus.subscribe_batch(DEAD_LETTERS, self.desk.take, raw=True):
            yield

    async def put_aside(self, *bodies: bytes, queue: Queue = MONITOR_PLANT, **tenant: str) -> None:
        """Send messages to a queue where somebody refuses each of them."""

        async def refuse(deliveries: Sequence[Delivery[Any]]) -> None:
            for delivery in deliveries:
                delivery.park("refused", "by a test")

        messages = [
            Outgoing(
                exchange="",
                routing_key=queue.name,
                type="plant.resource.heartbeat.v1",
                message_id=f"m-{body.decode()}",
                body=body,
                headers={"tenant": tenant.get("tenant", "acme")},
            )
            for body in bodies
        ]
        before = await self.box.total()
        async with self.bus.subscribe_batch(queue, refuse, raw=True):
            assert await self.bus.publish_many(messages) == [None] * len(bodies)
            await self.kept(before + len(bodies))

    async def kept(self, count: int) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self.box.total() != count:
                await asyncio.sleep(0.02)

    async def bodies(self, queue: Queue, count: int) -> list[bytes]:
        """Take so many messages out of a queue."""
        found, enough = list[bytes](), asyncio.Event()

        async def take(deliveries: Sequence[Delivery[Any]]) -> None:
            found.extend(delivery.body for delivery in deliveries)
            if len(found) >= count:
                enough.set()

        async with (
            asyncio.timeout(DEADLINE_SECONDS),
            self.bus.subscribe_batch(queue, take, raw=True),
        ):
            await enough.wait()
        return found

    async def redrive(self, tenant: str = "acme", **given: Any) -> DeadLettersRedriven:
        command = RedriveDeadLetters(actor="key-1", **given)
        return await self.desk.redrive(ask(command, tenant))


def ask(question: Any, tenant: str = "acme") -> Envelope[Any]:
    return envelop(question, source="/services/gateway", tenant=tenant)


@pytest.fixture
async def office(fresh_amqp_url: str, postgres_url: str) -> AsyncGenerator[Office]:
    packages = ("lineshaft_common", "lineshaft_event_router")
    async with (
        postgres.connect(postgres_url, *packages, name="test") as pool,
        messaging.connect(fresh_amqp_url, name="test") as bus,
    ):
        office = Office(bus, pool)
        async with office.open():
            yield office


async def test_a_letter_is_shown_with_its_reason_and_its_body(office: Office) -> None:
    await office.put_aside(b"1", b"2")
    page = await office.desk.list_page(ask(ListDeadLetters(limit=1)))
    (letter,) = page.letters
    assert (page.total, page.next_cursor) == (2, str(letter.id))
    assert (letter.queue, letter.reason, letter.detail) == (
        "monitor.plant",
        "refused",
        "by a test",
    )
    assert (letter.type, letter.tenant) == ("plant.resource.heartbeat.v1", "acme")
    found = await office.desk.get(ask(GetDeadLetter(id=letter.id)))
    assert (found.body, found.letter.message_id) == ("2", "m-2")
    assert found.headers["lineshaft-reason"] == "refused"
    rest = await office.desk.list_page(ask(ListDeadLetters(before=letter.id)))
    assert [one.message_id for one in rest.letters] == ["m-1"]
    assert rest.next_cursor is None


async def test_another_tenant_sees_and_sends_nothing(office: Office) -> None:
    await office.put_aside(b"1")
    (letter,) = (await office.desk.list_page(ask(ListDeadLetters()))).letters
    assert (await office.desk.list_page(ask(ListDeadLetters(), "umbrella"))).total == 0
    with pytest.raises(ProblemError):
        await office.desk.get(ask(GetDeadLetter(id=letter.id), "umbrella"))
    outcome = await office.redrive("umbrella", matching=LetterFilter(ids=(letter.id,)))
    assert (outcome.matched, outcome.redriven) == (0, 0)
    assert await office.box.total() == 1


async def test_letters_go_to_their_own_queue_and_nowhere_else(office: Office) -> None:
    await office.put_aside(b"1", b"2")
    await office.put_aside(b"3", queue=MONITOR_TELEMETRY)
    dry = await office.redrive(dry_run=True)
    assert (dry.matched, dry.redriven, dry.remaining) == (3, 0, 3)
    outcome = await office.redrive(matching=LetterFilter(queue="monitor.plant"))
    assert (outcome.matched, outcome.redriven, outcome.remaining) == (2, 2, 0)
    assert await office.bodies(MONITOR_PLANT, 2) == [b"1", b"2"]
    assert (await office.bus.depth(MONITOR_TELEMETRY))[0] == 0
    assert await office.box.total() == 1
    entries = (await office.desk.list_audit(ask(ListDeadLetterAudit()))).entries
    assert [(e.actor, e.dry_run, e.matched, e.redriven) for e in entries] == [
        ("key-1", False, 2, 2),
        ("key-1", True, 3, 0),
    ]
    assert entries[0].matching.queue == "monitor.plant"
    assert (await office.desk.list_audit(ask(ListDeadLetterAudit(), "umbrella"))).entries == ()


async def test_a_letter_that_fails_again_is_back_with_its_count(office: Office) -> None:
    await office.put_aside(b"1")

    async def refuse(deliveries: Sequence[Delivery[Any]]) -> None:
        for delivery in deliveries:
            delivery.park("refused", "again")

    async with office.bus.subscribe_batch(MONITOR_PLANT, refuse, raw=True):
        outcome = await office.redrive()
        assert outcome.redriven == 1
        await office.kept(1)
    (letter,) = (await office.desk.list_page(ask(ListDeadLetters()))).letters
    assert (letter.redrives, letter.detail, letter.message_id) == (1, "again", "m-1")


async def test_sending_keeps_to_its_rate_and_its_limit(office: Office) -> None:
    await office.put_aside(*(f"{number}".encode() for number in range(12)))
    loop = asyncio.get_running_loop()
    began = loop.time()
    outcome = await office.redrive(per_second=10, limit=5)
    assert (outcome.redriven, outcome.remaining) == (5, 7)
    assert loop.time() - began >= 0.45
    outcome = await office.redrive(per_second=1)
    assert outcome.redriven == 5  # What there is time for in one command.
    assert outcome.remaining == 2


async def test_what_was_not_confirmed_stays(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.put_aside(b"1", b"2")
    publish = office.bus.publish_many

    async def half(messages: Any, **given: Any) -> list[PublishError | None]:
        (outcome,) = await publish(messages[:1], **given)
        return [outcome, PublishError("no confirm came")]

    monkeypatch.setattr(office.bus, "publish_many", half)
    outcome = await office.redrive()
    assert (outcome.redriven, outcome.remaining) == (1, 1)
    assert [error.code for error in outcome.errors] == ["not_sent"]
    (left,) = (await office.desk.list_page(ask(ListDeadLetters()))).letters
    assert left.message_id == "m-2"


async def test_a_crash_between_confirm_and_commit_loses_nothing(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    await office.put_aside(b"1")
    publish = office.bus.publish_many

    async def crash(messages: Any, **given: Any) -> list[PublishError | None]:
        await publish(messages, **given)
        raise asyncio.CancelledError

    monkeypatch.setattr(office.bus, "publish_many", crash)
    with pytest.raises(asyncio.CancelledError):
        await office.redrive()
    monkeypatch.undo()
    assert await office.box.total() == 1
    assert (await office.redrive()).redriven == 1
    assert await office.bodies(MONITOR_PLANT, 2) == [b"1", b"1"]


async def test_a_queue_that_is_none_of_ours_gets_nothing(office: Office) -> None:
    await office.put_aside(b"1")
    await office.pool.execute("UPDATE dead_letters SET queue = 'somebody-elses'")
    outcome = await office.redrive()
    assert (outcome.redriven, outcome.remaining) == (0, 1)
    assert [error.code for error in outcome.errors] == ["unknown_queue"]


async def test_the_same_letter_twice_is_one(office: Office) -> None:
    delivery: Delivery[Any] = Delivery(
        envelope=envelop(ListDeadLetters(), source="/services/gateway", tenant="acme"),
        body=b"\xff\x00",
        headers={"lineshaft-queue": "monitor.plant\0", "n": b"\xff", "x-delivery-count": 1},
        routing_key="",
        redelivered=False,
    )
    await office.desk.take([delivery])
    delivery.headers = {**delivery.headers, "x-delivery-count": 2}
    await office.desk.take([delivery, delivery])
    (letter,) = (await office.desk.list_page(ask(ListDeadLetters()))).letters
    assert (letter.queue, letter.reason, letter.tenant) == ("monitor.plant", "unknown", "")


async def test_a_database_that_stays_slow_costs_no_letter(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, tries = office.box.keep, 0

    async def slow(letters: Any) -> None:
        nonlocal tries
        tries += 1
        if tries <= ROUNDS_MAX + ATTEMPTS_MAX:  # Longer than any other message is waited for.
            raise TimeoutError
        await keep(letters)

    monkeypatch.setattr(settling, "BACKOFF_SECONDS_MAX", 0.1)
    monkeypatch.setattr(office.box, "keep", slow)
    await office.put_aside(b"1")
    assert tries > ROUNDS_MAX + ATTEMPTS_MAX
