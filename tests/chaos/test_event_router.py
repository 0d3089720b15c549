"""The event-router and its broker are killed: no accepted event is lost or out of order."""

import asyncio
import os
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from lineshaft_cli.local.throwaway import Servers
from lineshaft_common import messaging
from lineshaft_common.messaging import Outgoing, RabbitBus
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.topology import EVENTS_LOG, INGRESS, PLANT_QUARANTINE
from pydantic_core import from_json, to_json

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

Kill = Callable[["Router", random.Random], Awaitable[None]]

DEADLINE_SECONDS = 120.0
EVENTS_MIN = 2000
BATCH = 25
SOURCES = [f"/acme/north/stamping/line-1/press-{number}" for number in range(6)]


class Router:
    """An event-router process of this test."""

    def __init__(self, amqp_url: str, postgres_url: str, log: Path) -> None:
        self._log = log
        self._environment = {
            **os.environ,
            "LINESHAFT_AMQP_URL": amqp_url,
            "LINESHAFT_POSTGRES_URL": postgres_url,
            "LINESHAFT_HTTP_PORT": "0",
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "lineshaft_event_router",
                env=self._environment,
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
            )

    async def kill(self) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()


@asynccontextmanager
async def running(amqp_url: str, postgres_url: str, folder: Path) -> AsyncGenerator[Router]:
    router = Router(amqp_url, postgres_url, folder / "event-router.log")
    await router.start()
    try:
        yield router
    finally:
        await router.kill()


@dataclass
class Plant:
    """Publishes events one batch after the other, each until the broker has confirmed it."""

    bus: RabbitBus
    chance: random.Random
    published: list[str] = field(default_factory=list[str])
    """Ids in the order of publishing; all of them are confirmed."""
    source_of: dict[str, str] = field(default_factory=dict[str, str])
    stopping: bool = False

    async def publish(self) -> None:
        while not self.stopping or len(self.published) < EVENTS_MIN:
            batch = [self._event() for _ in range(BATCH)]
            async with asyncio.timeout(DEADLINE_SECONDS):
                while any(await self.bus.publish_many(batch, deadline_seconds=2)):
                    await asyncio.sleep(0.05)
            self.published += [message.message_id for message in batch]
            await asyncio.sleep(self.chance.uniform(0, 0.2))  # Now a burst, now a trickle.

    def _event(self) -> Outgoing:
        id_, source = str(uuid7()), self.chance.choice(SOURCES)
        self.source_of[id_] = source
        event = {
            "specversion": "1.0",
            "id": id_,
            "source": source,
            "type": "plant.production.unit-produced.v1",
            "time": datetime.now(UTC),
            "tenant": "acme",
            "data": {
                "material_definition_id": "piston-ring-74",
                "quantity": {"good": {"value": "1", "uom": "pcs"}},
            },
        }
        return Outgoing(
            exchange="plant.ingress",
            routing_key="normal",
            type="plant.production.unit-produced.v1",
            message_id=id_,
            body=to_json(event),
        )

    def by_source(self, ids: list[str]) -> dict[str, list[str]]:
        ordered = defaultdict[str, list[str]](list)
        for id_ in ids:
            ordered[self.source_of[id_]].append(id_)
        return ordered

    async def logged(self) -> list[str]:
        """Read the log until every published event was in it; ids in the order of the log."""
        missing, found = set(self.published), list[str]()
        try:
            async with (
                asyncio.timeout(DEADLINE_SECONDS),
                self.bus.read_log(EVENTS_LOG, "first") as records,
            ):
                while missing:
                    found.append(from_json((await anext(records)).body)["id"])
                    missing.discard(found[-1])
        except TimeoutError:
            waiting = await self.bus.depth(INGRESS["normal"])
            pytest.fail(f"{len(missing)} of {len(self.published)} are missing, {waiting} wait")
        return found


async def survives(
    amqp_url: str,
    postgres_url: str,
    folder: Path,
    kill: Callable[[Router, random.Random], Awaitable[None]],
) -> None:
    """Publish while `kill` does its worst; then everything must be there, and in order."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails.
    chance = random.Random(seed)
    async with (
        messaging.connect(amqp_url, name="test") as bus,
        running(amqp_url, postgres_url, folder) as router,
    ):
        plant = Plant(bus, chance)
        publishing = asyncio.create_task(plant.publish())
        await kill(router, chance)
        plant.stopping = True
        await publishing
        logged = await plant.logged()
        assert len(plant.published) >= EVENTS_MIN
        first = list(dict.fromkeys(logged))
        assert set(first) == set(plant.published)
        assert plant.by_source(first) == plant.by_source(plant.published)
        await settled(bus, postgres_url)
        assert (await bus.depth(PLANT_QUARANTINE))[0] == 0
    print(f"{len(first)} events, {len(logged) - len(first)} repeats")  # noqa: T201


async def settled(bus: RabbitBus, postgres_url: str) -> None:
    """Wait until nothing waits any more, in the broker or in the database."""
    connection = await asyncpg.connect(postgres_url)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await bus.depth(INGRESS["normal"]))[0] or await connection.fetchval(
                "SELECT coalesce(sum(messages), 0) FROM outbox_batches"
            ):
                await asyncio.sleep(0.1)
    finally:
        await connection.close()


async def consuming(bus: RabbitBus) -> None:
    """Wait until a router takes events."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await bus.depth(INGRESS["normal"]))[1] == 0:
            await asyncio.sleep(0.05)


async def test_a_router_that_is_killed_again_and_again_loses_no_event(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path
) -> None:
    async def kill(router: Router, chance: random.Random) -> None:
        async with messaging.connect(fresh_amqp_url, name="watch") as bus:
            for _ in range(6):
                await consuming(bus)
                await asyncio.sleep(chance.uniform(0, 2))  # The moment of the kill is the test.
                await router.kill()
                await router.start()

    await survives(fresh_amqp_url, postgres_url, tmp_path, kill)


async def test_a_broker_that_is_killed_loses_no_event_that_it_confirmed(
    servers_to_kill: Servers, postgres_url: str, tmp_path: Path
) -> None:
    amqp_url = servers_to_kill.endpoints.amqp
    assert amqp_url is not None

    async def kill(router: Router, chance: random.Random) -> None:
        await asyncio.sleep(chance.uniform(2, 4))
        restarts, broker = (
            servers_to_kill.restarts("rabbitmq"),
            servers_to_kill.process("rabbitmq"),
        )
        assert broker is not None
        os.kill(broker.pid, signal.SIGKILL)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while servers_to_kill.restarts("rabbitmq") == restarts:
                await asyncio.sleep(0.1)
        await router.kill()  # Both at once: the router comes back to a broker that starts.
        await router.start()

    await survives(amqp_url, postgres_url, tmp_path, kill)
