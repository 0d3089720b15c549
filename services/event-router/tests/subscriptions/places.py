"""A router that delivers, receivers on this machine, and events to deliver."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from lineshaft_common import messaging, postgres
from lineshaft_common.messaging import Outgoing, RabbitBus
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import Asking, Message, uuid7
from lineshaft_contracts.subscriptions import (
    Protocol,
    ProtocolSettings,
    SetSubscription,
    SinkCredential,
    Subscription,
    SubscriptionFound,
)
from lineshaft_event_router.__main__ import route
from lineshaft_event_router.settings import Settings
from pydantic_core import from_json, to_json
from standardwebhooks import Webhook

DEADLINE_SECONDS = 60.0
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SOURCE = "/acme/north/stamping/line-1/press-1"
R = TypeVar("R", bound=Message)


@dataclass
class Request:
    """What a receiver was sent."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return from_json(self.body)

    def verify(self, secret: str = SECRET) -> None:
        Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """An HTTP server; `answers` says by path what to answer, 204 otherwise."""

    requests: list[Request] = field(default_factory=list[Request])
    answers: dict[str, Callable[[Request], Any]] = field(
        default_factory=dict[str, Callable[[Request], Any]]
    )
    port: int = 0

    async def take(self, request: web.Request) -> web.Response:
        one = Request(
            request.path, {k.lower(): v for k, v in request.headers.items()}, await request.read()
        )
        self.requests.append(one)
        answer = self.answers.get(request.path)
        if answer is None:
            return web.Response(status=204)
        made = answer(one)
        return await made if asyncio.iscoroutine(made) else made

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def on(self, path: str) -> list[Request]:
        return [one for one in self.requests if one.path == path]

    def sequences(self, path: str = "/") -> dict[str, list[str]]:
        """By key, the events in the order of their first delivery."""
        found = defaultdict[str, dict[str, None]](dict)
        for one in self.on(path):
            found[one.event["partitionkey"]][one.event["sequence"]] = None
        return {key: list(sequences) for key, sequences in found.items()}


@asynccontextmanager
async def receiving() -> AsyncGenerator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()


class Shop:
    """Everything that a test of deliveries holds in its hands."""

    def __init__(self, bus: RabbitBus, pool: Pool, settings: Settings, receiver: Receiver) -> None:
        self.bus = bus
        self.pool = pool
        self.settings = settings
        self.receiver = receiver
        self.sent = 0

    @asynccontextmanager
    async def router(self) -> AsyncGenerator[None]:
        async with (
            messaging.connect(str(self.settings.amqp_url), name="router") as bus,
            route(self.settings, self.pool, bus),
        ):
            await self.until(self._leads)
            yield

    async def _leads(self) -> bool:
        return bool(
            await self.pool.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        )

    async def ask(self, question: Asking[R], *, tenant: str = "acme") -> R:
        return await self.bus.ask(question, tenant=tenant, source="/test", deadline_seconds=15)

    async def subscribe(
        self, id_: str, path: str = "/", *, secrets: tuple[str, ...] = (SECRET,), **given: Any
    ) -> SubscriptionFound:
        settings = {
            "retry_delay_seconds": 0.05,
            "retry_delay_seconds_max": 0.2,
            **given.pop("protocolsettings", {}),
        }
        wanted = Subscription(
            protocol=Protocol.HTTP,
            sink=self.receiver.url(path),
            protocolsettings=ProtocolSettings.model_validate(settings),
            **given,
        )
        credential = SinkCredential(secrets=secrets) if secrets else None
        return await self.ask(
            SetSubscription(id=id_, subscription=wanted, sinkcredential=credential, actor="test")
        )

    async def send(self, count: int, *, keys: int = 1, **changes: Any) -> list[str]:
        """Send events to the ingress; returns their ids."""
        bodies = [self._body(keys, changes) for _ in range(count)]
        messages = [
            Outgoing(
                exchange="plant.ingress",
                routing_key="normal",
                type=body["type"],
                message_id=body["id"],
                body=to_json(body),
            )
            for body in bodies
        ]
        assert await self.bus.publish_many(messages) == [None] * count
        return [body["id"] for body in bodies]

    def _body(self, keys: int, changes: dict[str, Any]) -> dict[str, Any]:
        self.sent += 1
        return {
            "specversion": "1.0",
            "id": str(uuid7()),
            "source": SOURCE,
            "type": "plant.production.unit-produced.v1",
            "time": "2026-03-02T06:15:00Z",
            "tenant": "acme",
            "partitionkey": f"key-{self.sent % keys}",
            "sequence": f"{self.sent:06}",
            "data": {
                "material_definition_id": "piston-ring-74",
                "quantity": {"good": {"value": "1", "uom": "pcs"}},
            },
            **changes,
        }

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for a condition, which may have to be awaited."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                holds = condition()
                if await holds if asyncio.iscoroutine(holds) else holds:
                    return
                await asyncio.sleep(0.02)


@asynccontextmanager
async def shop_of(amqp_url: str, postgres_url: str) -> AsyncGenerator[Shop]:
    settings = Settings.model_validate(
        {
            "amqp_url": amqp_url,
            "postgres_url": postgres_url,
            "instance": "one",
            "webhook_networks_allowed": ["127.0.0.0/8"],
        }
    )
    packages = ("lineshaft_common", "lineshaft_event_router")
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            postgres.connect(postgres_url, *packages, name="test")
        )
        bus = await stack.enter_async_context(messaging.connect(amqp_url, name="test"))
        receiver = await stack.enter_async_context(receiving())
        yield Shop(bus, pool, settings, receiver)
