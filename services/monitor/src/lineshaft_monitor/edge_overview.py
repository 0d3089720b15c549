"""Answers about the edge regions, from what is in memory."""

from datetime import datetime, timedelta

from lineshaft_contracts.edges import (
    AssetMetricsFound,
    CdnStatusFound,
    GetAssetMetrics,
    GetCdnStatus,
    OriginHealth,
    RegionStatus,
)
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.monitoring import HealthStatus, ServiceState
from lineshaft_contracts.topology import REGIONS

from lineshaft_monitor.edge_book import EdgeBook, RegionBook
from lineshaft_monitor.intake import Clock, utc_now
from lineshaft_monitor.presence import Presence, Process


class EdgeOverview:
    """Knows each region by its process and by what it reports of its traffic."""

    def __init__(self, presence: Presence, edges: EdgeBook, clock: Clock = utc_now) -> None:
        self._presence = presence
        self._edges = edges
        self._clock = clock

    async def get_cdn_status(self, _: Envelope[GetCdnStatus]) -> CdnStatusFound:
        """Answer GetCdnStatus."""
        now = self._clock()
        regions = tuple(self._region(region, now) for region in self.regions())
        works = [region.state is ServiceState.UP for region in regions]
        status = HealthStatus.PASS if all(works) else HealthStatus.WARN
        return CdnStatusFound(
            at=now, status=status if any(works) else HealthStatus.FAIL, regions=regions
        )

    async def get_asset_metrics(self, question: Envelope[GetAssetMetrics]) -> AssetMetricsFound:
        """Answer GetAssetMetrics."""
        asked = question.data
        return AssetMetricsFound(
            at=self._clock(),
            traffic=tuple(self._edges.traffic(asked.region, asked.asset_class)),
            totals=tuple(self._edges.totals(asked.region, asked.asset_class)),
        )

    def regions(self) -> list[str]:
        """List the regions of the installation, and those that reported beside them."""
        heard = {book.report.region for book in self._edges}
        present = {p.region for p in self._presence.of("cdn-edge") if p.region is not None}
        return [*REGIONS, *sorted((heard | present) - set(REGIONS))]

    def process(self, region: str) -> Process | None:
        """Return the region's process that is best off."""
        found = [p for p in self._presence.of("cdn-edge") if p.region == region]
        order = [ServiceState.UP, ServiceState.DEGRADED, ServiceState.UNKNOWN, ServiceState.DOWN]
        order.append(ServiceState.STOPPED)
        return min(found, key=lambda process: order.index(process.state), default=None)

    def book(self, region: str) -> RegionBook | None:
        """Return what the region reported last."""
        return self._edges.get(region)

    def _region(self, region: str, now: datetime) -> RegionStatus:
        process, book = self.process(region), self._edges.get(region)
        state = process.state if process else ServiceState.UNKNOWN
        since = process.since if process else None
        if book is None:
            return RegionStatus(
                region=region,
                state=state,
                since=since,
                version=process.version if process else None,
                instance=process.instance if process else None,
                last_report_at=process.last_report_at if process else None,
            )
        report = book.report
        return RegionStatus(
            region=region,
            state=state,
            since=since,
            version=report.version,
            instance=report.instance,
            last_report_at=book.at,
            lag_seconds=(now - book.at) / timedelta(seconds=1),
            hit_ratio=book.hit_ratio,
            requests_per_second=book.requests_per_second,
            cache_used_bytes=report.store.used_bytes,
            cache_bytes_max=report.store.bytes_max,
            cached_responses=report.store.responses,
            evictions=report.store.evictions,
            origin=OriginHealth(
                reachable=report.origin.reachable,
                requests=report.origin.requests,
                errors=report.origin.errors,
            ),
            purges=report.purges,
            last_purge_id=str(report.last_purge_id) if report.last_purge_id else None,
        )
