"""Signals and counters from plant events."""

from datetime import UTC, datetime, timedelta

import pytest
from lineshaft_contracts.envelope import Envelope, Quantity, envelop
from lineshaft_contracts.plant import ProducedQuantity
from lineshaft_contracts.production import UnitProduced
from lineshaft_contracts.resource import EquipmentState, StateChanged
from lineshaft_monitor.plant_signals import PlantSignals

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
PRESS = "/acme/north/stamping/line-1/press-1"
DOWN, RUNNING = EquipmentState.DOWN, EquipmentState.RUNNING


def changed(state: EquipmentState, seconds: float = 0) -> Envelope[StateChanged]:
    event = envelop(StateChanged(state=state), source=PRESS, tenant="acme")
    return event.model_copy(update={"time": NOW + timedelta(seconds=seconds)})


def produced(good: str, scrap: str = "0") -> Envelope[UnitProduced]:
    quantity = ProducedQuantity(
        good=Quantity(value=good, uom="pcs"), scrap=Quantity(value=scrap, uom="pcs")
    )
    data = UnitProduced(material_definition_id="ring", quantity=quantity)
    return envelop(data, source=PRESS, tenant="acme")


@pytest.fixture
def plant() -> PlantSignals:
    return PlantSignals()


def test_equipment_that_goes_down_is_a_signal(plant: PlantSignals) -> None:
    down = plant.on_state_changed(changed(DOWN), NOW)
    assert down is not None
    assert (down.value, dict(down.labels)) == (1, {"tenant": "acme", "equipment": PRESS})
    assert [o.value for o in plant.observations(NOW)] == [1]
    up = plant.on_state_changed(changed(RUNNING, 1), NOW)
    assert up is not None
    assert up.value == 0
    assert list(plant.observations(NOW)) == []


def test_an_older_state_that_comes_late_is_ignored(plant: PlantSignals) -> None:
    plant.on_state_changed(changed(DOWN, 10), NOW)
    assert plant.on_state_changed(changed(RUNNING, 5), NOW) is None
    assert len(list(plant.observations(NOW))) == 1


def test_an_unknown_state_says_nothing(plant: PlantSignals) -> None:
    unknown = plant.on_state_changed(changed(EquipmentState.UNKNOWN), NOW)
    assert unknown is not None
    assert unknown.value is None


def test_output_is_summed_up_by_line_and_a_repeat_counts_once(plant: PlantSignals) -> None:
    event = produced("10.5", "1")
    for repeated in (event, event, produced("2")):
        plant.on_unit_produced(repeated)
    (line,) = plant.lines("acme")
    assert line.name == "north/stamping/line-1"
    assert {k: str(v) for k, v in line.amounts.items()} == {
        "good": "12.5",
        "scrap": "1",
        "rework": "0",
    }
    assert plant.lines("other") == []
    labels = (("fate", "good"), ("line", line.name), ("tenant", "acme"))
    assert plant.samples()["plant_units_total", labels] == 12.5


def test_equipment_that_is_down_is_counted_by_line(plant: PlantSignals) -> None:
    plant.on_unit_produced(produced("1"))
    plant.on_state_changed(changed(DOWN), NOW)
    assert plant.down_count(plant.lines()[0]) == 1


def test_equipment_that_was_down_before_a_restart_still_is(plant: PlantSignals) -> None:
    plant.load([(PRESS, 1.0, NOW)])
    assert len(list(plant.observations(NOW))) == 1
    assert plant.on_state_changed(changed(RUNNING, -1), NOW) is None
    assert plant.on_state_changed(changed(RUNNING, 1), NOW) is not None
