"""The event-router is killed while it delivers: every event arrives, in order by key."""

import asyncio
import json
import os
import random
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aiohttp import web
from lineshaft_common import messaging
from lineshaft_common.messaging import NoReplyError, Outgoing, RabbitBus
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.subscriptions import (
    GetSubscription,
    Protocol,
    ProtocolSettings,
    SetSubscription,
    SinkCredential,
    Subscription,
    SubscriptionView,
)
from pydantic_core import from_json, to_json
from standardwebhooks import Webhook

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

DEADLINE_SECONDS = 180.0
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVENTS = 2_400
BATCH = 40
KEYS = 12
KILLS = 5


@dataclass
class Receiver:
    """Fails now and then, also after it took an event; remembers the order of what it took."""

    chance: random.Random
    took: dict[str, dict[str, None]] = field(
        default_factory=lambda: defaultdict[str, dict[str, None]](dict)
    )
    requests: int = 0
    port: int = 0
    firm: bool = False

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        event = Webhook(SECRET).verify(body, dict(request.headers))
        self.requests += 1
        fails = not self.firm and self.chance.random() < 0.1
        if fails and self.chance.random() < 0.5:
            return web.Response(status=500)
        self.took[event["partitionkey"]][event["sequence"]] = None
        return web.Response(status=503 if fails else 200)

    @property
    def count(self) -> int:
        return sum(len(sequences) for sequences in self.took.values())


@asynccontextmanager
async def receiving(chance: random.Random) -> AsyncGenerator[Receiver]:
    receiver = Receiver(chance)
    app = web.Application()
    app.router.add_post("/", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


class Router:
    """An event-router process of this test."""

    def __init__(self, amqp_url: str, postgres_url: str, log: Path) -> None:
        self._log = log
        self._environment = {
            **os.environ,
            "LINESHAFT_AMQP_URL": amqp_url,
            "LINESHAFT_POSTGRES_URL": postgres_url,
            "LINESHAFT_HTTP_PORT": "0",
            "LINESHAFT_WEBHOOK_NETWORKS_ALLOWED": json.dumps(["127.0.0.0/8"]),
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


def event(number: int) -> Outgoing:
    id_ = str(uuid7())
    body = {
        "specversion": "1.0",
        "id": id_,
        "source": "/acme/north/stamping/line-1/press-1",
        "type": "plant.production.unit-produced.v1",
        "time": "2026-03-02T06:15:00Z",
        "tenant": "acme",
        "partitionkey": f"key-{number % KEYS}",
        "sequence": f"{number:06}",
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
        body=to_json(body),
    )


async def ask(bus: RabbitBus, question: Any) -> SubscriptionView:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                found = await bus.ask(question, tenant="acme", source="/test", deadline_seconds=5)
            except NoReplyError:
                continue  # It is still starting.
            return found.subscription


async def publish(bus: RabbitBus, chance: random.Random) -> None:
    for first in range(0, EVENTS, BATCH):
        batch = [event(number) for number in range(first, first + BATCH)]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while any(await bus.publish_many(batch, deadline_seconds=2)):
                await asyncio.sleep(0.05)
        await asyncio.sleep(chance.uniform(0, 0.3))  # Now a burst, now a trickle.


async def consume(amqp_url: str, queue: str, got: list[dict[str, Any]]) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(100)
        async with (await channel.get_queue(queue)).iterator() as messages:
            async for message in messages:
                got.append(from_json(message.body))
                await message.ack()


async def test_a_router_that_is_killed_while_it_delivers_loses_nothing_and_keeps_the_order(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails.
    chance = random.Random(seed)
    router = Router(fresh_amqp_url, postgres_url, tmp_path / "event-router.log")
    async with (
        messaging.connect(fresh_amqp_url, name="test") as bus,
        receiving(chance) as receiver,
    ):
        await router.start()
        tasks = list[asyncio.Task[None]]()
        queued = list[dict[str, Any]]()
        try:
            quick = ProtocolSettings(retry_delay_seconds=0.2, retry_delay_seconds_max=1.0)
            hook = Subscription(
                protocol=Protocol.HTTP,
                sink=f"http://127.0.0.1:{receiver.port}/",
                protocolsettings=quick,
            )
            credential = SinkCredential(secrets=(SECRET,))
            await ask(
                bus,
                SetSubscription(
                    id="mes", subscription=hook, sinkcredential=credential, actor="test"
                ),
            )
            queue = Subscription(protocol=Protocol.AMQP)
            made = await ask(bus, SetSubscription(id="erp", subscription=queue, actor="test"))
            tasks.append(asyncio.create_task(consume(fresh_amqp_url, made.queue or "", queued)))
            publishing = asyncio.create_task(publish(bus, chance))
            for _ in range(KILLS):
                seen = receiver.requests
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while receiver.requests <= seen:  # It is in the middle of it.
                        await asyncio.sleep(0.02)
                await asyncio.sleep(chance.uniform(0, 1.5))  # The moment of the kill is the test.
                await router.kill()
                await router.start()
            await publishing
            receiver.firm = True
            async with asyncio.timeout(DEADLINE_SECONDS):
                while receiver.count < EVENTS or len({one["id"] for one in queued}) < EVENTS:
                    await asyncio.sleep(0.1)
            view = await ask(bus, GetSubscription(id="mes"))
            assert view.parked == 0
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await router.kill()
    expected = {
        f"key-{key}": [f"{number:06}" for number in range(key, EVENTS, KEYS)]
        for key in range(KEYS)
    }
    assert {key: list(one) for key, one in receiver.took.items()} == expected
    by_key = defaultdict[str, dict[str, None]](dict)
    for one in queued:
        by_key[one["partitionkey"]][one["sequence"]] = None
    assert {key: list(one) for key, one in by_key.items()} == expected
    repeats = len(queued) - EVENTS
    print(f"{receiver.requests} requests, {repeats} repeats in the queue")  # noqa: T201
