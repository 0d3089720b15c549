"""What plant events say about equipment and output, as signals for rules and as counters."""

from collections import Counter as Tally
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import islice

from lineshaft_contracts.envelope import Envelope, EquipmentPath, Quantity
from lineshaft_contracts.production import UnitProduced
from lineshaft_contracts.resource import EquipmentState, StateChanged
from prometheus_client import Counter

from lineshaft_monitor.alert_keeper import Observation
from lineshaft_monitor.samples.series import Key, labels_of

EQUIPMENT_DOWN = "plant_equipment_down"
UNITS = "plant_units_total"
FATES = ("good", "scrap", "rework")
EQUIPMENT_PER_TENANT_MAX = 2_000
"""Followed at once, and with it the alerts about it that can be open."""
LINES_PER_TENANT_MAX = 300
LINES_MAX = 15_000
"""Of all tenants, so that the samples of all lines fit into one row."""
COUNTED_PER_TENANT_MAX = 20_000

REFUSED = Counter(
    "lineshaft_monitor_plant_refused_total",
    "Plant events about equipment or lines beyond the quota of their tenant",
    ["kind"],
)


@dataclass(kw_only=True)
class Line:
    """What one line (a work centre) made since the monitor started."""

    tenant: str
    name: str
    amounts: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(FATES, Decimal(0)))


class _Plant:
    """One tenant's equipment and lines, within its quota."""

    def __init__(self) -> None:
        self.down: dict[str, datetime] = {}
        """Equipment that is down, and when its latest state began."""
        self.other: OrderedDict[str, datetime] = OrderedDict()
        """The rest, the longest unheard of first."""
        self.down_by_line: Tally[str] = Tally()
        self.lines: dict[str, Line] = {}
        self._counted: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def changed_at(self, path: str) -> datetime | None:
        """Tell when the latest state began; None for equipment that is not followed."""
        return self.down.get(path) or self.other.get(path)

    def goes_down(self, path: str, at: datetime) -> None:
        """Follow equipment that is down."""
        self.other.pop(path, None)
        if path not in self.down:
            self.down_by_line[_line_name(path)] += 1
        self.down[path] = at

    def comes_up(self, path: str, at: datetime) -> None:
        """Follow equipment that is not down."""
        if self.down.pop(path, None) is not None:
            name = _line_name(path)
            self.down_by_line[name] -= 1
            if not self.down_by_line[name]:
                del self.down_by_line[name]
        self.other[path] = at
        self.other.move_to_end(path)

    def make_room(self) -> bool:
        """Forget equipment that is not down until one more fits; False when all of it is down."""
        while len(self.down) + len(self.other) >= EQUIPMENT_PER_TENANT_MAX and self.other:
            self.other.popitem(last=False)
        return len(self.down) < EQUIPMENT_PER_TENANT_MAX

    def repeats(self, event: Envelope[UnitProduced]) -> bool:
        """Whether an event was counted before; from now on it was."""
        key = (event.tenant, event.source, event.id)
        if key in self._counted:
            return True
        self._counted[key] = None
        if len(self._counted) > COUNTED_PER_TENANT_MAX:
            self._counted.popitem(last=False)
        return False


