"""The gateway as a process, on a real RabbitMQ and a real PostgreSQL."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from lineshaft_common import messaging, postgres
from lineshaft_common.messaging import Bus, Delivery, Outgoing, answers, on
from lineshaft_contracts import topology
from lineshaft_contracts.cdn import PurgeAcknowledged, PurgeAssets
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.resource import StateChanged
from lineshaft_gateway.keys import make
from lineshaft_gateway.live import Position
from lineshaft_gateway.store import PACKAGE, PostgresKeyStore, PostgresPositionStore

from .streams import Stream
from .test_events import event
from .test_jobs import JOB

pytestmark = pytest.mark.integration

TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Gateway:
    """A gateway process that was started for a test."""

    url: str
    process: asyncio.subprocess.Process
    key: dict[str, str]

    async def stop(self) -> float:
        """End it as an operator does; returns how long it took in seconds."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            assert await self.process.wait() == 0
        return loop.time() - started


@asynccontextmanager
async def gateway(
    amqp_url: str, postgres_url: str, directory: Path, **given: str
) -> AsyncGenerator[Gateway]:
    """Start a gateway on a free port, and wait until it is ready."""
    port = _free_port()
    environment = {
        **os.environ,
        "LINESHAFT_AMQP_URL": amqp_url,
        "LINESHAFT_POSTGRES_URL": postgres_url,
        "LINESHAFT_HTTP_PORT": str(port),
        "LINESHAFT_ADMIN_KEY_FILE": str(directory / "admin.key"),
        "LINESHAFT_OBJECT_STORE_URL": (directory / "objects").as_uri(),
        **given,
    }
    environment.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    with _log_file(directory).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lineshaft_gateway", env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        await _ready(url, process, _log_file(directory))
        text = _read(directory / "admin.key")
        yield Gateway(url, process, {"Authorization": f"Bearer {text}"})
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(30):
                await process.wait()


def _log_file(directory: Path) -> Path:
    return directory / "gateway.log"


