"""Questions to the monitor about health, load and stored metrics; see edges.py for the edge."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Value
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import MONITOR_QUERIES

POINTS_MAX = 2_000
SERIES_MAX = 500
LINES_MAX = 500

MetricName = Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]{0,199}$")]


class HealthStatus(StrEnum):
    """The words of `application/health+json` (draft-inadarei-api-health-check)."""

    PASS = "pass"  # noqa: S105 - a word of the draft, not a password.
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "HealthStatus":
        return cls.UNKNOWN


class ServiceState(StrEnum):
    """What the monitor knows of a process by its reports."""

    UP = "up"
    DEGRADED = "degraded"
    """Alive, and says itself that it cannot do all of its work."""
    DOWN = "down"
    """Two reports in a row are missing."""
    STOPPED = "stopped"
    """It said goodbye: no outage."""
    UNKNOWN = "unknown"
    """The monitor has heard nothing since it started, or cannot hear anybody."""

    @classmethod
    def _missing_(cls, value: object) -> "ServiceState":
        return cls.UNKNOWN


class Latency(Value):
    """Quantiles of a duration in seconds; None when nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class ServiceHealth(Value):
    """One process of a service."""

    service: str
    instance: str
    region: str | None = None
    version: str
    state: ServiceState
    since: Moment
    """When it came into this state."""
    last_report_at: Moment | None
    checks: dict[str, str] = Field(default_factory=dict)
    """Readiness by dependency as of the last report: `pass`, or what is wrong."""
    uptime_ratio: float | None = None
    """Share of the known time that it was up or degraded, 0 to 1; never known time left out."""


class ComponentHealth(Value):
    """A server that the services stand on, as the monitor reaches it."""

    status: HealthStatus
    since: Moment
    detail: str = ""
    """What is wrong; empty when nothing is."""
    round_trip_seconds: float | None = None


class _MonitorQuery:
    """What the queries of this module share."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """All questions to the monitor travel through one queue."""
        return "query"


def _query(name: str) -> Any:
    type_, exchange = f"lineshaft.monitoring.{name}.v1", MONITOR_QUERIES
    return message(type_, kind=Kind.QUERY, owner="monitor", exchange=exchange, durable=False)


def _reply(name: str) -> Any:
    return message(f"lineshaft.monitoring.{name}.v1", kind=Kind.REPLY, owner="monitor")


@_reply("health")
class HealthFound(Message):
    """Answer to GetHealth."""

    status: HealthStatus
    """fail: a service has no process that works, or a server is away; warn: less than all is
    well; pass otherwise."""
    at: Moment
    services: tuple[ServiceHealth, ...]
    rabbitmq: ComponentHealth
    postgres: ComponentHealth


@_query("get-health")
class GetHealth(_MonitorQuery, Asking[HealthFound]):
    """Whether the system works, process by process."""


class MachineLoad(Value):
    """The machine (or, inside a container, its limits) at the last collection; None: not read."""

    cpu_ratio: float | None = None
    """Of all cores, 0 to 1."""
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    disk_used_bytes: float | None = None
    disk_total_bytes: float | None = None
    network_received_bytes_per_second: float | None = None
    network_sent_bytes_per_second: float | None = None


class ServiceLoad(Value):
    """What one process uses, by its last report."""

    service: str
    instance: str
    region: str | None = None
    state: ServiceState
    resident_bytes: float | None = None
    cpu_ratio: float | None = None
    """Of one core, over the last interval."""
    event_loop_lag_seconds: float | None = None
    uptime_seconds: float | None = None


class RequestLoad(Value):
    """HTTP requests over the last interval."""

    requests_per_second: float | None = None
    error_ratio: float | None = None
    """Answers with status 5xx, 0 to 1; None without requests."""
    seconds: Latency = Latency()
    """Of the busiest route and status, since the process started."""


class JobLoad(Value):
    """Jobs of all tenants."""

    active: dict[str, float] = Field(default_factory=dict)
    """Jobs now, by state: `running`; empty when the job-runner does not say."""
    ended_per_minute: dict[str, float] = Field(default_factory=dict)
    """Attempts that ended in the last interval, by the job's state after them."""
    failure_ratio: float | None = None
    """failed + quarantined among those that ended; None when none ended."""


