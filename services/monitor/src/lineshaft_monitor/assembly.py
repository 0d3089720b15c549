"""The monitor put together: its parts, what they begin with, and their rhythm."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Protocol

from lineshaft_common.health import Health
from lineshaft_common.messaging import Answer, Bus, answers
from lineshaft_contracts.alerts import GetAlert, ListAlerts
from lineshaft_contracts.edges import GetAssetMetrics, GetCdnStatus
from lineshaft_contracts.monitoring import GetHealth, GetMonitoring, ListMetrics, QueryMetrics
from lineshaft_contracts.telemetry import GetTrace
from lineshaft_contracts.topology import MONITOR_ASKED

from lineshaft_monitor import rules
from lineshaft_monitor.alert import AlertStore
from lineshaft_monitor.alert_keeper import AlertKeeper
from lineshaft_monitor.archive import AlertArchive, Archive, MetricArchive, TraceArchive
from lineshaft_monitor.collectors import Collector
from lineshaft_monitor.collectors.broker import Broker
from lineshaft_monitor.collectors.machine import Machine
from lineshaft_monitor.components import Component
from lineshaft_monitor.edge_book import EdgeBook
from lineshaft_monitor.edge_overview import EdgeOverview
from lineshaft_monitor.intake import Intake
from lineshaft_monitor.overview import Overview
from lineshaft_monitor.own_spans import OwnSpans
from lineshaft_monitor.plant_signals import EQUIPMENT_DOWN, PlantSignals
from lineshaft_monitor.presence import Presence, Process
from lineshaft_monitor.recorder import Recorder, SampleStore
from lineshaft_monitor.samples.latest import Latest
from lineshaft_monitor.samples.series import SeriesDictionary, SeriesEntry
from lineshaft_monitor.settings import MonitorSettings
from lineshaft_monitor.spans import SpanBuffer, SpanStore
from lineshaft_monitor.watch import Watch

ALERT_RETENTION_DAYS = 365
GAP_INTERVALS = 2.5
"""Values further apart than so many intervals say nothing about the time between them."""


class AlertTables(AlertStore, AlertArchive, Protocol):
    """Alerts, written and read."""

    async def trim(self, *, days: int) -> int:
        """Delete alerts that were resolved long ago."""
        ...


class SampleTables(SampleStore, MetricArchive, Protocol):
    """Samples, written and read."""

    async def dictionary(self) -> list[SeriesEntry]:
        """Return the dictionary of all sources."""
        ...

    async def forget_sources(self, *, days: int) -> list[str]:
        """Delete the dictionary of sources whose samples are dropped, and name them."""
        ...


class SpanTable(SpanStore, TraceArchive, Protocol):
    """Spans, written and read."""


class ProcessTable(Protocol):
    """Processes, kept over restarts."""

    async def load(self) -> list[Process]:
        """Return every process that is remembered."""
        ...

    async def save(self, processes: Iterable[Process]) -> None:
        """Store exactly these."""
        ...


class Partitions(Protocol):
    """Daily partitions."""

    async def maintain(self, retention_days: dict[str, int]) -> int:
        """Make the next days', drop the old ones."""
        ...


class Database(Collector, Protocol):
    """PostgreSQL about itself."""

    async def check(self) -> None:
        """Raise when it does not answer."""
        ...


class Store(Protocol):
    """Everything that is stored."""

    @property
    def alerts(self) -> AlertTables: ...  # noqa: D102 - the types say it.
    @property
    def database(self) -> Database: ...  # noqa: D102
    @property
    def partitions(self) -> Partitions: ...  # noqa: D102
    @property
    def processes(self) -> ProcessTable: ...  # noqa: D102
    @property
    def samples(self) -> SampleTables: ...  # noqa: D102
    @property
    def spans(self) -> SpanTable: ...  # noqa: D102


class Upkeep:
    """See `Housekeeping`."""

    def __init__(
        self,
        store: Store,
        settings: MonitorSettings,
        *,
        presence: Presence,
        recorder: Recorder,
        dictionary: SeriesDictionary,
        spans: SpanBuffer,
    ) -> None:
        self._store = store
        self._settings = settings
        self._presence = presence
        self._recorder = recorder
        self._dictionary = dictionary
        self._spans = spans

    async def save(self) -> None:
        """Store who is there."""
        await self._store.processes.save(self._presence)

    async def flush(self) -> None:
        """Store samples and spans that wait."""
        await self._recorder.flush()
        await self._spans.flush()

    async def tidy(self) -> None:
        """Make partitions of the next days, drop what is too old."""
        days = self._settings.sample_retention_days
        await self._store.partitions.maintain(
            {"samples": days, "spans": self._settings.span_retention_days}
        )
        self._dictionary.forget(await self._store.samples.forget_sources(days=days))
        await self._store.alerts.trim(days=ALERT_RETENTION_DAYS)


