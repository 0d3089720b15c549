"""What plant events say about equipment and output, as signals for rules and as counters."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from lineshaft_contracts.envelope import Envelope, EquipmentPath, Quantity
from lineshaft_contracts.production import UnitProduced
from lineshaft_contracts.resource import EquipmentState, StateChanged

from lineshaft_monitor.alert_keeper import Observation
from lineshaft_monitor.samples.series import Key, labels_of

EQUIPMENT_DOWN = "plant_equipment_down"
UNITS = "plant_units_total"
FATES = ("good", "scrap", "rework")
EQUIPMENT_MAX = 100_000
LINES_MAX = 2_000
COUNTED_IDS_MAX = 50_000


@dataclass(kw_only=True)
class _Equipment:
    changed_at: datetime
    state: EquipmentState


@dataclass(kw_only=True)
class Line:
    """What one line (a work centre) made since the monitor started."""

    tenant: str
    name: str
    amounts: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(FATES, Decimal(0)))


class PlantSignals:
    """Follows equipment states and sums up output; bounded, and deaf to repeats."""

    def __init__(self) -> None:
        self._equipment: OrderedDict[str, _Equipment] = OrderedDict()
        self._down: dict[str, None] = {}
        self._lines: dict[tuple[str, str], Line] = {}
        self._counted: OrderedDict[str, None] = OrderedDict()
        self.received = 0
        """Plant events of any kind since the start."""

    def load(self, equipment: Iterable[tuple[str, float | None, datetime]]) -> None:
        """Begin with what was known before: path, signal, and when that state had begun."""
        for path, signal, changed_at in equipment:
            down = signal is not None and signal >= 1
            state = EquipmentState.DOWN if down else EquipmentState.UNKNOWN
            self._equipment[path] = _Equipment(changed_at=changed_at, state=state)
            if down:
                self._down[path] = None

    def on_state_changed(self, event: Envelope[StateChanged], now: datetime) -> Observation | None:
        """Take a new state; None for one that is older than what is known."""
        path, state = event.source, event.data.state
        known = self._equipment.get(path)
        if known is not None and event.time < known.changed_at:
            return None
        self._equipment[path] = _Equipment(changed_at=event.time, state=state)
        self._equipment.move_to_end(path)
        if state is EquipmentState.DOWN:
            self._down[path] = None
        elif state is not EquipmentState.UNKNOWN:
            self._down.pop(path, None)
        if len(self._equipment) > EQUIPMENT_MAX:
            self._equipment.popitem(last=False)
        return replace(_observation(path, state, now), event_at=event.time)

    def on_unit_produced(self, event: Envelope[UnitProduced]) -> None:
        """Count good, scrap and rework; an event that comes twice counts once."""
        if event.id in self._counted:
            return
        self._counted[event.id] = None
        if len(self._counted) > COUNTED_IDS_MAX:
            self._counted.popitem(last=False)
        line = self._line(event.source)
        if line is None:
            return
        quantity = event.data.quantity
        for fate, amount in zip(
            FATES, (quantity.good, quantity.scrap, quantity.rework), strict=True
        ):
            line.amounts[fate] += _number(amount)

    def observations(self, now: datetime) -> Iterator[Observation]:
        """Repeat what is down: a state holds until it changes."""
        for path in self._down:
            yield _observation(path, EquipmentState.DOWN, now)

    def lines(self, tenant: str | None = None) -> list[Line]:
        """List the lines of a tenant, or of all of them."""
        return [line for line in self._lines.values() if tenant in {None, line.tenant}]

    def down_count(self, line: Line) -> int:
        """Count the equipment of a line that is down."""
        prefix = f"/{line.tenant}/{line.name}"
        return sum(path == prefix or path.startswith(f"{prefix}/") for path in self._down)

    def samples(self) -> dict[Key, float]:
        """Give the counters as samples."""
        samples: dict[Key, float] = {("plant_events_received_total", ()): float(self.received)}
        for line in self._lines.values():
            for fate, amount in line.amounts.items():
                labels = {"tenant": line.tenant, "line": line.name, "fate": fate}
                samples[UNITS, labels_of(labels)] = float(amount)
        return samples

    def _line(self, source: str) -> Line | None:
        tenant, *levels = EquipmentPath(source).routing_words()
        name = "/".join(word for word in levels[:3] if word != "_")
        line = self._lines.get((tenant, name))
        if line is None and len(self._lines) < LINES_MAX:
            line = self._lines[tenant, name] = Line(tenant=tenant, name=name)
        return line


def _observation(path: str, state: EquipmentState, now: datetime) -> Observation:
    value = None if state is EquipmentState.UNKNOWN else float(state is EquipmentState.DOWN)
    labels = {"tenant": EquipmentPath(path).tenant, "equipment": path}
    return Observation(name=EQUIPMENT_DOWN, labels=labels_of(labels), value=value, at=now)


def _number(quantity: Quantity | None) -> Decimal:
    return Decimal(0) if quantity is None else Decimal(quantity.value)
