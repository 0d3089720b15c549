"""What this edge has served, published for the monitor at each interval."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version

import structlog
from lineshaft_common import lifecycle
from lineshaft_common.messaging import Bus, PublishError
from lineshaft_contracts.cdn import (
    AssetClassMetrics,
    AssetMetricsReported,
    OriginMetrics,
    Seconds,
    StoreMetrics,
)
from lineshaft_contracts.envelope import PLATFORM_TENANT, envelop

from lineshaft_cdn_edge.assembly import Station
from lineshaft_cdn_edge.commands import PurgeCommands
from lineshaft_cdn_edge.settings import EdgeSettings
from lineshaft_cdn_edge.traffic import ClassTraffic

log = structlog.get_logger(__name__)


class AssetReporter:
    """Publishes AssetMetricsReported soon after the start, then on a fixed grid."""

    def __init__(
        self, station: Station, bus: Bus, commands: PurgeCommands, settings: EdgeSettings
    ) -> None:
        self._bus = bus
        self._traffic = station.traffic
        self._store = station.store
        self._commands = commands
        self._region = settings.region
        self._instance = settings.instance
        self._interval_seconds = settings.metrics_interval_seconds
        self._started_at = datetime.now(UTC)
        self._version = version("lineshaft-cdn-edge")

    def measure(self) -> AssetMetricsReported:
        """Read all counters and begin a new interval for the quantiles."""
        snapshot = self._traffic.snapshot(begin_interval=True)
        return AssetMetricsReported(
            region=self._region,
            instance=self._instance,
            version=self._version,
            started_at=self._started_at,
            interval_seconds=self._interval_seconds,
            classes=tuple(map(_metrics, snapshot.classes)),
            store=StoreMetrics(
                used_bytes=self._store.used_bytes,
                bytes_max=self._store.bytes_max,
                responses=len(self._store),
                evictions=self._store.evictions,
            ),
            origin=OriginMetrics(
                requests=snapshot.origin_requests,
                errors=snapshot.origin_errors,
                reachable=snapshot.origin_is_reachable,
            ),
            last_purge_id=self._commands.last_id,
            purges=self._commands.count,
        )

    async def report(self) -> None:
        """Publish one report; a broker that is away loses it, the counters do not."""
        envelope = envelop(
            self.measure(),
            source="/services/cdn-edge",
            tenant=PLATFORM_TENANT,
            subject=self._region,
        )
        try:
            await self._bus.publish(envelope, deadline_seconds=2)
        except PublishError as error:
            log.warning("asset_report_lost", error=str(error)[:200])

    async def run(self) -> None:
        """Report until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.report()
            due = max(due + self._interval_seconds, loop.time())
            await asyncio.sleep(due - loop.time())


def _metrics(traffic: ClassTraffic) -> AssetClassMetrics:
    return AssetClassMetrics(
        asset_class=traffic.asset_class,
        results=traffic.results,
        client_bytes=traffic.client_bytes,
        origin_bytes=traffic.origin_bytes,
        saved_bytes=traffic.saved_bytes,
        first_byte_seconds=Seconds.model_validate(traffic.first_byte_seconds),
        total_seconds=Seconds.model_validate(traffic.total_seconds),
    )


@asynccontextmanager
async def report_assets(reporter: AssetReporter) -> AsyncGenerator[None]:
    """Report inside the block, and once more when it ends."""
    try:
        async with lifecycle.background(reporter.run(), name="asset-reporter"):
            yield
    finally:
        await reporter.report()
