"""Journeys through the whole system, over its own doors."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp
import pytest
from lineshaft_contracts.envelope import uuid7

pytestmark = pytest.mark.integration

Span = dict[str, Any]

PRESS = "/acme/north/stamping/line-9/press-9"
TRACE = "5bf92f3577b34da6a3ce929d0e0e47"
REPORT = {
    "type": "report.generate",
    "parameters": {
        "source": "mes",
        "shift_start": "2026-01-05T06:00:00Z",
        "shift_end": "2026-01-05T14:00:00Z",
    },
}


class System(Protocol):
    """See conftest.py."""

    amqp_url: str

    def url(self, name: str) -> str: ...
    def client(self) -> Any: ...
    async def kill(self, name: str) -> None: ...


def event(type_: str, data: dict[str, Any], **attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid7()),
        "source": PRESS,
        "type": type_,
        "time": datetime.now(UTC).isoformat(),
        "tenant": "acme",
        "data": data,
        **attributes,
    }


def state_changed(state: str) -> dict[str, Any]:
    return event("plant.resource.state-changed.v1", {"state": state})


async def frame_with(frames: AsyncIterator[tuple[str, Any]], **wanted: Any) -> tuple[str, Any]:
    """The first frame whose event has these attributes."""
    async for last_id, received in frames:
        if all(received.get(name) == value for name, value in wanted.items()):
            return last_id, received
    pytest.fail(f"the stream ended before {wanted}")


async def test_a_job_from_its_submission_to_its_artifact(system: System) -> None:
    async with system.client() as client:
        status, accepted = await client.post("/api/jobs", REPORT, **{"Idempotency-Key": "j-1"})
        again, same = await client.post("/api/jobs", REPORT, **{"Idempotency-Key": "j-1"})
        job = await client.job_ends(accepted["id"])
        (artifact,) = job["artifacts"]
        path = f"/api/jobs/{job['id']}/artifacts/{artifact['name']}"
        async with client.session.get(path) as whole:
            content = await whole.read()
            tag = whole.headers["ETag"]
        async with client.session.get(path, headers={"Range": "bytes=0-3"}) as part:
            assert (part.status, await part.read()) == (206, b"%PDF")
        async with client.session.get(path, headers={"If-None-Match": tag}) as unchanged:
            assert unchanged.status == 304
        listed = await client.get("/api/jobs", type="report.generate", state="succeeded")
        stats = await client.get("/api/jobs-stats")
        types = await client.get("/api/job-types")
    assert (status, again) == (201, 200)
    assert same["id"] == accepted["id"]
    assert job["state"] == "succeeded"
    assert len(content) == artifact["bytes"]
    assert job["id"] in {line["id"] for line in listed["jobs"]}
    assert stats["counts"]["succeeded"] >= 1
    names = {t["name"] for t in types["job_types"]}
    assert {"report.generate", "data.export", "quality.analyze"} <= names


async def test_an_event_from_the_door_to_the_live_stream_and_after_a_break(
    system: System,
) -> None:
    first, missed = state_changed("idle"), state_changed("running")
    async with system.client() as client:
        async with client.stream() as frames:
            status, answer = await client.post("/api/events", first)
            last_id, received = await frame_with(frames, id=first["id"])
        await client.post("/api/events", missed)
        await client.post("/api/events", missed)  # A client that was not sure.
        async with client.stream(**{"Last-Event-ID": last_id}) as frames:
            _, resumed = await frame_with(frames, id=missed["id"])
            marker = state_changed("idle")
            await client.post("/api/events", marker)
            ids = [missed["id"]]
            async for _, later in frames:
                ids.append(later["id"])
                if later["id"] == marker["id"]:
                    break
    assert status == 202
    assert answer["accepted"] == 1
    assert received["data"]["state"] == "idle"
    assert received["recordedtime"]
    assert resumed["data"]["state"] == "running"
    assert ids.count(missed["id"]) == 1


async def test_an_alert_is_raised_and_resolves_itself(system: System) -> None:
    async with system.client() as client, client.stream() as frames:
        await client.post("/api/events", state_changed("down"))
        _, raised = await frame_with(frames, type="lineshaft.alerts.raised.v1")
        firing = await client.get("/api/system/alerts", state="firing")
        await client.post("/api/events", state_changed("running"))
        _, resolved = await frame_with(frames, type="lineshaft.alerts.resolved.v1")
    assert raised["data"]["rule"] == "equipment-down"
    assert raised["data"]["alert_id"] in {alert["id"] for alert in firing["alerts"]}
    assert resolved["data"]["alert_id"] == raised["data"]["alert_id"]
    assert resolved["data"]["reason"]


async def test_an_asset_is_cached_in_each_region_and_purged_in_all(system: System) -> None:
    path = "/assets/logo.svg"
    regions = ("us-east", "eu-west", "ap-southeast", "sa-east")
    async with system.client() as client, aiohttp.ClientSession() as visitor:

        async def fetch(region: str) -> str:
            async with visitor.get(system.url(f"cdn-edge-{region}") + path) as response:
                assert response.status == 200
                await response.read()
                return response.headers["Cache-Status"]

        for region in regions:
            await fetch(region)
            assert "; hit" in await fetch(region)
        status, purged = await client.post(
            "/api/system/cdn-purges", {"url": system.url("plant") + path}
        )
        after = [await fetch(region) for region in regions]
        state = await client.get("/api/system/cdn-status")
    assert status == 200
    assert {region["region"] for region in purged["regions"]} == set(regions)
    assert purged["missing"] == []
    assert not any("; hit" in cache_status for cache_status in after)
    assert {region["region"] for region in state["regions"]} == set(regions)


async def test_one_trace_from_the_callers_own_span_to_the_frame_on_the_stream(
    system: System,
) -> None:
    trace_id = TRACE + uuid7().hex[-2:]
    async with system.client() as client, client.stream() as frames:
        _, accepted = await client.post(
            "/api/jobs",
            {"type": "quality.analyze", "parameters": {"chart": "i-mr", "values": [1, 2, 3]}},
            traceparent=f"00-{trace_id}-00f067aa0ba902b7-01",
        )
        _, frame = await frame_with(
            frames, type="lineshaft.jobs.succeeded.v1", subject=accepted["id"]
        )

        async def exported() -> list[Span] | None:
            async with client.session.get(f"/api/system/traces/{trace_id}") as response:
                spans: list[Span] = []
                if response.status == 200:
                    spans = (await response.json())["spans"]
            ways = [way for span in spans if (way := way_to_a_frame(span, spans))]
            ran = any(span["name"] == "run quality.analyze" for span in spans)
            whole = [way for way in ways if {"job-runner", "event-router"} <= set(way)]
            return spans if ran and len(whole) >= 3 else None

        spans: list[Span] = await client.eventually("the trace is whole", exported)
    assert frame["traceparent"].split("-")[1] == trace_id
    assert {"gateway", "job-runner", "event-router"} <= {span["service"] for span in spans}
    (run,) = (span for span in spans if span["name"] == "run quality.analyze")
    assert run["service"] == "job-runner"
    for way in (way_to_a_frame(span, spans) for span in spans):
        assert not way or (way[0], way[-1]) == ("gateway", "gateway")


def way_to_a_frame(delivered: Span, spans: list[Span]) -> list[str]:
    """The services from a frame's span up to the request; empty for a span of something else."""
    by_id = {span["span_id"]: span for span in spans}
    services: list[str] = []
    span = delivered if delivered["name"] == "deliver events.log" else None
    while span is not None:
        services.append(span["service"])
        span = by_id.get(span["parent_id"])
    return services


