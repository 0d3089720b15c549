import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

import pytest
from lineshaft_common.messaging.bus import answers
from lineshaft_contracts import topology
from lineshaft_contracts.alerts import AlertPage, GetAlert, ListAlerts
from lineshaft_contracts.cdn import PurgeAcknowledged, PurgeAssets
from lineshaft_contracts.edges import (
    AssetMetricsFound,
    CdnStatusFound,
    GetAssetMetrics,
    GetCdnStatus,
)
from lineshaft_contracts.envelope import PLATFORM_TENANT, Envelope
from lineshaft_contracts.monitoring import (
    ComponentHealth,
    GetHealth,
    HealthFound,
    HealthStatus,
    ListMetrics,
    MetricList,
    MetricsFound,
    QueryMetrics,
)
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.telemetry import GetTrace, SpanView, TraceFound
from lineshaft_gateway.coalescing import Coalescer
from yarl import URL

from .conftest import World, pointers, problem

NOW = datetime(2026, 11, 25, tzinfo=UTC)
READS = ("health", "monitoring", "metrics", "alerts", "cdn-status", "asset-metrics")


class Monitor:
    """Answers from memory, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Envelope[Any]] = []
        self.owners: tuple[str | None, ...] = ("acme",)

    async def health(self, question: Envelope[GetHealth]) -> HealthFound:
        self.asked.append(question)
        well = ComponentHealth(status=HealthStatus.PASS, since=NOW)
        return HealthFound(
            status=HealthStatus.PASS, at=NOW, services=(), rabbitmq=well, postgres=well
        )

    async def metrics(self, question: Envelope[QueryMetrics]) -> MetricsFound:
        self.asked.append(question)
        data = question.data
        return MetricsFound(
            name=data.name,
            aggregation=data.aggregation,
            step_seconds=data.step_seconds,
            times=(),
            series=(),
        )

    async def metric_list(self, question: Envelope[ListMetrics]) -> MetricList:
        return MetricList(metrics=())

    async def alerts(self, question: Envelope[ListAlerts]) -> AlertPage:
        self.asked.append(question)
        return AlertPage(alerts=(), firing={})

    async def alert(self, question: Envelope[GetAlert]) -> Any:
        raise ProblemError(Problem(code="alert_not_found", title="No such alert", status=404))

    async def cdn_status(self, question: Envelope[GetCdnStatus]) -> CdnStatusFound:
        return CdnStatusFound(at=NOW, status=HealthStatus.PASS, regions=())

    async def asset_metrics(self, question: Envelope[GetAssetMetrics]) -> AssetMetricsFound:
        self.asked.append(question)
        return AssetMetricsFound(at=NOW, traffic=(), totals=())

    async def trace(self, question: Envelope[GetTrace]) -> TraceFound:
        spans = tuple(
            SpanView(
                span_id="1",
                parent_id=None,
                service="gateway",
                name="POST",
                kind="server",
                started_at=NOW,
                seconds=0.1,
                status="ok",
                attributes={} if owner is None else {"lineshaft.tenant": owner},
            )
            for owner in self.owners
        )
        return TraceFound(trace_id=question.data.trace_id, spans=spans)


@pytest.fixture
async def monitor(world: World) -> AsyncGenerator[Monitor]:
    monitor = Monitor()
    async with world.bus.serve(
        topology.MONITOR_ASKED,
        answers(GetHealth, monitor.health),
        answers(QueryMetrics, monitor.metrics),
        answers(ListMetrics, monitor.metric_list),
        answers(ListAlerts, monitor.alerts),
        answers(GetAlert, monitor.alert),
        answers(GetCdnStatus, monitor.cdn_status),
        answers(GetAssetMetrics, monitor.asset_metrics),
        answers(GetTrace, monitor.trace),
    ):
        yield monitor


async def get(world: World, path: str) -> Any:
    return await world.client.get(f"/api/system/{path}", headers=world.key())


@pytest.mark.parametrize("name", [name for name in READS if name != "health"])
async def test_while_the_monitor_is_away_reads_say_so(world: World, name: str) -> None:
    response = await get(world, name)
    await problem(response, 503, "service_unavailable")
    assert response.headers["Retry-After"] == "1"


async def test_health_tells_what_the_monitor_knows(world: World, monitor: Monitor) -> None:
    response = await get(world, "health")
    health = await response.json(content_type="application/health+json")
    assert (response.status, health["status"], health["stale"]) == (200, "pass", False)
    assert health["checks"]["gateway:broker"] == [{"status": "pass", "output": ""}]
    assert monitor.asked[0].tenant == "acme"


async def test_without_the_monitor_health_tells_what_the_gateway_knows(world: World) -> None:
    response = await get(world, "health")
    health = await response.json(content_type="application/health+json")
    assert (response.status, health["status"], health["stale"]) == (200, "warn", True)
    assert health["checks"]["monitor"][0]["status"] == "fail"
    assert health["at"] is None


async def test_what_was_known_last_is_shown_as_stale(world: World) -> None:
    monitor = Monitor()
    async with world.bus.serve(topology.MONITOR_ASKED, answers(GetHealth, monitor.health)):
        await get(world, "health")
    health = await (await get(world, "health")).json(content_type="application/health+json")
    assert (health["stale"], health["status"]) == (True, "warn")
    assert health["at"] == "2026-11-25T00:00:00Z"


async def test_health_is_503_only_when_the_gateway_cannot_work(world: World) -> None:
    world.bus.unavailable = True
    response = await get(world, "health")
    health = await response.json(content_type="application/health+json")
    assert (response.status, health["status"]) == (503, "fail")


async def test_a_metrics_query_is_passed_on_whole(world: World, monitor: Monitor) -> None:
    query = (
        "name=up&label=service=gateway&label=region=a%3Db&since=2026-11-24T00:00:00Z"
        "&step_seconds=30&aggregation=max"
    )
    response = await get(world, f"metrics?{query}")
    assert (response.status, (await response.json())["aggregation"]) == (200, "max")
    asked = monitor.asked[0].data
    assert asked.labels == {"service": "gateway", "region": "a=b"}
    assert (asked.step_seconds, asked.until) == (30, None)
    names = await (await get(world, "metrics")).json()
    assert names == {"metrics": []}


async def test_a_metrics_query_without_a_begin_covers_an_hour(
    world: World, monitor: Monitor
) -> None:
    await get(world, "metrics?name=up&until=2026-11-24T12:00:00Z")
    assert monitor.asked[0].data.since == datetime(2026, 11, 24, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("metrics?name=no%20name", "/query/name"),
        ("metrics?name=up&label=x", "/query/label/0"),
        ("metrics?name=up&step_seconds=0", "/query/step_seconds"),
        ("metrics?name=up&step_seconds=1e-9", "/query/step_seconds"),
        ("metrics?name=up&label=service=%00", "/query/label"),
        ("metrics?name=up&since=now", "/query/since"),
        ("alerts?rule=%00", "/query/rule"),
        ("alerts?cursor=a%00", "/query/cursor"),
        ("asset-metrics?region=%00", "/query/region"),
        ("alerts?limit=501", "/query/limit"),
        ("asset-metrics?region=" + "x" * 33, "/query/region"),
        ("asset-metrics?colour=red", "/query/colour"),
    ],
)
async def test_bad_queries_are_told_which_parameter(world: World, path: str, pointer: str) -> None:
    assert pointers(await problem(await get(world, path), 422, "invalid_input")) == [pointer]


async def test_alerts_are_asked_for_the_tenant_of_the_key(world: World, monitor: Monitor) -> None:
    response = await get(world, "alerts?state=firing&level=critical&limit=5")
    assert response.status == 200
    asked = monitor.asked[0]
    assert (asked.tenant, asked.data.state, asked.data.limit) == ("acme", "firing", 5)


async def test_an_alert_that_is_not_there_is_a_problem(world: World, monitor: Monitor) -> None:
    for alert_id in ("nonsense", "0199d8f2-0000-7000-8000-000000000001"):
        await problem(await get(world, f"alerts/{alert_id}"), 404, "alert_not_found")


async def test_a_trace_of_another_tenant_is_not_there(world: World, monitor: Monitor) -> None:
    path = f"traces/{'ab' * 16}"
    assert (await get(world, path)).status == 200
    assert (await get(world, path.upper().replace("TRACES", "traces"))).status == 200
    monitor.owners = ("globex", None, PLATFORM_TENANT)
    await problem(await get(world, path), 404, "trace_not_found")
    await problem(await get(world, "traces/nonsense"), 404, "trace_not_found")


async def test_spans_of_others_are_left_out_of_a_trace_and_do_not_hide_it(
    world: World, monitor: Monitor
) -> None:
    monitor.owners = ("globex", "acme", None, PLATFORM_TENANT, "_other")
    found = await (await get(world, f"traces/{'ab' * 16}")).json()
    owners = [span["attributes"].get("lineshaft.tenant") for span in found["spans"]]
    assert owners == ["acme", None, PLATFORM_TENANT]


async def test_a_metrics_query_that_ends_at_the_begin_of_time_begins_there(
    world: World, monitor: Monitor
) -> None:
    response = await get(world, "metrics?name=up&until=0001-01-01T00:00:00Z")
    assert response.status == 200
    assert monitor.asked[0].data.since == datetime(1, 1, 1, tzinfo=UTC)


async def test_a_path_with_a_nul_character_leads_nowhere(world: World, monitor: Monitor) -> None:
    del monitor
    for path in (
        "/api/jobs/0199d8f2-0000-7000-8000-000000000001/artifacts/a%00",
        "/api/jobs/%00",
        "/api/system/traces/%00",
    ):
        response = await world.client.get(URL(path, encoded=True), headers=world.key())
        await problem(response, 404, "not_found")
    response = await world.client.delete(URL("/api/keys/%00", encoded=True), headers=world.key())
    await problem(response, 404, "not_found")


async def test_identical_reads_under_way_share_one_answer() -> None:
    asked = 0
    release = asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await release.wait()
        return asked

    coalescer = Coalescer()
    waiting = [asyncio.create_task(coalescer.get("same", ask)) for _ in range(10)]
    other = asyncio.create_task(coalescer.get("other", ask))
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    release.set()
    answers_ = await asyncio.gather(*waiting[1:], other)
    assert asked == 2
    assert set(answers_[:-1]) == {2}
    assert await coalescer.get("same", ask) == 3


class Edges:
    """Regions that answer purges."""

    def __init__(self) -> None:
        self.purges: list[PurgeAssets] = []

    def of(self, region: str) -> Any:
        async def purge(command: Envelope[PurgeAssets]) -> PurgeAcknowledged:
            self.purges.append(command.data)
            assert command.tenant == PLATFORM_TENANT
            return PurgeAcknowledged(
                purge_id=command.data.purge_id,
                region=region,
                url=command.data.url,
                removed=3,
                milliseconds=1.5,
            )

        return answers(PurgeAssets, purge)


async def purge(world: World, body: Any) -> Any:
    return await world.client.post("/api/system/cdn-purges", json=body, headers=world.key())


async def test_a_purge_reports_every_region(world: World) -> None:
    edges = Edges()
    for region, queue in topology.EDGES.items():
        await world.stack.enter_async_context(world.bus.serve(queue, edges.of(region)))
    response = await purge(world, {"url": "https://cdn.example/app.js?v=1"})
    body = await response.json()
    assert (response.status, body["missing"]) == (200, [])
    assert [one["region"] for one in body["regions"]] == sorted(topology.REGIONS)
    assert body["regions"][0] == {"region": "ap-southeast", "removed": 3, "milliseconds": 1.5}
    assert {str(one.purge_id) for one in edges.purges} == {body["purge_id"]}


@pytest.mark.parametrize(
    ("body", "scope", "url", "soft"),
    [
        ({"url": "/a"}, "url", "/a", False),
        ({"prefix": "/static/"}, "prefix", "/static/", False),
        ({"everything": True}, "everything", "/", False),
        ({"url": "/a", "hard": False}, "url", "/a", True),
    ],
)
async def test_a_purge_says_what_to_drop(
    world: World, body: Any, scope: str, url: str, *, soft: bool
) -> None:
    edges = Edges()
    region = "us-east"
    async with world.bus.serve(topology.EDGES[region], edges.of(region)):
        response = await purge(world, body)
    answer = await response.json()
    assert response.status == 202
    assert set(answer["missing"]) == set(topology.REGIONS) - {region}
    (command,) = edges.purges
    assert (command.scope, command.url, command.soft) == (scope, url, soft)


async def test_regions_that_are_away_purge_when_they_return(world: World) -> None:
    response = await purge(world, {"everything": True})
    assert (response.status, (await response.json())["regions"]) == (202, [])
    assert all(len(world.bus.waiting(queue)) == 1 for queue in topology.EDGES.values())


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"url": "/a", "prefix": "/b"}, ""),
        ({"url": "/a", "everything": True}, ""),
        ({"url": "no-path"}, "/url"),
        ({"url": "ftp://x/"}, "/url"),
        ({"url": "/a b"}, "/url"),
        ({"url": "/" + "x" * 9000}, "/url"),
        ({"url": "/a\0"}, "/url"),
        ({"everything": "yes"}, "/everything"),
        ({"url": "/a", "hard": 1}, "/hard"),
    ],
)
async def test_a_bad_purge_is_told_where_it_is_wrong(
    world: World, body: Any, pointer: str
) -> None:
    told = await problem(await purge(world, body), 422, "invalid_input")
    assert pointer in pointers(told)
    assert world.bus.published == []


async def test_a_purge_that_the_broker_does_not_have_is_refused(world: World) -> None:
    world.bus.unavailable = True
    await problem(await purge(world, {"everything": True}), 503, "broker_unavailable")
