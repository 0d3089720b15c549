"""Purges over the bus, and the reports of what was served."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from lineshaft_cdn_edge.assembly import Station, assemble
from lineshaft_cdn_edge.commands import PurgeCommands
from lineshaft_cdn_edge.reporting import AssetReporter, report_assets
from lineshaft_cdn_edge.settings import EdgeSettings
from lineshaft_common.messaging import on
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.cdn import AssetMetricsReported, AssetsPurged, PurgeAssets, PurgeScope
from lineshaft_contracts.envelope import envelop, uuid7
from lineshaft_contracts.problems import ProblemError
from lineshaft_contracts.registry import read
from lineshaft_contracts.topology import DEAD_LETTERS, EDGES, MONITOR_TELEMETRY

FRESH = {"Cache-Control": "max-age=60"}


def settings(region: str) -> EdgeSettings:
    return EdgeSettings.model_validate(
        {
            "amqp_url": "amqp://localhost",
            "region": region,
            "origin_url": "http://127.0.0.1:9",
            "instance": "one",
        }
    )


async def ask(bus: MemoryBus, command: PurgeAssets) -> dict[str, int]:
    replies = await bus.ask_all(
        command, tenant="acme", source="/test", replies_max=4, deadline_seconds=1
    )
    assert {reply.purge_id for reply in replies} <= {command.purge_id}
    assert all(reply.milliseconds >= 0 for reply in replies)
    return {reply.region: reply.removed for reply in replies}


async def test_every_region_purges_and_answers(make_world: Any, answer: Any) -> None:
    bus = MemoryBus()
    worlds = {region: await make_world() for region in ("us-east", "eu-west")}
    for world in worlds.values():
        world.will(answer(fields=FRESH))
        await world.ask("/a")
    east, west = (
        PurgeCommands(worlds[region].edge.purger, bus, region=region) for region in worlds
    )
    async with (
        bus.subscribe(EDGES["us-east"], on(PurgeAssets, east.on_purge_assets)),
        bus.subscribe(EDGES["eu-west"], on(PurgeAssets, west.on_purge_assets)),
    ):
        command = PurgeAssets(purge_id=uuid7(), url="/a")
        assert await ask(bus, command) == {"us-east": 1, "eu-west": 1}
        assert await ask(bus, command) == {"us-east": 0, "eu-west": 0}
    announced = [message for message in bus.published if message.type == AssetsPurged.type]
    assert {message.routing_key for message in announced} == {
        "us-east.assets-purged",
        "eu-west.assets-purged",
    }
    assert (east.count, east.last_id) == (2, command.purge_id)


@pytest.mark.parametrize(
    ("scope", "removed"), [(PurgeScope.URL, 0), (PurgeScope.PREFIX, 2), (PurgeScope.EVERYTHING, 3)]
)
async def test_a_purge_has_a_scope(
    world: Any, answer: Any, scope: PurgeScope, removed: int
) -> None:
    bus = MemoryBus()
    world.will(answer(fields=FRESH))
    for path in ("/a/1", "/a/2", "/b/1"):
        await world.ask(path)
    commands = PurgeCommands(world.edge.purger, bus, region="us-east")
    async with bus.subscribe(EDGES["us-east"], on(PurgeAssets, commands.on_purge_assets)):
        command = PurgeAssets(purge_id=uuid7(), url="/a/", scope=scope)
        assert await ask(bus, command) == {"us-east": removed}


async def test_a_region_that_was_away_catches_up(world: Any, answer: Any) -> None:
    bus = MemoryBus()
    world.will(answer(fields=FRESH))
    await world.ask("/a")
    commands = PurgeCommands(world.edge.purger, bus, region="us-east")
    with pytest.raises(TimeoutError):
        await ask(bus, PurgeAssets(purge_id=uuid7(), url="/a"))
    async with bus.subscribe(EDGES["us-east"], on(PurgeAssets, commands.on_purge_assets)):
        assert len(world.store) == 0


IMPOSSIBLE = pytest.mark.parametrize("command", [{"url": "/%zz"}, {"url": "/", "scope": "tag"}])


@IMPOSSIBLE
async def test_whoever_waits_for_a_purge_that_cannot_be_carried_out_is_told_why(
    world: Any, command: dict[str, str]
) -> None:
    bus = MemoryBus()
    commands = PurgeCommands(world.edge.purger, bus, region="us-east")
    asked = PurgeAssets.model_validate({"purge_id": UUID(int=1), **command})
    async with bus.subscribe(EDGES["us-east"], on(PurgeAssets, commands.on_purge_assets)):
        with pytest.raises(ProblemError) as refused:
            await ask(bus, asked)
    problem = refused.value.problem
    assert (problem.status, problem.code) == (422, "invalid_url")
    assert problem.detail
    assert not bus.waiting(DEAD_LETTERS)
    assert commands.count == 0


@IMPOSSIBLE
async def test_a_purge_that_cannot_be_carried_out_and_nobody_waits_for_is_put_aside(
    world: Any, command: dict[str, str]
) -> None:
    bus = MemoryBus()
    commands = PurgeCommands(world.edge.purger, bus, region="us-east")
    asked = PurgeAssets.model_validate({"purge_id": UUID(int=1), **command})
    async with bus.subscribe(EDGES["us-east"], on(PurgeAssets, commands.on_purge_assets)):
        await bus.publish(envelop(asked, source="/test", tenant="acme"))
    assert len(bus.waiting(DEAD_LETTERS)) == 1
    assert commands.count == 0


async def _report(station: Station, bus: MemoryBus) -> AssetMetricsReported:
    commands = PurgeCommands(station.edge.purger, bus, region="us-east")
    async with report_assets(AssetReporter(station, bus, commands, settings("us-east"))):
        await asyncio.sleep(0)
    received = bus.waiting(MONITOR_TELEMETRY)[0]
    return read(AssetMetricsReported.type, received.body).data


async def test_metrics_are_reported_soon_after_the_start() -> None:
    bus = MemoryBus()
    async with assemble(settings("us-east")) as station:
        report = await _report(station, bus)
    assert (report.region, report.instance, report.purges) == ("us-east", "one", 0)
    assert report.store.bytes_max == settings("us-east").memory_bytes_max
    assert report.origin.reachable


async def test_a_report_does_not_need_the_broker() -> None:
    bus = MemoryBus()
    bus.unavailable = True
    async with assemble(settings("us-east")) as station:
        commands = PurgeCommands(station.edge.purger, bus, region="us-east")
        await AssetReporter(station, bus, commands, settings("us-east")).report()