class QueueLoad(Value):
    """One queue of the broker; None: not read."""

    name: str
    messages: float | None
    consumers: float | None


class EdgeLoad(Value):
    """One edge region in short; see GetCdnStatus."""

    region: str
    state: ServiceState
    hit_ratio: float | None = None
    requests_per_second: float | None = None


class LineOutput(Value):
    """What one production line made since the monitor started."""

    tenant: str
    line: str
    """`site/area/workcenter`."""
    good: float
    scrap: float
    rework: float
    throughput_per_minute: float | None = None
    """Good pieces over the last interval."""
    equipment_down: int = 0


@_reply("monitoring")
class MonitoringFound(Message):
    """Answer to GetMonitoring."""

    at: Moment
    status: HealthStatus
    monitor_uptime_seconds: float
    uptime_ratio: float | None = None
    """Time-weighted over all processes; None when nothing is known yet."""
    services: dict[str, int]
    """Processes by state."""
    machine: MachineLoad
    processes: tuple[ServiceLoad, ...]
    gateway: RequestLoad
    jobs: JobLoad
    plant_events_per_second: float | None = None
    """As the monitor itself receives them."""
    queues: tuple[QueueLoad, ...]
    edges: tuple[EdgeLoad, ...]
    lines: tuple[LineOutput, ...]
    """Of the asking tenant, or of all when the platform asks; LINES_MAX at most."""
    alerts: dict[str, int]
    """Firing alerts by level."""


@_query("get-monitoring")
class GetMonitoring(_MonitorQuery, Asking[MonitoringFound]):
    """Everything that a dashboard shows at first sight."""


class Aggregation(StrEnum):
    """How the samples inside one step become one point."""

    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    LAST = "last"
    RATE = "rate"
    """Growth per second of a counter; a restart of the counter does not count as loss."""


class MetricSeries(Value):
    """One series on the answer's grid."""

    labels: dict[str, str]
    values: tuple[float | None, ...]
    """One for each of `times`; None where nothing was collected."""


@_reply("metrics")
class MetricsFound(Message):
    """Answer to QueryMetrics."""

    name: str
    aggregation: Aggregation
    step_seconds: float
    times: tuple[Moment, ...]
    """Begin of each step; the same for all series."""
    series: tuple[MetricSeries, ...]
    truncated: bool = False
    """Whether more than SERIES_MAX series match."""


@_query("query-metrics")
class QueryMetrics(_MonitorQuery, Asking[MetricsFound]):
    """Stored samples of one metric, on a grid of at most POINTS_MAX points.

    Problem `range_too_fine` when there would be more points or a step is below a second,
    `metric_not_found` for a name that was never collected, `range_out_of_reach` for years that
    cannot hold samples. Series of other tenants are not there, except for the platform.
    """

    name: MetricName
    labels: dict[str, str] = Field(default_factory=dict)
    """Series must have these; more labels may be there."""
    since: Moment
    until: Moment | None = None
    """Now, when left out."""
    step_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    aggregation: Aggregation = Aggregation.AVG


class MetricInfo(Value):
    """A metric that can be asked for."""

    name: str
    series: int
    label_names: tuple[str, ...]


@_reply("metric-list")
class MetricList(Message):
    """Answer to ListMetrics, by name."""

    metrics: tuple[MetricInfo, ...]


@_query("list-metrics")
class ListMetrics(_MonitorQuery, Asking[MetricList]):
    """The names of all stored metrics."""

    prefix: Annotated[str, Field(max_length=200)] = ""
