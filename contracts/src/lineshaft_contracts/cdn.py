"""Purges of cached assets, and what each edge region measures."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Value
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import CDN_COMMANDS, CDN_EVENTS, TELEMETRY

URL_BYTES_MAX = 8_192


class PurgeScope(StrEnum):
    """What a purge covers; a value that this process does not know covers nothing."""

    URL = "url"
    """One URL in all its variants."""
    PREFIX = "prefix"
    """Every URL whose path begins with that of the URL given."""
    EVERYTHING = "everything"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "PurgeScope":
        return cls.UNKNOWN


@message("lineshaft.cdn.purge-reply.v1", kind=Kind.REPLY, owner="cdn-edge")
class PurgeAcknowledged(Message):
    """One region has purged: from now on it serves nothing older. Every region answers once."""

    purge_id: UUID
    region: str
    url: str
    removed: int
    """Stored responses dropped or, for a soft purge, marked stale; 0 when nothing was held."""
    milliseconds: float
    """Spent inside the region, from the command's arrival to the last response purged."""


@message("lineshaft.cdn.purge.v1", kind=Kind.COMMAND, owner="cdn-edge", exchange=CDN_COMMANDS)
class PurgeAssets(Asking[PurgeAcknowledged]):
    """Drop what the edges hold of a URL. Idempotent: a repeated purge finds nothing more.

    It travels to the queue of every region and waits there while a region is away; each
    region answers by itself, so whoever asks collects as many replies as there are regions.
    """

    purge_id: UUID
    url: Annotated[str, Field(max_length=URL_BYTES_MAX)] = "/"
    """Absolute, or a path with an optional query; edges that do not tell hosts apart ignore
    the host."""
    scope: PurgeScope = PurgeScope.URL
    soft: bool = False
    """Mark as stale instead: revalidated at the next use, still there if the origin is down."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return the same word for every purge: all regions are bound with it."""
        return "purge"


@message("lineshaft.cdn.assets-purged.v1", kind=Kind.EVENT, owner="cdn-edge", exchange=CDN_EVENTS)
class AssetsPurged(Message):
    """A region carried out a purge."""

    purge_id: UUID
    region: str
    url: str
    scope: PurgeScope
    soft: bool
    removed: int
    milliseconds: float

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return `<region>.assets-purged`."""
        return f"{self.region}.assets-purged"


class Seconds(Value):
    """Quantiles of a duration in seconds over the last interval; None when nothing happened."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class AssetClassMetrics(Value):
    """What became of the requests for one class of asset, counted since the process started."""

    asset_class: str
    """script, style, image, font, document, page or other."""
    results: dict[str, int]
    """Requests by result: hit, stale, revalidated, miss, bypass or error."""
    client_bytes: int
    """Bodies sent to clients, as they went over the wire."""
    origin_bytes: int
    """Bodies received from the origin."""
    saved_bytes: int
    """How much longer the bodies sent compressed would have been without compression."""
    first_byte_seconds: Seconds
    total_seconds: Seconds


class StoreMetrics(Value):
    """The memory store of one edge."""

    used_bytes: int
    bytes_max: int
    responses: int
    evictions: int
    """Since the process started."""


class OriginMetrics(Value):
    """What one edge saw of its origin, counted since the process started."""

    requests: int
    errors: dict[str, int]
    """Failed requests by reason: timeout, unreachable, truncated, invalid or overloaded."""
    reachable: bool
    """Whether the last request to it got an answer; True before the first."""


@message(
    "lineshaft.cdn.asset-metrics-reported.v1",
    kind=Kind.EVENT,
    owner="cdn-edge",
    exchange=TELEMETRY,
    durable=False,
)
class AssetMetricsReported(Message):
    """An edge region is alive and has served this much. Sent soon after start, then each interval.

    Counters only grow while `instance` stays the same; a rate is the difference of two reports.
    A region that misses two reports in a row is down.
    """

    region: str
    instance: str
    version: str
    started_at: Moment
    interval_seconds: float
    """When to expect the next report."""
    classes: tuple[AssetClassMetrics, ...]
    store: StoreMetrics
    origin: OriginMetrics
    last_purge_id: UUID | None = None
    """Of the purge carried out last; None before the first."""
    purges: int = 0

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return `cdn-edge.<region>`."""
        return f"cdn-edge.{self.region}"
