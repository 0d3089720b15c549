"""The whole monitor as a process, between a real broker and a real database."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from lineshaft_common import messaging
from lineshaft_common.messaging import Bus, Delivery
from lineshaft_contracts.alerts import AlertEvent, AlertState, GetAlert, ListAlerts
from lineshaft_contracts.edges import GetCdnStatus
from lineshaft_contracts.envelope import PLATFORM_TENANT, Asking, Message, envelop
from lineshaft_contracts.monitoring import (
    Aggregation,
    GetHealth,
    GetMonitoring,
    ListMetrics,
    QueryMetrics,
    ServiceState,
)
from lineshaft_contracts.problems import ProblemError
from lineshaft_contracts.resource import EquipmentState, StateChanged
from lineshaft_contracts.telemetry import GetTrace, Sample, ServiceReported
from lineshaft_contracts.topology import ALERTS, Binding, Queue
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

pytestmark = pytest.mark.integration

R = TypeVar("R", bound=Message)
T = TypeVar("T")

TAPPED = Queue(name="test.alerts", type="classic", bindings=(Binding(exchange=ALERTS),))
PRESS = "/acme/north/stamping/line-1/press-1"
SERVICE = "press-controller"
DEADLINE_SECONDS = 60.0


class Process:
    """`python -m lineshaft_monitor`, with what it says kept for when a test fails."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self.url = f"http://127.0.0.1:{environment['LINESHAFT_HTTP_PORT']}"

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "lineshaft_monitor"),
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        await until(self._ready)

    async def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, self._log.read_text()
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self.url}/readyz") as r:
                return r.status == 200
        except aiohttp.ClientError:
            return False

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._process.wait()


async def until(true: Callable[[], Awaitable[T]]) -> T:
    """Wait for something to become true, and return it."""
    ends = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = await true()
        if found:
            return found
        assert time.monotonic() < ends, "it did not become true in time"
        await asyncio.sleep(0.05)


class Plant:
    """What the tests do from outside."""

    def __init__(self, bus: Bus, monitor: Process) -> None:
        self.bus = bus
        self.monitor = monitor
        self.events: list[tuple[float, Any]] = []

    async def on_alerts(self, deliveries: list[Delivery[Any]]) -> None:
        self.events += [(time.monotonic(), d.envelope) for d in deliveries]

    def about(self, rule: str, **labels: str) -> list[AlertEvent]:
        """List the events about a rule; what was sent twice under one id is one event."""
        unique = {envelope.id: envelope.data for _, envelope in self.events}
        return [
            event
            for event in unique.values()
            if event.rule == rule and labels.items() <= event.labels.items()
        ]

    async def ask(self, question: Asking[R], tenant: str = "acme") -> R:
        return await self.bus.ask(
            question, tenant=tenant, source="/services/gateway", deadline_seconds=30
        )

    async def equipment(self, state: EquipmentState) -> None:
        event = envelop(StateChanged(state=state), source=PRESS, tenant="acme")
        await self.bus.publish(event)

    async def report(self, *, interval: float = 1, stopping: bool = False, **extra: float) -> None:
        report = ServiceReported(
            service=SERVICE,
            instance="one",
            version="1.2.3",
            ready=True,
            interval_seconds=interval,
            stopping=stopping,
            samples=tuple(Sample(name=n, value=v) for n, v in extra.items()),
        )
        await self.bus.publish(
            envelop(report, source=f"/services/{SERVICE}", tenant=PLATFORM_TENANT)
        )

    async def health_of(self, service: str) -> ServiceState | None:
        health = await self.ask(GetHealth())
        return next((s.state for s in health.services if s.service == service), None)