class PlantSignals:
    """Follows equipment states and sums up output; bounded by tenant, and deaf to repeats."""

    def __init__(self) -> None:
        self._plants: dict[str, _Plant] = {}
        self._unsettled: dict[str, None] = {}
        """Equipment that is down and that the rules have not been shown by the rhythm yet."""
        self._lines = 0
        self.received = 0
        """Plant events of any kind since the start."""

    def load(self, equipment: Iterable[tuple[str, float | None, datetime]]) -> None:
        """Begin with what was known before: path, signal, and when that state had begun.

        No quota: an alert that is open has to be followed to its end.
        """
        for path, signal, changed_at in equipment:
            plant = self._plant(EquipmentPath(path).tenant)
            if signal is not None and signal >= 1:
                plant.goes_down(path, changed_at)
                self._unsettled[path] = None
            else:
                plant.comes_up(path, changed_at)

    def on_state_changed(self, event: Envelope[StateChanged], now: datetime) -> Observation | None:
        """Take a new state; None for one that is older than what is known, or beyond the quota."""
        path, state = event.source, event.data.state
        plant = self._plant(EquipmentPath(path).tenant)
        known = plant.changed_at(path)
        if known is not None and event.time < known:
            return None
        room = known is not None or plant.make_room()
        if not room:
            REFUSED.labels("equipment").inc()
        down = state is EquipmentState.DOWN
        # What is unknown stays what it was.
        if down or (state is EquipmentState.UNKNOWN and path in plant.down):
            if not room:
                return None
            plant.goes_down(path, event.time)
        elif room:
            plant.comes_up(path, event.time)
        if down:
            self._unsettled[path] = None
        elif path not in plant.down:
            self._unsettled.pop(path, None)
        return replace(_observation(path, state, now), event_at=event.time)

    def on_unit_produced(self, event: Envelope[UnitProduced]) -> None:
        """Count good, scrap and rework; an event that comes twice counts once."""
        tenant = EquipmentPath(event.source).tenant
        if self._plant(tenant).repeats(event):
            return
        line = self._line(tenant, _line_name(event.source))
        if line is None:
            REFUSED.labels("line").inc()
            return
        quantity = event.data.quantity
        for fate, amount in zip(
            FATES, (quantity.good, quantity.scrap, quantity.rework), strict=True
        ):
            line.amounts[fate] += _number(amount)

    def unsettled(self, now: datetime, *, every: bool) -> list[Observation]:
        """List what is down and was not `settled` yet; with `every` all that is down.

        A state holds until it changes, so that only rules about its duration need it repeated.
        """
        down = (path for plant in self._plants.values() for path in plant.down)
        return [
            _observation(path, EquipmentState.DOWN, now)
            for path in (down if every else self._unsettled)
        ]

    def settled(self, observations: Iterable[Observation]) -> None:
        """Say that these were evaluated."""
        for observation in observations:
            self._unsettled.pop(dict(observation.labels)["equipment"], None)

    def lines(self, tenant: str | None = None, *, limit: int | None = None) -> list[Line]:
        """List the lines of a tenant, or of all of them."""
        return list(islice(self._each_line(tenant), limit))

    def down_count(self, line: Line) -> int:
        """Count the equipment of a line that is down."""
        return self._plants[line.tenant].down_by_line.get(line.name, 0)

    def samples(self) -> dict[Key, float]:
        """Give the counters as samples."""
        samples: dict[Key, float] = {("plant_events_received_total", ()): float(self.received)}
        for line in self._each_line(None):
            for fate, amount in line.amounts.items():
                labels = {"tenant": line.tenant, "line": line.name, "fate": fate}
                samples[UNITS, labels_of(labels)] = float(amount)
        return samples

    def _plant(self, tenant: str) -> _Plant:
        plant = self._plants.get(tenant)
        if plant is None:
            plant = self._plants[tenant] = _Plant()
        return plant

    def _line(self, tenant: str, name: str) -> Line | None:
        lines = self._plant(tenant).lines
        line = lines.get(name)
        if line is None and len(lines) < LINES_PER_TENANT_MAX and self._lines < LINES_MAX:
            line = lines[name] = Line(tenant=tenant, name=name)
            self._lines += 1
        return line

    def _each_line(self, tenant: str | None) -> Iterator[Line]:
        if tenant is None:
            for plant in self._plants.values():
                yield from plant.lines.values()
        elif tenant in self._plants:
            yield from self._plants[tenant].lines.values()


def _line_name(path: str) -> str:
    _, *levels = EquipmentPath(path).routing_words()
    return "/".join(word for word in levels[:3] if word != "_")


def _observation(path: str, state: EquipmentState, now: datetime) -> Observation:
    value = None if state is EquipmentState.UNKNOWN else float(state is EquipmentState.DOWN)
    labels = {"tenant": EquipmentPath(path).tenant, "equipment": path}
    return Observation(name=EQUIPMENT_DOWN, labels=labels_of(labels), value=value, at=now)


def _number(quantity: Quantity | None) -> Decimal:
    return Decimal(0) if quantity is None else Decimal(quantity.value)
