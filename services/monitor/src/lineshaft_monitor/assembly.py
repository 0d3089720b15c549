"""The monitor put together: its parts, what they begin with, and their rhythm."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from lineshaft_common.messaging import Answer, Bus, answers
from lineshaft_contracts.alerts import GetAlert, ListAlerts
from lineshaft_contracts.edges import GetAssetMetrics, GetCdnStatus
from lineshaft_contracts.monitoring import GetHealth, GetMonitoring, ListMetrics, QueryMetrics
from lineshaft_contracts.telemetry import GetTrace

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


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """What the outside is connected to."""

    intake: Intake
    spans: SpanBuffer
    watch: Watch
    answers: tuple[Answer, ...]


@asynccontextmanager
async def assemble(
    store: Store, bus: Bus, settings: MonitorSettings, *, announce: Callable[[], None]
) -> AsyncGenerator[Monitor]:
    """Load what is remembered and watch inside the block.

    `announce` is called when events wait in the outbox.
    """
    now = datetime.now(UTC)
    interval = settings.metrics_interval_seconds
    latest, plant, edges = Latest(), PlantSignals(), EdgeBook()
    dictionary = SeriesDictionary(per_metric_max=settings.series_per_metric_max)
    presence = Presence(started_at=now)
    keeper = AlertKeeper(
        store.alerts,
        rules.load(settings.rules_file),
        gap_max_seconds=GAP_INTERVALS * interval,
        announce=announce,
    )
    recorder, spans = Recorder(store.samples, dictionary, latest), SpanBuffer(store.spans)
    upkeep = Upkeep(
        store,
        settings,
        presence=presence,
        recorder=recorder,
        dictionary=dictionary,
        spans=spans,
    )
    broker = Component("rabbitmq", bus.check, now)
    database = Component("postgres", store.database.check, now)
    await upkeep.tidy()
    dictionary.load(await store.samples.dictionary())
    presence.load(await store.processes.load())
    await keeper.start(now)
    plant.load(
        (memory.labels["equipment"], memory.value, memory.event_at)
        for memory in keeper.remembered(EQUIPMENT_DOWN)
        if memory.event_at is not None
    )
    intake = Intake(
        presence=presence,
        edges=edges,
        recorder=recorder,
        latest=latest,
        keeper=keeper,
        plant=plant,
    )
    watch = Watch(
        collectors=(Machine(settings.disk_path), Broker(bus), store.database),
        broker=broker,
        database=database,
        presence=presence,
        plant=plant,
        intake=intake,
        keeper=keeper,
        recorder=recorder,
        dictionary=dictionary,
        housekeeping=upkeep,
        interval_seconds=interval,
    )
    regions = EdgeOverview(presence, edges)
    overview = Overview(
        presence=presence,
        broker=broker,
        database=database,
        latest=latest,
        keeper=keeper,
        plant=plant,
        edges=regions,
    )
    archive = Archive(
        metrics=store.samples,
        alerts=store.alerts,
        traces=store.spans,
        keeper=keeper,
        spans=spans,
    )
    async with watch.run():
        yield Monitor(
            intake=intake,
            spans=spans,
            watch=watch,
            answers=(
                answers(GetHealth, overview.get_health),
                answers(GetMonitoring, overview.get_monitoring),
                answers(ListMetrics, archive.list_metrics),
                answers(QueryMetrics, archive.query_metrics),
                answers(ListAlerts, archive.list_alerts),
                answers(GetAlert, archive.get_alert),
                answers(GetTrace, archive.get_trace),
                answers(GetCdnStatus, regions.get_cdn_status),
                answers(GetAssetMetrics, regions.get_asset_metrics),
            ),
        )
    await upkeep.flush()
    await upkeep.save()