def _read(file: Path) -> str:
    return file.read_text().strip()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def _ready(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    async with aiohttp.ClientSession() as client, asyncio.timeout(30):
        while process.returncode is None:
            try:
                async with client.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    pytest.fail(f"the gateway ended: {_read(log)[-2000:]}")


@pytest.fixture
async def bus(fresh_amqp_url: str) -> AsyncGenerator[Bus]:
    async with messaging.connect(fresh_amqp_url, name="test") as one:
        yield one


async def append(bus: Bus, number: int, tenant: str = "acme") -> None:
    """Put one event into the log, as the event-router would."""
    body = {
        **event(id=f"e{number}", source=f"/{tenant}/hamburg", data={"number": number}),
        "tenant": tenant,
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
    }
    message = Outgoing(
        exchange=topology.PLATFORM_LOG.name,
        routing_key="any",
        type=body["type"],
        message_id=body["id"],
        body=json.dumps(body).encode(),
        headers={"tenant": tenant, "traceparent": body["traceparent"]},
    )
    assert await bus.publish_many([message]) == [None]


@asynccontextmanager
async def stream(
    one: Gateway, client: aiohttp.ClientSession, last: str | None = None
) -> AsyncGenerator[Stream]:
    headers = one.key if last is None else {**one.key, "Last-Event-ID": last}
    async with client.get(f"{one.url}/api/events/stream", headers=headers) as response:
        assert response.status == 200
        yield Stream(response)


async def test_the_doors_work_on_real_servers(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path, bus: Bus
) -> None:
    taken: asyncio.Queue[Delivery[StateChanged]] = asyncio.Queue()

    async def purge(command: Envelope[PurgeAssets]) -> PurgeAcknowledged:
        data = command.data
        return PurgeAcknowledged(
            purge_id=data.purge_id, region="us-east", url=data.url, removed=1, milliseconds=1
        )

    async with (
        gateway(fresh_amqp_url, postgres_url, tmp_path) as one,
        aiohttp.ClientSession(one.url, headers=one.key) as client,
        bus.subscribe(topology.INGRESS["high"], on(StateChanged, taken.put)),
        bus.serve(topology.EDGES["us-east"], answers(PurgeAssets, purge)),
    ):
        parent = f"00-{TRACE}-b7ad6b7169203331-01"
        sent = await client.post(
            "/api/events", json=event(priority="high"), headers={"traceparent": parent}
        )
        assert (sent.status, sent.headers["X-Request-Id"]) == (202, TRACE)
        async with asyncio.timeout(30):
            delivery = await taken.get()
        assert delivery.envelope.tenant == "acme"
        assert TRACE in (delivery.envelope.traceparent or "")
        job = await client.post("/api/jobs", json=JOB)
        assert (job.status, (await job.json())["state"]) == (202, "accepted")
        assert await bus.depth(topology.JOB_RUNNER_SUBMIT) == (1, 0)
        started = asyncio.get_running_loop().time()
        away = await client.get("/api/jobs")
        assert away.status == 503
        assert asyncio.get_running_loop().time() - started < 15
        purged = await client.post("/api/system/cdn-purges", json={"everything": True})
        assert purged.status == 202
        assert [region["region"] for region in (await purged.json())["regions"]] == ["us-east"]
        made = await client.post("/api/keys", json={"name": "MES", "scopes": ["jobs:read"]})
        key = (await made.json())["key"]
        mine = {"Authorization": f"Bearer {key}"}
        assert (await client.get("/api/keys", headers=mine)).status == 403
        assert (await client.delete(f"/api/keys/{key.split('_')[1]}")).status == 204
        assert (await client.get("/api/keys", headers=mine)).status == 401


async def test_a_stream_outlives_a_restart_of_the_gateway(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path, bus: Bus
) -> None:
    async with aiohttp.ClientSession() as client:
        async with (
            gateway(fresh_amqp_url, postgres_url, tmp_path) as one,
            stream(one, client) as events,
        ):
            for number in range(300):
                await append(bus, number)
            await append(bus, 1000, tenant="globex")
            assert await events.numbers(299) == list(range(299))
            last = await events.next()
            assert last is not None
            assert TRACE in last.data["traceparent"]
            assert await one.stop() < 15
            assert await events.next() is None
        for number in range(300, 600):
            await append(bus, number)
        first_key = _read(tmp_path / "admin.key")
        async with gateway(
            fresh_amqp_url, postgres_url, tmp_path, LINESHAFT_RING_FRAMES_MAX="5"
        ) as one:
            assert _read(tmp_path / "admin.key") == first_key
            async with stream(one, client, last.id) as events:
                assert await events.numbers(300) == list(range(300, 600))
                await append(bus, 600)
                assert await events.numbers(1) == [600]


async def test_a_log_made_anew_resets_streams(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path, bus: Bus
) -> None:
    old = Position(epoch="0badcafe", offset=5000, event_id="old")
    async with postgres.connect(postgres_url, PACKAGE, name="test") as pool:
        store = PostgresPositionStore(pool)
        await store.load(topology.EVENTS_LOG.name, new_epoch=old.epoch)
        await store.advance(topology.EVENTS_LOG.name, old)
    await append(bus, 0)
    async with (
        gateway(fresh_amqp_url, postgres_url, tmp_path) as one,
        aiohttp.ClientSession() as client,
        stream(one, client, "0badcafe-5000") as events,
    ):
        reset = await events.next()
        assert reset is not None
        assert reset.data == {"reason": "unknown_epoch"}
        await append(bus, 1)
        assert await events.numbers(1) == [1]


async def test_keys_are_kept(postgres_url: str) -> None:
    async with postgres.connect(postgres_url, PACKAGE, name="test") as pool:
        store = PostgresKeyStore(pool)
        assert not await store.any_valid()
        later = datetime.now(UTC) + timedelta(days=1)
        key, _ = make(
            tenant="acme",
            name="n",
            scopes=frozenset({"jobs:read"}),
            created_by="me",
            expires_at=later,
        )
        await store.add(key)
        assert await store.find(key.prefix) == key
        assert await store.find("none") is None
        assert [one.prefix for one in await store.list_of("acme")] == [key.prefix]
        assert await store.list_of("globex") == []
        assert await store.any_valid()
        lost, _ = make(tenant="acme", name="admin", scopes=frozenset())
        await store.add(lost)
        assert await store.revoke_admin_keys(but=lost.prefix) == 0
        assert await store.revoke_admin_keys(but=key.prefix) == 1
        child, _ = make(
            tenant="globex", name="c", scopes=frozenset({"jobs:read"}), created_by=key.prefix
        )
        grandchild, _ = make(
            tenant="acme", name="g", scopes=frozenset({"jobs:read"}), created_by=child.prefix
        )
        await store.add(child)
        await store.add(grandchild)
        assert await store.revoke(key.prefix, "globex") == ()
        assert set(await store.revoke(key.prefix, "acme")) == {
            one.prefix for one in (key, child, grandchild)
        }
        revoked = await store.find(key.prefix)
        assert revoked is not None
        assert not revoked.is_valid(datetime.now(UTC))
        assert not await store.any_valid()


async def test_a_position_only_goes_forward_inside_its_epoch(postgres_url: str) -> None:
    async with postgres.connect(postgres_url, PACKAGE, name="test") as pool:
        store = PostgresPositionStore(pool)
        assert await store.load("log", new_epoch="a") == Position(epoch="a", offset=-1)
        await store.advance("log", Position(epoch="a", offset=7, event_id="e7"))
        await store.advance("log", Position(epoch="a", offset=5, event_id="e5"))
        await store.advance("log", Position(epoch="z", offset=9, event_id="e9"))
        kept = Position(epoch="a", offset=7, event_id="e7")
        assert await store.load("log", new_epoch="b") == kept
        # Two processes see the new log at once; both end up with the same epoch.
        first = await store.renew("log", old_epoch="a", new_epoch="b")
        second = await store.renew("log", old_epoch="a", new_epoch="c")
        assert (first, second) == ("b", "b")
