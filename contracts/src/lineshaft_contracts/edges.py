"""Questions to the monitor about the edge regions and what they serve."""

from typing import Annotated, Any

from pydantic import Field

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Value
from lineshaft_contracts.monitoring import HealthStatus, Latency, ServiceState
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import MONITOR_QUERIES


class _EdgeQuery:
    """What the queries of this module share."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """All questions to the monitor travel through one queue."""
        return "query"


class OriginHealth(Value):
    """What an edge sees of its origin."""

    reachable: bool
    requests: int
    """Since the edge started."""
    errors: dict[str, int]
    """By reason, since the edge started."""


class RegionStatus(Value):
    """One edge region."""

    region: str
    state: ServiceState
    since: Moment | None
    """When it came into this state; None for a region that was never heard of."""
    version: str | None = None
    instance: str | None = None
    last_report_at: Moment | None = None
    lag_seconds: float | None = None
    """Age of the last report, of which the figures below are."""
    hit_ratio: float | None = None
    """Served without waiting for the origin, among all but bypassed requests of the interval."""
    requests_per_second: float | None = None
    cache_used_bytes: int | None = None
    cache_bytes_max: int | None = None
    cached_responses: int | None = None
    evictions: int | None = None
    origin: OriginHealth | None = None
    purges: int | None = None
    last_purge_id: str | None = None


@message("lineshaft.monitoring.cdn-status.v1", kind=Kind.REPLY, owner="monitor")
class CdnStatusFound(Message):
    """Answer to GetCdnStatus; every region of the installation, heard of or not."""

    at: Moment
    status: HealthStatus
    regions: tuple[RegionStatus, ...]


@message(
    "lineshaft.monitoring.get-cdn-status.v1",
    kind=Kind.QUERY,
    owner="monitor",
    exchange=MONITOR_QUERIES,
    durable=False,
)
class GetCdnStatus(_EdgeQuery, Asking[CdnStatusFound]):
    """How each edge region is doing."""


class AssetTraffic(Value):
    """Requests for one class of asset in one region, counted since the edge started."""

    region: str
    asset_class: str
    requests: int
    hits: int
    """Fresh from memory."""
    stale: int
    """Stale from memory, as the origin's directives allow."""
    revalidated: int
    """From memory after the origin confirmed it."""
    misses: int
    bypassed: int
    errors: int
    hit_ratio: float | None
    """(hits + stale + revalidated) / (requests - bypassed); None without requests."""
    client_bytes: int
    origin_bytes: int
    saved_bytes: int
    """By compression."""
    first_byte_seconds: Latency
    total_seconds: Latency
    """Both over the edge's last interval."""


@message("lineshaft.monitoring.asset-metrics.v1", kind=Kind.REPLY, owner="monitor")
class AssetMetricsFound(Message):
    """Answer to GetAssetMetrics, by region and class."""

    at: Moment
    traffic: tuple[AssetTraffic, ...]
    totals: tuple[AssetTraffic, ...]
    """By class over all regions (`region` is `*`); the worst region's quantiles."""


@message(
    "lineshaft.monitoring.get-asset-metrics.v1",
    kind=Kind.QUERY,
    owner="monitor",
    exchange=MONITOR_QUERIES,
    durable=False,
)
class GetAssetMetrics(_EdgeQuery, Asking[AssetMetricsFound]):
    """What the edges serve, by class of asset; of one region or of all."""

    region: Annotated[str, Field(max_length=32)] | None = None
    asset_class: Annotated[str, Field(max_length=32)] | None = None
