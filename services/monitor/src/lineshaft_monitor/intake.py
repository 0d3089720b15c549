"""Takes what arrives: reports of processes and edges, and events of the plant."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from lineshaft_common.messaging import Delivery
from lineshaft_contracts.cdn import AssetMetricsReported
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.production import UnitProduced
from lineshaft_contracts.registry import read
from lineshaft_contracts.resource import StateChanged
from lineshaft_contracts.telemetry import ServiceReported
from pydantic import ValidationError

from lineshaft_monitor.alert_keeper import AlertKeeper, Observation
from lineshaft_monitor.derived import derive
from lineshaft_monitor.edge_book import EdgeBook
from lineshaft_monitor.plant_signals import PlantSignals
from lineshaft_monitor.presence import Presence
from lineshaft_monitor.recorder import Recorder
from lineshaft_monitor.samples.latest import Latest
from lineshaft_monitor.samples.series import Key, Labels, labels_of

PENDING_MAX = 50_000


class Clock(Protocol):
    """Tells the time."""

    def __call__(self) -> datetime:
        """Return the moment it is now, in UTC."""
        ...


def utc_now() -> datetime:
    """Return the moment it is now."""
    return datetime.now(UTC)


class Intake:
    """The handlers of the monitor's queues.

    Reports are idempotent by the time in their envelope. What rules want to see of them waits
    in `pending` for the next evaluation: a database that is away must not make the monitor deaf.
    Plant signals are evaluated at once, and acknowledged when that is stored.
    """

    def __init__(
        self,
        *,
        presence: Presence,
        edges: EdgeBook,
        recorder: Recorder,
        latest: Latest,
        keeper: AlertKeeper,
        plant: PlantSignals,
        clock: Clock = utc_now,
    ) -> None:
        self._presence = presence
        self._edges = edges
        self._recorder = recorder
        self._latest = latest
        self._keeper = keeper
        self._plant = plant
        self._clock = clock
        self._pending: dict[tuple[str, Labels], Observation] = {}

    def pending(self) -> list[Observation]:
        """Take out what was observed since the last call."""
        pending, self._pending = self._pending, {}
        return list(pending.values())

    def give_back(self, observations: Sequence[Observation]) -> None:
        """Keep what could not be evaluated, unless something newer came."""
        for observation in observations:
            key = (observation.name, observation.labels)
            newer = self._pending.get(key)
            if newer is None or newer.at < observation.at:
                self._pending[key] = observation

    def forget(self, labels: Mapping[str, str]) -> None:
        """Drop what was observed of something that is gone."""
        gone = labels.items()
        self._pending = {k: o for k, o in self._pending.items() if not gone <= dict(k[1]).items()}

    async def on_telemetry(self, deliveries: Sequence[Delivery[Any]]) -> None:
        """Take reports."""
        for delivery in deliveries:
            match delivery.data:
                case ServiceReported():
                    self._on_service_reported(delivery.envelope)
                case AssetMetricsReported():
                    self._on_asset_metrics_reported(delivery.envelope)
                case _:
                    pass

    async def on_plant(self, deliveries: Sequence[Delivery[Any]]) -> None:
        """Take plant events, unparsed: most of them are only counted."""
        now = self._clock()
        observations: list[Observation] = []
        for delivery in deliveries:
            self._plant.received += 1
            try:
                observation = self._on_plant_event(delivery, now)
            except (ValidationError, ValueError) as error:
                delivery.park("invalid_message", str(error)[:500])
                continue
            if observation is not None:
                observations.append(observation)
        if observations:
            await self._keeper.observe(observations)

    def _on_plant_event(self, delivery: Delivery[Any], now: datetime) -> Observation | None:
        if delivery.envelope.type == StateChanged.type:
            return self._plant.on_state_changed(read(StateChanged.type, delivery.body), now)
        if delivery.envelope.type == UnitProduced.type:
            self._plant.on_unit_produced(read(UnitProduced.type, delivery.body))
        return None

    def _on_service_reported(self, envelope: Envelope[ServiceReported]) -> None:
        # A clock that is ahead must not make later reports of the same process look old.
        at = min(envelope.time, self._clock())
        report = envelope.data
        self._presence.heard(report, at)
        own = {"service": report.service, "instance": report.instance}
        if report.region is not None:
            own["region"] = report.region
        values: dict[Key, float] = {
            (sample.name, labels_of({**sample.labels, **own})): sample.value
            for sample in report.samples
            if sample.value is not None  # pyright: ignore[reportUnnecessaryComparison]
        }
        source = f"{report.service}/{report.instance}"
        if self._recorder.take(source, at, values):
            derived = derive(self._latest, source, own)
            self._recorder.take(f"{source}/derived", at, derived)
            self._notice(source)
            self._notice(f"{source}/derived")

    def _on_asset_metrics_reported(self, envelope: Envelope[AssetMetricsReported]) -> None:
        at = min(envelope.time, self._clock())
        book = self._edges.heard(envelope.data, at)
        if book is not None and self._recorder.take(book.source, at, book.samples()):
            self._notice(book.source)

    def _notice(self, source: str) -> None:
        for observation in self._recorder.observations(source):
            if self._keeper.wants(observation.name) and len(self._pending) < PENDING_MAX:
                self._pending[observation.name, observation.labels] = observation
