"""Migrations and the outbox, against a real PostgreSQL."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from lineshaft_common import outbox, postgres
from lineshaft_common.messaging import (
    Delivery,
    OutcomeUnknownError,
    PublishError,
    UnsendableError,
)
from lineshaft_common.outbox import OutboxRelay
from lineshaft_common.postgres import Connection, MigrationChangedError, Pool
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.envelope import Envelope, envelop, uuid7
from lineshaft_contracts.job_events import JobQueued
from lineshaft_contracts.topology import EVENT_ROUTER_PLATFORM

pytestmark = pytest.mark.integration


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with migrations, as services are."""
    migrations = tmp_path / "trial_service" / "migrations"
    migrations.mkdir(parents=True)
    (migrations.parent / "__init__.py").touch()
    (migrations / "0001_things.sql").write_text("CREATE TABLE things (id int);")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "trial_service", raising=False)
    return migrations


async def test_replicas_that_start_together_migrate_once(postgres_url: str, package: Path) -> None:
    async def start() -> None:
        async with postgres.connect(postgres_url, "trial_service", name="test") as pool:
            await pool.execute("INSERT INTO things VALUES (1)")

    await asyncio.gather(*(start() for _ in range(4)))
    async with postgres.connect(postgres_url, "trial_service", name="test") as pool:
        assert await pool.fetchval("SELECT count(*) FROM things") == 4


async def test_a_new_migration_is_added_and_a_changed_one_is_refused(
    postgres_url: str, package: Path
) -> None:
    async with postgres.connect(postgres_url, "trial_service", name="test"):
        pass
    (package / "0002_more.sql").write_text("ALTER TABLE things ADD name text;")
    async with postgres.connect(postgres_url, "trial_service", name="test") as pool:
        assert await pool.fetchval("SELECT count(name) FROM things") == 0
    (package / "0001_things.sql").write_text("CREATE TABLE things (id bigint);")
    with pytest.raises(MigrationChangedError, match="0001_things"):
        async with postgres.connect(postgres_url, "trial_service", name="test"):
            pass


async def test_a_migration_that_fails_leaves_nothing_behind(
    postgres_url: str, package: Path
) -> None:
    (package / "0002_bad.sql").write_text("CREATE TABLE other (id int); SELECT 1/0;")
    for _ in range(2):
        with pytest.raises(Exception, match="division by zero"):
            async with postgres.connect(postgres_url, "trial_service", name="test"):
                pass
    (package / "0002_bad.sql").write_text("CREATE TABLE other (id int);")
    async with postgres.connect(postgres_url, "trial_service", name="test") as pool:
        assert await pool.fetchval("SELECT count(*) FROM other") == 0


@pytest.fixture
async def pool(postgres_url: str) -> AsyncGenerator[Pool]:
    async with postgres.connect(postgres_url, "lineshaft_common", name="test") as pool:
        yield pool


def queued(number: int) -> Envelope[JobQueued]:
    data = JobQueued(job_id=uuid7(), job_type="trial.wait", attempt=number)
    return envelop(data, source="/services/test", tenant="acme")


async def relayed(bus: MemoryBus, count: int) -> list[int]:
    numbers: list[int] = []
    enough = asyncio.Event()

    async def take(deliveries: Sequence[Delivery[Any]]) -> None:
        numbers.extend(d.data.attempt for d in deliveries)
        if len(numbers) >= count:
            enough.set()

    async with bus.subscribe_batch(EVENT_ROUTER_PLATFORM, take):
        async with asyncio.timeout(30):
            await enough.wait()
    return numbers


async def test_what_was_committed_is_relayed_in_order_and_then_gone(pool: Pool) -> None:
    bus = MemoryBus()
    async with OutboxRelay(pool, bus) as relay:
        for start in (0, 700):
            async with pool.acquire() as connection, connection.transaction():
                await outbox.add(connection, [queued(n) for n in range(start, start + 700)])
            relay.wake()
        assert await relayed(bus, 1400) == list(range(1400))
    assert await pool.fetchval("SELECT count(*) FROM outbox_batches") == 0


async def test_what_was_rolled_back_is_never_sent(pool: Pool) -> None:
    bus = MemoryBus()
    async with pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await outbox.add(connection, [queued(1)])
        await transaction.rollback()
    async with OutboxRelay(pool, bus) as relay:
        relay.wake()
        async with pool.acquire() as connection:
            await outbox.add(connection, [queued(2)])
        relay.wake()
        assert await relayed(bus, 1) == [2]