class Monitor:
    """Every part of the monitor, and what the outside is connected to."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        settings: MonitorSettings,
        announce: Callable[[], None],
        now: datetime,
    ) -> None:
        interval = settings.metrics_interval_seconds
        self._store = store
        self._bus = bus
        self._settings = settings
        self._latest, self._plant, self._edges = Latest(), PlantSignals(), EdgeBook()
        self._dictionary = SeriesDictionary(per_metric_max=settings.series_per_metric_max)
        self._presence = Presence(started_at=now)
        self._keeper = AlertKeeper(
            store.alerts,
            rules.load(settings.rules_file),
            gap_max_seconds=GAP_INTERVALS * interval,
            announce=announce,
        )
        self._recorder = Recorder(store.samples, self._dictionary, self._latest)
        self.spans = SpanBuffer(store.spans)
        self.upkeep = Upkeep(
            store,
            settings,
            presence=self._presence,
            recorder=self._recorder,
            dictionary=self._dictionary,
            spans=self.spans,
        )
        self._broker = Component("rabbitmq", lambda: bus.depth(MONITOR_ASKED), now)
        self._database = Component("postgres", store.database.check, now)
        self.intake = Intake(
            presence=self._presence,
            edges=self._edges,
            recorder=self._recorder,
            latest=self._latest,
            keeper=self._keeper,
            plant=self._plant,
        )
        self.health = Health({"broker": bus.check, "database": store.database.check})

    async def load(self, now: datetime) -> None:
        """Begin with what was known before."""
        await self.upkeep.tidy()
        self._dictionary.load(await self._store.samples.dictionary())
        self._presence.load(await self._store.processes.load())
        await self._keeper.start(now)
        self._plant.load(
            (memory.labels["equipment"], memory.value, memory.event_at)
            for memory in self._keeper.remembered(EQUIPMENT_DOWN)
            if memory.event_at is not None
        )

    def watch(self) -> Watch:
        """Make the rhythm."""
        machine = Machine(self._settings.disk_path)
        return Watch(
            collectors=(machine, Broker(self._bus), self._store.database),
            broker=self._broker,
            database=self._database,
            presence=self._presence,
            plant=self._plant,
            intake=self.intake,
            keeper=self._keeper,
            recorder=self._recorder,
            dictionary=self._dictionary,
            housekeeping=self.upkeep,
            interval_seconds=self._settings.metrics_interval_seconds,
        )

    def answers(self) -> tuple[Answer, ...]:
        """Pair every question with who answers it."""
        regions = EdgeOverview(self._presence, self._edges)
        overview = Overview(
            presence=self._presence,
            broker=self._broker,
            database=self._database,
            latest=self._latest,
            keeper=self._keeper,
            plant=self._plant,
            edges=regions,
        )
        archive = Archive(
            metrics=self._store.samples,
            alerts=self._store.alerts,
            traces=self._store.spans,
            keeper=self._keeper,
            spans=self.spans,
        )
        return (
            answers(GetHealth, overview.get_health),
            answers(GetMonitoring, overview.get_monitoring),
            answers(ListMetrics, archive.list_metrics),
            answers(QueryMetrics, archive.query_metrics),
            answers(ListAlerts, archive.list_alerts),
            answers(GetAlert, archive.get_alert),
            answers(GetTrace, archive.get_trace),
            answers(GetCdnStatus, regions.get_cdn_status),
            answers(GetAssetMetrics, regions.get_asset_metrics),
        )


@asynccontextmanager
async def assemble(
    store: Store,
    bus: Bus,
    settings: MonitorSettings,
    *,
    announce: Callable[[], None],
    own: OwnSpans | None,
) -> AsyncGenerator[Monitor]:
    """Load what is remembered and watch inside the block.

    `announce` is called when events wait in the outbox; `own` is where this process's spans come
    from, when they do not leave it.
    """
    now = datetime.now(UTC)
    monitor = Monitor(store, bus, settings, announce, now)
    await monitor.load(now)
    if own is not None:
        own.connect(monitor.spans)
    async with monitor.watch().run():
        yield monitor
    await monitor.upkeep.flush()
    await monitor.upkeep.save()
