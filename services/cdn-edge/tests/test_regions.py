"""Edges as processes, on a real broker: purged together, each answering by itself."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from lineshaft_common import http, messaging
from lineshaft_common.messaging import on
from lineshaft_contracts.cdn import AssetMetricsReported, PurgeAssets
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.topology import TELEMETRY, Binding, Queue

pytestmark = pytest.mark.integration

REGIONS = ("us-east", "eu-west")
HEARD = Queue(
    name="test.cdn-reports",
    type="classic",
    bindings=tuple(Binding(exchange=TELEMETRY, pattern=f"cdn-edge.{name}") for name in REGIONS),
)


@asynccontextmanager
async def edge(region: str, amqp_url: str, origin_port: int, port: int) -> AsyncGenerator[str]:
    """Keep one region's process running inside the block; yields its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lineshaft_cdn_edge",
        env={
            **os.environ,
            "LINESHAFT_AMQP_URL": amqp_url,
            "LINESHAFT_REGION": region,
            "LINESHAFT_ORIGIN_URL": f"http://127.0.0.1:{origin_port}",
            "LINESHAFT_HTTP_PORT": str(port),
            "LINESHAFT_METRICS_INTERVAL_SECONDS": "0.5",
        },
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        await until_ready(f"http://127.0.0.1:{port}", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        assert await process.wait() == 0


async def until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(60), aiohttp.ClientSession() as client:
        while process.returncode is None:
            try:
                async with client.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    pytest.fail(f"the edge ended with {process.returncode}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def get(url: str) -> tuple[str, str]:
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        return await response.text(), response.headers["Cache-Status"]


async def test_a_purge_reaches_every_region_and_each_reports(fresh_amqp_url: str) -> None:
    version = 1

    async def asset(_: web.Request) -> web.Response:
        return web.Response(text=f"version {version}", headers={"Cache-Control": "max-age=600"})

    app = web.Application()
    app.router.add_get("/{path:.*}", asset)
    command = PurgeAssets(purge_id=uuid7(), url="https://assets.example/a.txt")
    reports: dict[str, AssetMetricsReported] = {}
    complete = asyncio.Event()

    async def on_report(delivery: messaging.Delivery[AssetMetricsReported]) -> None:
        if delivery.data.last_purge_id == command.purge_id:
            reports[delivery.data.region] = delivery.data
        if set(reports) == set(REGIONS):
            complete.set()

    async with (
        http.serve(app, host="127.0.0.1", port=0) as origin_port,
        messaging.connect(fresh_amqp_url, name="test") as bus,
        edge("us-east", fresh_amqp_url, origin_port, free_port()) as east,
        edge("eu-west", fresh_amqp_url, origin_port, free_port()) as west,
    ):
        for url in (east, west):
            await get(f"{url}/a.txt")
            assert "; hit; " in (await get(f"{url}/a.txt"))[1]
        version = 2
        assert (await get(f"{west}/a.txt"))[0] == "version 1"
        replies = await bus.ask_all(
            command, tenant="acme", source="/test", replies_max=2, deadline_seconds=30
        )
        assert {reply.region: reply.removed for reply in replies} == dict.fromkeys(REGIONS, 1)
        assert max(reply.milliseconds for reply in replies) < 2_000
        assert [(await get(f"{url}/a.txt"))[0] for url in (east, west)] == ["version 2"] * 2
        async with (
            bus.subscribe(HEARD, on(AssetMetricsReported, on_report)),
            asyncio.timeout(30),
        ):
            await complete.wait()
    (document,) = (item for item in reports["us-east"].classes if item.asset_class == "document")
    assert document.results["miss"] == 2
    assert reports["us-east"].purges == 1