class Unsure(MemoryBus):
    """A broker that stops confirming in the middle of a batch, a few times."""

    failures = 3

    async def publish_many(
        self, messages: Sequence[Any], *, deadline_seconds: float = 5.0
    ) -> list[PublishError | None]:
        outcomes = await super().publish_many(messages, deadline_seconds=deadline_seconds)
        if self.failures and len(outcomes) > 1:
            self.failures -= 1
            half = len(outcomes) // 2
            outcomes[half:] = [OutcomeUnknownError("lost")] * (len(outcomes) - half)
        return outcomes


async def test_without_a_confirm_messages_are_sent_again_in_order_under_the_same_id(
    pool: Pool,
) -> None:
    bus = Unsure()
    async with pool.acquire() as connection:
        stored = [queued(n) for n in range(40)]
        await outbox.add(connection, stored)
    async with OutboxRelay(pool, bus):
        async with asyncio.timeout(30):
            while await pool.fetchval("SELECT count(*) FROM outbox_batches"):
                await asyncio.sleep(0.05)
    ids = [message.message_id for message in bus.published]
    assert len(ids) > 40
    assert list(dict.fromkeys(ids)) == [envelope.id for envelope in stored]


async def test_a_batch_goes_as_a_whole_or_stays_as_a_whole(pool: Pool) -> None:
    bus = Unsure()
    bus.failures = 1
    stored = [queued(n) for n in range(9)]
    async with pool.acquire() as connection:
        for start in (0, 3, 6):
            await outbox.add(connection, stored[start : start + 3])
    async with OutboxRelay(pool, bus):
        async with asyncio.timeout(30):
            while await pool.fetchval("SELECT count(*) FROM outbox_batches"):
                await asyncio.sleep(0.05)
    ids = [message.message_id for message in bus.published]
    # Of nine messages the broker confirmed four: the first batch of three is done.
    assert ids == [e.id for e in stored] + [e.id for e in stored[3:]]


class Choosy(MemoryBus):
    """A broker that cannot carry some messages."""

    async def publish_many(
        self, messages: Sequence[Any], *, deadline_seconds: float = 5.0
    ) -> list[PublishError | None]:
        good = [m for m in messages if b'"attempt":13}' not in m.body]
        await super().publish_many(good, deadline_seconds=deadline_seconds)
        return [None if m in good else UnsendableError("no") for m in messages]


async def test_what_can_never_be_sent_is_given_up_and_holds_up_nothing(pool: Pool) -> None:
    bus = Choosy()
    async with pool.acquire() as connection:
        await outbox.add(connection, [queued(n) for n in range(20)])
    async with OutboxRelay(pool, bus):
        assert await relayed(bus, 19) == [n for n in range(20) if n != 13]
    assert await pool.fetchval("SELECT count(*) FROM outbox_batches") == 0


async def test_a_transaction_is_one_row_within_bounds(pool: Pool) -> None:
    def big(number: int) -> Envelope[JobQueued]:
        data = JobQueued(job_id=uuid7(), job_type="t" * 400_000, attempt=number)
        return envelop(data, source="/services/test", tenant="acme")

    async with pool.acquire() as connection, connection.transaction():
        await outbox.add(connection, [queued(n) for n in range(1201)])
        await outbox.add(connection, [big(n) for n in range(5)])
        await outbox.add(connection, [])
        rows = await connection.fetch("SELECT messages FROM outbox_batches ORDER BY id")
    assert [row["messages"] for row in rows] == [500, 500, 201, 2, 2, 1]


async def test_what_the_release_before_left_or_still_writes_is_relayed(postgres_url: str) -> None:
    old_row = """
        INSERT INTO outbox (exchange, routing_key, type, message_id, priority, tenant, body)
        VALUES ('jobs.events', $1, $2, $3, 'normal', 'acme', $4)
    """

    async def write(connection: Connection, number: int) -> None:
        event = queued(number)
        await connection.execute(old_row, event.key, event.type, event.id, event.to_json())

    async with postgres.connect(postgres_url, name="before") as pool:
        async with pool.acquire() as connection:
            script = files("lineshaft_common").joinpath("migrations", "0001_outbox.sql")
            await connection.execute(script.read_text())
            for number in range(120):
                await write(connection, number)
            batches = files("lineshaft_common").joinpath("migrations", "0002_outbox_batches.sql")
            await connection.execute(batches.read_text())
            for number in range(120, 123):
                await write(connection, number)
        bus = MemoryBus()
        async with OutboxRelay(pool, bus):
            assert await relayed(bus, 123) == list(range(123))
        assert await pool.fetchval("SELECT count(*) FROM outbox") == 0
