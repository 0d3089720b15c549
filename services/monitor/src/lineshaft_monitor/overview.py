"""Answers about health and load, from what is in memory."""

from collections import Counter as Tally
from collections.abc import Iterable
from datetime import datetime, timedelta

from lineshaft_contracts.envelope import PLATFORM_TENANT, Envelope
from lineshaft_contracts.monitoring import (
    LINES_MAX,
    EdgeLoad,
    GetHealth,
    GetMonitoring,
    HealthFound,
    HealthStatus,
    JobLoad,
    Latency,
    LineOutput,
    MachineLoad,
    MonitoringFound,
    QueueLoad,
    RequestLoad,
    ServiceLoad,
    ServiceState,
)
from lineshaft_contracts.topology import TOPOLOGY

from lineshaft_monitor import derived
from lineshaft_monitor.alert_keeper import AlertKeeper
from lineshaft_monitor.components import Component
from lineshaft_monitor.edge_overview import EdgeOverview
from lineshaft_monitor.intake import Clock, utc_now
from lineshaft_monitor.plant_signals import UNITS, Line, PlantSignals
from lineshaft_monitor.presence import ALIVE, Presence, Process
from lineshaft_monitor.samples.latest import Latest
from lineshaft_monitor.samples.series import labels_of
from lineshaft_monitor.watch import OWN


