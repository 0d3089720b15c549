"""A simulated shift: eight hours of three lines as the events that they would send."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from plant.calendar import SHIFT, Shift
from plant.event import PlantEvent, produced, quantity
from plant.incidents import breakdown, shortage, tolerance_drift
from plant.layout import ASSEMBLY, FINISHED_STORE, LINES, MACHINING, RAW_STORE, STAMPING, Line

STEP = timedelta(minutes=5)
STEPS = SHIFT // STEP
SETUP_STEPS = 2
PROGRESS_STEPS = 3
LOT_STEPS = 6
ORDERS_PER_LINE = 2
SUBGROUPS_PER_ORDER = 4
SUBGROUP_SIZE = 5
STOPPED = {STAMPING.name: range(20, 25), ASSEMBLY.name: range(60, 63)}
"""Steps without production: the breakdown of press-1, the shortage of line-3."""


def simulate(shift: Shift, *, seed: int = 1) -> list[PlantEvent]:
    """Return the events of the shift in the order of their time.

    The same shift and seed give the same events. A shift shorter than eight hours is told
    faster: as much happens in it.
    """
    events = [event for line in LINES for event in _LineShift(line, shift, seed).events()]
    events.sort(key=lambda event: event.time)
    return [replace(event, number=number) for number, event in enumerate(events)]


class _LineShift:
    """One line in one shift: two orders, one after the other."""

    def __init__(self, line: Line, shift: Shift, seed: int) -> None:
        self._line = line
        self._shift = shift
        self._random = Random(f"{seed} {line.name} {shift.start.isoformat()}")
        self._prefix = f"{shift.start:%y%m%d%H%M%S}-{line.name.removeprefix('line-')}"

    def events(self) -> Iterator[PlantEvent]:
        """Yield what happens on the line, order by order and then the incidents."""
        steps = STEPS // ORDERS_PER_LINE
        for number in range(ORDERS_PER_LINE):
            last = number == ORDERS_PER_LINE - 1
            unfinished = last and self._line is ASSEMBLY
            yield from self._order(number, range(number * steps, (number + 1) * steps), unfinished)
        yield from self._heartbeats()
        if self._line is STAMPING:
            yield from breakdown(self._line, STOPPED[self._line.name], self._at)
        elif self._line is MACHINING:
            yield from tolerance_drift(self._line, self._prefix, self._at)
        else:
            yield from shortage(self._line, STOPPED[self._line.name], self._at)

    def _at(self, step: float) -> datetime:
        return self._shift.start + step * (self._shift.end - self._shift.start) / STEPS

    def _order(self, number: int, steps: range, unfinished: bool) -> Iterator[PlantEvent]:
        order = f"JO-{self._prefix}{number + 1}"
        pieces = self._pieces_per_step()
        planned = pieces * (len(steps) - SETUP_STEPS)
        about = {"job_order_id": order}
        yield self._event(
            "production.order-released",
            steps.start,
            {
                **about,
                "material_definition_id": self._line.product,
                "quantity": quantity(planned),
                "start_time": self._text(steps.start),
                "end_time": self._text(steps.stop + 4),
            },
            order,
        )
        yield from self._operations("started", steps.start + 0.1, order)
        first = steps.start + SETUP_STEPS
        yield self._event("production.order-started", first, about, order)
        totals = [0, 0, 0]
        for step in range(first, steps.stop):
            yield from self._step(step, order, totals)
        if not unfinished:
            yield from self._operations("completed", steps.stop - 0.1, order, totals)
            data = {**about, "quantity": produced(*totals)}
            yield self._event("production.order-completed", steps.stop - 0.05, data, order)

    def _pieces_per_step(self) -> int:
        return int(STEP.total_seconds() / self._line.seconds_per_piece * 0.9)

    def _operations(
        self, what: str, step: float, order: str, totals: list[int] | None = None
    ) -> Iterator[PlantEvent]:
        for position, work_unit in enumerate(self._line.work_units, start=1):
            data: dict[str, Any] = {
                "job_order_id": order,
                "operations_segment_id": f"{position * 10}-{work_unit}",
            }
            data |= {"setup": True} if totals is None else {"quantity": produced(*totals)}
            yield self._event(f"production.operation-{what}", step, data, order, work_unit)
            before, after = ("idle", "setup") if totals is None else ("running", "idle")
            yield self._state(step + 0.01, work_unit, before, after)
            if totals is None:
                yield self._state(step + SETUP_STEPS, work_unit, "setup", "running")

    def _state(self, step: float, work_unit: str, before: str, after: str) -> PlantEvent:
        data = {"state": after, "previous_state": before}
        return self._event("resource.state-changed", step, data, None, work_unit)

    def _step(self, step: int, order: str, totals: list[int]) -> Iterator[PlantEvent]:
        """Five minutes of production, which `totals` (good, scrap, rework) grow by."""
        if step in STOPPED.get(self._line.name, ()):
            return
        made = self._made()
        for index, pieces in enumerate(made):
            totals[index] += pieces
        yield self._unit_produced(step + 0.9, order, made)
        if step % PROGRESS_STEPS == 0:
            data = {"job_order_id": order, "quantity": produced(*totals)}
            yield self._event("production.order-progressed", step + 0.95, data, order)
        if step % LOT_STEPS == 0:
            yield from self._lots(step, order, sum(made) * LOT_STEPS)
        if self._line is MACHINING:
            yield from self._measured(step, order)

    def _made(self) -> tuple[int, int, int]:
        pieces = self._pieces_per_step() - self._random.randint(0, 3)
        scrap = sum(self._random.random() < self._line.scrap_share for _ in range(pieces))
        rework = int(scrap > 1 and self._random.random() < 0.5)
        return pieces - scrap - rework, scrap, rework

    def _unit_produced(self, step: float, order: str, made: tuple[int, int, int]) -> PlantEvent:
        last = self._line.work_units[-1]
        data: dict[str, Any] = {
            "job_order_id": order,
            "operations_segment_id": f"{len(self._line.work_units) * 10}-{last}",
            "material_definition_id": self._line.product,
            "quantity": produced(*made),
            "planned_runtime_per_item_seconds": self._line.seconds_per_piece,
        }
        if made[1]:
            data["defect_code"] = self._line.defect
        return self._event("production.unit-produced", step, data, order, last)

    def _lots(self, step: int, order: str, pieces: int) -> Iterator[PlantEvent]:
        consumed = f"LOT-{self._prefix}-R{step:02}"
        created = f"LOT-{self._prefix}-P{step:02}"
        kilograms = quantity(pieces * self._line.kilograms_per_piece, "kg")
        yield self._event(
            "inventory.lot-consumed",
            step + 0.2,
            {
                "material_lot_id": consumed,
                "material_definition_id": self._line.material,
                "quantity": kilograms,
                "storage_location": RAW_STORE,
                "job_order_id": order,
            },
            consumed,
        )
        made = {
            "material_lot_id": created,
            "material_definition_id": self._line.product,
            "quantity": quantity(pieces),
        }
        place = {"storage_location": self._line.name, "job_order_id": order}
        yield self._event("inventory.lot-created", step + 0.3, {**made, **place}, created)
        places = {
            "from_storage_location": self._line.name,
            "to_storage_location": FINISHED_STORE,
        }
        yield self._event("inventory.lot-moved", step + 0.8, {**made, **places}, created)

    def _measured(self, step: int, order: str) -> Iterator[PlantEvent]:
        """Every ten minutes one bushing of the order, until four subgroups of five are full."""
        number, between = divmod(step % (STEPS // ORDERS_PER_LINE) - SETUP_STEPS, 2)
        if between or number >= SUBGROUPS_PER_ORDER * SUBGROUP_SIZE:
            return
        value = self._random.gauss(30.010, 0.004)
        data = {
            "test_result_id": f"TR-{self._prefix}-{step:02}",
            "test_specification_id": "TS-bushing-30",
            "evaluation": "pass" if 29.998 <= value <= 30.022 else "fail",
            "characteristic": "bushing-bore",
            "measurement": quantity(value, "mm"),
            "lower_limit": quantity(29.998, "mm"),
            "upper_limit": quantity(30.022, "mm"),
            "subgroup": number // SUBGROUP_SIZE + 1,
            "sample": number % SUBGROUP_SIZE + 1,
            "job_order_id": order,
        }
        yield self._event("quality.test-result-recorded", step + 0.5, data, order)

    def _heartbeats(self) -> Iterator[PlantEvent]:
        for step in range(0, STEPS, LOT_STEPS):
            for work_unit in self._line.work_units:
                data = {"interval_seconds": (LOT_STEPS * STEP).total_seconds()}
                yield self._event("resource.heartbeat", step, data, None, work_unit)

    def _text(self, step: float) -> str:
        return self._at(step).isoformat()

    def _event(
        self,
        type_: str,
        step: float,
        data: dict[str, Any],
        /,
        subject: str | None = None,
        work_unit: str | None = None,
    ) -> PlantEvent:
        return PlantEvent(
            type=type_,
            time=self._at(step),
            line=self._line,
            work_unit=work_unit,
            data=data,
            subject=subject,
            priority="low" if type_ == "resource.heartbeat" else "normal",
        )