async def test_all_system_reads_answer(system: System) -> None:
    async with system.client() as client:

        async def complete() -> Any:
            health = await client.get("/api/system/health")
            services = {service["service"] for service in health["services"]}
            return health if len(services) == 5 else None

        health = await client.eventually("all five services have reported", complete)
        monitoring = await client.get("/api/system/monitoring")
        assets = await client.get("/api/system/asset-metrics")
        names = await client.get("/api/system/metrics")
        document = await client.get("/api/openapi.json")
    assert health["rabbitmq"]["status"] == "pass"
    assert health["postgres"]["status"] == "pass"
    assert monitoring["machine"]
    assert assets
    assert names["metrics"]
    assert document["openapi"].startswith("3.1")


@pytest.mark.chaos
@pytest.mark.parametrize(
    "name", ["gateway", "job-runner", "event-router", "monitor", "cdn-edge-eu-west", "plant"]
)
async def test_a_killed_process_comes_back_and_nothing_accepted_is_lost(
    system: System, name: str
) -> None:
    before, *events = [state_changed("running") for _ in range(21)]
    work = {"type": "quality.analyze", "parameters": {"chart": "i-mr", "values": [1, 2, 3]}}
    async with system.client() as client:
        async with client.stream() as frames:
            await client.persistently("/api/events", before)
            last_id, _ = await frame_with(frames, id=before["id"])
        killing = asyncio.create_task(system.kill(name))
        jobs = [
            await client.persistently("/api/jobs", work, **{"Idempotency-Key": f"{name}-{number}"})
            for number in range(3)
        ]
        for sent in events:
            await client.persistently("/api/events", sent)
        await killing
        states = {(await client.job_ends(job["id"]))["state"] for job in jobs}
        missing = {sent["id"] for sent in events}
        async with client.stream(**{"Last-Event-ID": last_id}) as frames:
            async for _, received in frames:
                missing.discard(received["id"])
                if not missing:
                    break
    assert states == {"succeeded"}
    assert len({job["id"] for job in jobs}) == 3
    assert missing == set()