class Overview:
    """Answers at once: nothing here waits for anything."""

    def __init__(
        self,
        *,
        presence: Presence,
        broker: Component,
        database: Component,
        latest: Latest,
        keeper: AlertKeeper,
        plant: PlantSignals,
        edges: EdgeOverview,
        clock: Clock = utc_now,
    ) -> None:
        self._presence = presence
        self._broker = broker
        self._database = database
        self._latest = latest
        self._keeper = keeper
        self._plant = plant
        self._edges = edges
        self._clock = clock
        self._started_at = clock()

    async def get_health(self, _: Envelope[GetHealth]) -> HealthFound:
        """Answer GetHealth."""
        return HealthFound(
            status=self._status(),
            at=self._clock(),
            services=tuple(process.health() for process in self._presence),
            rabbitmq=self._broker.health,
            postgres=self._database.health,
        )

    async def get_monitoring(self, question: Envelope[GetMonitoring]) -> MonitoringFound:
        """Answer GetMonitoring."""
        tenant = question.tenant
        now = self._clock()
        processes = list(self._presence)
        known = [p for p in processes if p.uptime_ratio is not None]
        up, down = sum(p.up_seconds for p in known), sum(p.down_seconds for p in known)
        return MonitoringFound(
            at=now,
            status=self._status(),
            monitor_uptime_seconds=(now - self._started_at) / timedelta(seconds=1),
            uptime_ratio=up / (up + down) if known else None,
            services=dict(Tally(process.state.value for process in processes)),
            machine=self._machine(),
            processes=tuple(self._process(process, now) for process in processes),
            gateway=self._gateway(),
            jobs=self._jobs(),
            plant_events_per_second=self._latest.rate(OWN, ("plant_events_received_total", ())),
            queues=tuple(self._queues()),
            edges=tuple(self._edge(region) for region in self._edges.regions()),
            lines=tuple(
                self._line(line)
                for line in self._plant.lines(
                    None if tenant == PLATFORM_TENANT else tenant, limit=LINES_MAX
                )
            ),
            alerts=self._keeper.firing(tenant),
        )

    def _status(self) -> HealthStatus:
        if not (self._broker.works and self._database.works):
            return HealthStatus.FAIL
        services: dict[tuple[str, str | None], set[ServiceState]] = {}
        for process in self._presence:
            services.setdefault((process.service, process.region), set()).add(process.state)
        lost = [
            states
            for states in services.values()
            if not states & ALIVE and ServiceState.DOWN in states
        ]
        if lost:
            return HealthStatus.FAIL
        fine = all(states <= {ServiceState.UP} for states in services.values())
        return HealthStatus.PASS if fine and services else HealthStatus.WARN

    def _machine(self) -> MachineLoad:
        def value(name: str) -> float | None:
            return self._latest.value("machine", f"machine_{name}")

        def rate(name: str) -> float | None:
            return self._latest.rate("machine", (f"machine_{name}", ()))

        return MachineLoad(
            cpu_ratio=value("cpu_ratio"),
            memory_used_bytes=value("memory_used_bytes"),
            memory_total_bytes=value("memory_total_bytes"),
            disk_used_bytes=value("disk_used_bytes"),
            disk_total_bytes=value("disk_total_bytes"),
            network_received_bytes_per_second=rate("network_received_bytes_total"),
            network_sent_bytes_per_second=rate("network_sent_bytes_total"),
        )

    def _process(self, process: Process, now: datetime) -> ServiceLoad:
        def value(name: str) -> float | None:
            return self._latest.value(process.source, name, **process.labels)

        started = value("process_start_time_seconds")
        return ServiceLoad(
            service=process.service,
            instance=process.instance,
            region=process.region,
            state=process.state,
            resident_bytes=value("process_resident_memory_bytes"),
            cpu_ratio=derived.cpu_ratio(self._latest, process.source),
            event_loop_lag_seconds=value("lineshaft_event_loop_lag_seconds"),
            uptime_seconds=None if started is None else max(0.0, now.timestamp() - started),
        )

    def _gateway(self) -> RequestLoad:
        sources = [process.source for process in self._presence.of("gateway")]
        rates = [derived.request_rate(self._latest, source) for source in sources]
        errors = [derived.error_ratio(self._latest, source) for source in sources]
        return RequestLoad(
            requests_per_second=_sum(rates),
            error_ratio=_worst(errors),
            seconds=self._request_seconds(sources),
        )

    def _request_seconds(self, sources: Iterable[str]) -> Latency:
        """Return the quantiles of the route and status that was asked for most."""
        busiest: tuple[float, str, dict[str, str]] | None = None
        for source in sources:
            for labels, count in self._latest.named(source, derived.REQUESTS):
                if busiest is None or count > busiest[0]:
                    busiest = (count, source, labels)
        if busiest is None:
            return Latency()
        _, source, labels = busiest
        p50, p95, p99 = (
            self._latest.value(source, f"{derived.REQUEST_SECONDS}_{quantile}", **labels)
            for quantile in ("p50", "p95", "p99")
        )
        return Latency(p50=p50, p95=p95, p99=p99)

    def _jobs(self) -> JobLoad:
        active: dict[str, float] = {}
        ended: dict[str, float] = {}
        for process in self._presence.of("job-runner"):
            for _, running in self._latest.named(process.source, "lineshaft_jobs_running"):
                active["running"] = active.get("running", 0.0) + running
            for outcome, rate in derived.jobs_per_second(self._latest, process.source).items():
                ended[outcome] = ended.get(outcome, 0.0) + rate * 60
        return JobLoad(
            active=active, ended_per_minute=ended, failure_ratio=derived.failure_ratio(ended)
        )

    def _queues(self) -> Iterable[QueueLoad]:
        read = {
            labels["queue"]: (messages, labels)
            for labels, messages in self._latest.named("rabbitmq", "lineshaft_queue_messages")
        }
        for queue in TOPOLOGY.queues:
            messages, labels = read.get(queue.name, (None, {"queue": queue.name}))
            consumers = self._latest.value("rabbitmq", "lineshaft_queue_consumers", **labels)
            yield QueueLoad(name=queue.name, messages=messages, consumers=consumers)

    def _edge(self, region: str) -> EdgeLoad:
        process, book = self._edges.process(region), self._edges.book(region)
        return EdgeLoad(
            region=region,
            state=process.state if process else ServiceState.UNKNOWN,
            hit_ratio=book.hit_ratio if book else None,
            requests_per_second=book.requests_per_second if book else None,
        )

    def _line(self, line: Line) -> LineOutput:
        key = labels_of({"tenant": line.tenant, "line": line.name, "fate": "good"})
        rate = self._latest.rate(OWN, (UNITS, key))
        return LineOutput(
            tenant=line.tenant,
            line=line.name,
            good=float(line.amounts["good"]),
            scrap=float(line.amounts["scrap"]),
            rework=float(line.amounts["rework"]),
            throughput_per_minute=None if rate is None else rate * 60,
            equipment_down=self._plant.down_count(line),
        )


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
