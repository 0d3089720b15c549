"""The monitor's own rhythm: collect on the grid, check every second, store, tidy up."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Protocol

import structlog
from lineshaft_contracts.monitoring import ServiceState
from prometheus_client import Counter

from lineshaft_monitor.alert_keeper import AlertKeeper, Observation
from lineshaft_monitor.collectors import Collector
from lineshaft_monitor.components import Component
from lineshaft_monitor.grid import repeating
from lineshaft_monitor.intake import Intake
from lineshaft_monitor.plant_signals import EQUIPMENT_DOWN, PlantSignals
from lineshaft_monitor.presence import ALIVE, Presence, Process
from lineshaft_monitor.recorder import Recorder
from lineshaft_monitor.samples.series import Key, SeriesDictionary, labels_of

log = structlog.get_logger(__name__)

CHECK_SECONDS = 1.0
COLLECTOR_SECONDS_MAX = 10.0
MAINTENANCE_SECONDS = 3_600.0
UP = "lineshaft_service_up"
READY = "lineshaft_service_ready"
OWN = "monitor/own"

MISSED = Counter(
    "lineshaft_monitor_collections_missed_total", "Collections late or failed", ["collector"]
)


class Housekeeping(Protocol):
    """What has to be stored or tidied up now and then."""

    async def save(self) -> None:
        """Store processes, samples and spans that wait."""
        ...

    async def flush(self) -> None:
        """Store samples and spans that wait."""
        ...

    async def tidy(self) -> None:
        """Make partitions of the next days, drop what is too old."""
        ...


class Watch:
    """See the module."""

    def __init__(
        self,
        *,
        collectors: Sequence[Collector],
        broker: Component,
        database: Component,
        presence: Presence,
        plant: PlantSignals,
        intake: Intake,
        keeper: AlertKeeper,
        recorder: Recorder,
        dictionary: SeriesDictionary,
        housekeeping: Housekeeping,
        interval_seconds: float,
    ) -> None:
        self._collectors = collectors
        self._broker = broker
        self._database = database
        self._presence = presence
        self._plant = plant
        self._intake = intake
        self._keeper = keeper
        self._recorder = recorder
        self._dictionary = dictionary
        self._housekeeping = housekeeping
        self._interval_seconds = interval_seconds
        self._gone: list[Process] = []
        """Whose alerts are still to be ended."""

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Watch inside the block."""
        async with AsyncExitStack() as stack:
            for name, period, work in (
                ("tidy", MAINTENANCE_SECONDS, self._tidy),
                ("flush", CHECK_SECONDS, self._flush),
                ("collect", self._interval_seconds, self.collect),
                ("check", CHECK_SECONDS, self.check),
            ):
                await stack.enter_async_context(repeating(name, period, work))
            yield

    async def collect(self, now: datetime) -> None:
        """Run every collector at once; a late or failed one leaves a gap, never a value."""
        taken = await asyncio.gather(*(self._collect(c, now) for c in self._collectors))
        observations = [observation for source in taken for observation in source]
        self._recorder.take(OWN, now, self._own_samples())
        # Who is up is observed every second, by `check`.
        observations += [o for o in self._recorder.observations(OWN) if o.name != UP]
        self._intake.give_back([o for o in observations if self._keeper.wants(o.name)])
        if self._database.works:
            await self._housekeeping.save()

    async def check(self, now: datetime) -> None:
        """Notice who is missed, then evaluate everything that was observed."""
        blind = [await self._broker.examine(now), await self._database.examine(now)]
        self._presence.deaf(now, deaf=not self._broker.works)
        self._gone += self._presence.check(now)
        if not self._database.works:
            return  # Nothing can be stored, so nothing is decided; what was observed waits.
        while self._gone:
            await self._forget(self._gone[0], now)
            self._gone.pop(0)
        pending = self._intake.pending()
        try:
            every = self._keeper.watches_duration(EQUIPMENT_DOWN)
            down = self._plant.unsettled(now, every=every)
            await self._keeper.observe([*blind, *pending, *self._who_is_up(now), *down])
            self._plant.settled(down)
            await self._keeper.check_stale(now)
        except BaseException:
            self._intake.give_back(pending)
            raise

    async def _collect(self, collector: Collector, now: datetime) -> list[Observation]:
        deadline = min(COLLECTOR_SECONDS_MAX, self._interval_seconds)
        try:
            async with asyncio.timeout(deadline):
                values = await collector.collect()
        except Exception as error:  # noqa: BLE001 - a collector may fail in any way of its subject.
            MISSED.labels(collector.name).inc()
            log.warning("not_collected", collector=collector.name, error=repr(error)[:300])
            return self._recorder.missed(collector.name, now)
        self._recorder.take(collector.name, now, values)
        return list(self._recorder.observations(collector.name))

    def _own_samples(self) -> dict[Key, float]:
        samples: dict[Key, float] = {
            ("lineshaft_monitor_series_used_ratio", ()): self._dictionary.used_ratio,
            **self._plant.samples(),
        }
        for process in self._presence:
            if process.state in ALIVE or process.state is ServiceState.DOWN:
                up = float(process.state in ALIVE)
                samples[UP, labels_of(process.labels)] = up
        for level, count in self._keeper.firing("_platform").items():
            samples["lineshaft_alerts_firing", labels_of({"level": level})] = count
        return samples

    def _who_is_up(self, now: datetime) -> list[Observation]:
        observations: list[Observation] = []
        for process in self._presence:
            up, ready = UP_VALUES[process.state], READY_VALUES[process.state]
            labels = labels_of(process.labels)
            observations += [
                Observation(name=UP, labels=labels, value=up, at=now),
                Observation(name=READY, labels=labels, value=ready, at=now),
            ]
        return observations

    async def _forget(self, process: Process, now: datetime) -> None:
        labels = {"service": process.service, "instance": process.instance}
        self._recorder.forget(process.source)
        self._intake.forget(labels)
        await self._keeper.forget(labels, f"{process.source} has left or was replaced", now)

    async def _flush(self, _: datetime) -> None:
        if self._database.works:
            await self._housekeeping.flush()

    async def _tidy(self, _: datetime) -> None:
        await self._housekeeping.tidy()


UP_VALUES: dict[ServiceState, float | None] = {
    ServiceState.UP: 1.0,
    ServiceState.DEGRADED: 1.0,
    ServiceState.DOWN: 0.0,
    ServiceState.STOPPED: 1.0,  # Said goodbye: an alert about it is over.
    ServiceState.UNKNOWN: None,
}
READY_VALUES: dict[ServiceState, float | None] = {
    ServiceState.UP: 1.0,
    ServiceState.DEGRADED: 0.0,
    ServiceState.DOWN: None,
    ServiceState.STOPPED: 1.0,
    ServiceState.UNKNOWN: None,
}