@pytest.fixture
async def plant(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[Plant]:
    environment = {
        "LINESHAFT_AMQP_URL": fresh_amqp_url,
        "LINESHAFT_POSTGRES_URL": postgres_url,
        "LINESHAFT_HTTP_PORT": str(unused_tcp_port),
        "LINESHAFT_INSTANCE": "tested",
        "LINESHAFT_METRICS_INTERVAL_SECONDS": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{unused_tcp_port}",
    }
    monitor = Process(environment, tmp_path / "monitor.log")
    async with connected(fresh_amqp_url, monitor) as plant:
        await monitor.start()
        try:
            yield plant
        finally:
            assert await monitor.stop() in {0, -9}


@asynccontextmanager
async def connected(url: str, monitor: Process) -> AsyncGenerator[Plant]:
    async with messaging.connect(url, name="test") as bus:
        plant = Plant(bus, monitor)
        async with bus.subscribe_batch(TAPPED, plant.on_alerts):  # type: ignore[arg-type]
            yield plant


async def test_a_report_is_stored_and_can_be_asked_for(plant: Plant) -> None:
    for number in range(3):
        await plant.report(interval=60, pressure_bar=10.0 + number, strokes_total=100.0 * number)
        await asyncio.sleep(0.01)  # Two reports at one instant are one.

    async def health() -> bool:
        return await plant.health_of(SERVICE) is ServiceState.UP

    await until(health)
    query = QueryMetrics(
        name="pressure_bar",
        labels={"service": SERVICE},
        since=datetime.now(UTC) - timedelta(minutes=5),
        step_seconds=600,
        aggregation=Aggregation.MAX,
    )

    async def stored() -> list[float | None] | None:
        try:
            found = await plant.ask(query)
        except ProblemError as error:
            return None if error.problem.code == "metric_not_found" else [-1.0]
        return list(found.series[0].values) if found.series else None

    assert await until(stored) == [12.0]

    async def collected() -> bool:
        names = {info.name for info in (await plant.ask(ListMetrics())).metrics}
        return {"machine_cpu_ratio", "postgres_connections", "lineshaft_queue_messages"} <= names

    await until(collected)
    hours_ago = datetime.now(UTC) - timedelta(hours=5)
    with pytest.raises(ProblemError, match="range_too_fine"):
        await plant.ask(query.model_copy(update={"step_seconds": 1, "since": hours_ago}))


async def test_one_answer_holds_what_a_dashboard_shows(plant: Plant) -> None:
    async def complete() -> Any:
        found = await plant.ask(GetMonitoring())
        queues_read = all(queue.messages is not None for queue in found.queues)
        own = [p for p in found.processes if p.service == "monitor" and p.cpu_ratio is not None]
        return found if queues_read and own and found.machine.cpu_ratio is not None else None

    found = await until(complete)
    assert found.status == "pass"
    assert found.services == {"up": 1}
    assert found.processes[0].resident_bytes > 10e6
    assert found.alerts == {"info": 0, "warning": 0, "error": 0, "critical": 0}
    regions = await plant.ask(GetCdnStatus())
    assert {region.state for region in regions.regions} == {ServiceState.UNKNOWN}


async def test_equipment_that_goes_down_is_an_alert_at_once(plant: Plant) -> None:
    began = time.monotonic()
    await plant.equipment(EquipmentState.DOWN)

    async def seen(count: int) -> bool:
        return len(plant.about("equipment-down")) >= count

    await until(lambda: seen(1))
    assert plant.events[0][0] - began < 15
    await plant.equipment(EquipmentState.RUNNING)
    await until(lambda: seen(2))
    raised, resolved = plant.about("equipment-down")
    assert [e.key for _, e in plant.events] == ["acme.warning.raised", "acme.warning.resolved"]
    assert raised.labels == {"tenant": "acme", "equipment": PRESS}
    assert resolved.model_dump()["reason"] == "value 0 < 1 for 0 s"
    page = await plant.ask(ListAlerts(state=AlertState.RESOLVED))
    assert [alert.id for alert in page.alerts] == [raised.alert_id]
    found = await plant.ask(GetAlert(alert_id=raised.alert_id))
    assert [change.event for change in found.history] == ["raised", "resolved"]
    with pytest.raises(ProblemError, match="alert_not_found"):
        await plant.ask(GetAlert(alert_id=raised.alert_id), tenant="other")


async def test_a_killed_monitor_loses_no_alert_and_sends_none_twice(plant: Plant) -> None:
    async def seen(count: int) -> bool:
        return len(plant.about("equipment-down")) >= count

    state = {0: EquipmentState.DOWN, 1: EquipmentState.RUNNING}
    for number in range(6):
        await plant.equipment(state[number % 2])
        # Each time the kill hits another moment: before, in or after the transaction.
        await asyncio.sleep(0.004 * number)
        await plant.monitor.kill()
        await plant.monitor.start()
        await until(lambda count=number + 1: seen(count))
    events = plant.about("equipment-down")
    assert [(e.type.split(".")[2], e.sequence) for e in events] == [
        ("raised", 1),
        ("resolved", 2),
    ] * 3, [(e.id, e.type, e.data.sequence, e.data.alert_id) for _, e in plant.events]
    assert len({e.alert_id for e in events}) == 3


async def test_a_process_that_falls_silent_is_down_and_one_that_says_goodbye_is_not(
    plant: Plant,
) -> None:
    await plant.report(interval=0.5)

    async def seen(count: int) -> bool:
        return len(plant.about("service-down", service=SERVICE)) >= count

    await until(lambda: seen(1))
    assert await plant.health_of(SERVICE) is ServiceState.DOWN
    assert (await plant.ask(GetHealth())).status == "fail"
    await plant.report(interval=0.5, stopping=True)
    await until(lambda: seen(2))
    assert await plant.health_of(SERVICE) is ServiceState.STOPPED
    raised, resolved = plant.about("service-down", service=SERVICE)
    assert raised.level == "error"
    assert resolved.alert_id == raised.alert_id


async def test_a_trace_that_was_exported_can_be_asked_for(plant: Plant) -> None:
    provider = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=f"{plant.monitor.url}/v1/traces", timeout=5)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    def work() -> str:
        with tracer.start_as_current_span("outer") as outer, tracer.start_as_current_span("inner"):
            return f"{outer.get_span_context().trace_id:032x}"

    trace_id = await asyncio.to_thread(work)
    trace = await plant.ask(GetTrace(trace_id=trace_id))
    assert [span.name for span in trace.spans] == ["outer", "inner"]
    assert trace.spans[1].parent_id == trace.spans[0].span_id
    with pytest.raises(ProblemError, match="trace_not_found"):
        await plant.ask(GetTrace(trace_id="f" * 32))


async def test_its_metrics_are_exposed(plant: Plant) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{plant.monitor.url}/metrics") as answer,
    ):
        text = await answer.text()
    assert "lineshaft_monitor_rows_total" in text
    assert "process_resident_memory_bytes" in text
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{plant.monitor.url}/healthz") as answer,
    ):
        assert json.loads(await answer.text()) == {"status": "pass"}
