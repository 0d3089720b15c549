"""What every service process says about itself at each interval, and traces on request."""

from typing import Any

from pydantic import Field

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Value
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import MONITOR_QUERIES, TELEMETRY


class Sample(Value):
    """One number with its labels; histograms are sent as _count, _sum and quantile gauges."""

    name: str
    labels: dict[str, str] = Field(default_factory=dict)
    value: float


@message(
    "lineshaft.telemetry.service-reported.v1",
    kind=Kind.EVENT,
    owner="any",
    exchange=TELEMETRY,
    durable=False,
)
class ServiceReported(Message):
    """A process is alive, this ready and this busy. Sent at once at start, then each interval."""

    service: str
    instance: str
    version: str
    region: str | None = None
    """Of a cdn-edge."""
    ready: bool
    checks: dict[str, str] = Field(default_factory=dict)
    """Readiness by dependency: `pass`, or what is wrong."""
    interval_seconds: float
    """When to expect the next report."""
    stopping: bool = False
    """Whether this is the last one before a clean stop."""
    samples: tuple[Sample, ...]

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return `<service>.<instance>`."""
        return f"{self.service}.{self.instance}"


class SpanView(Value):
    """A span as a line of a trace's tree."""

    span_id: str
    parent_id: str | None
    service: str
    name: str
    kind: str
    started_at: Moment
    seconds: float
    status: str
    """unset, ok or error."""
    attributes: dict[str, str] = Field(default_factory=dict)


@message("lineshaft.telemetry.trace.v1", kind=Kind.REPLY, owner="monitor")
class TraceFound(Message):
    """Answer to GetTrace; spans in start order."""

    trace_id: str
    spans: tuple[SpanView, ...]


@message(
    "lineshaft.telemetry.get-trace.v1",
    kind=Kind.QUERY,
    owner="monitor",
    exchange=MONITOR_QUERIES,
    durable=False,
)
class GetTrace(Asking[TraceFound]):
    """All spans of a trace; problem `trace_not_found` when none is kept."""

    trace_id: str

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """All questions to the monitor travel through one queue."""
        return "query"
