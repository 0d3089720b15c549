"""Signals and counters from plant events."""

from datetime import UTC, datetime, timedelta

import pytest
from lineshaft_contracts.envelope import Envelope, Quantity, envelop
from lineshaft_contracts.plant import ProducedQuantity
from lineshaft_contracts.production import UnitProduced
from lineshaft_contracts.resource import EquipmentState, StateChanged
from lineshaft_monitor import plant_signals
from lineshaft_monitor.plant_signals import PlantSignals

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
PRESS = "/acme/north/stamping/line-1/press-1"
DOWN, RUNNING = EquipmentState.DOWN, EquipmentState.RUNNING


def changed(
    state: EquipmentState, seconds: float = 0, path: str = PRESS
) -> Envelope[StateChanged]:
    event = envelop(StateChanged(state=state), source=path, tenant=path.split("/")[1])
    return event.model_copy(update={"time": NOW + timedelta(seconds=seconds)})


def produced(good: str, scrap: str = "0", path: str = PRESS) -> Envelope[UnitProduced]:
    quantity = ProducedQuantity(
        good=Quantity(value=good, uom="pcs"), scrap=Quantity(value=scrap, uom="pcs")
    )
    data = UnitProduced(material_definition_id="ring", quantity=quantity)
    return envelop(data, source=path, tenant=path.split("/")[1])


@pytest.fixture
def plant() -> PlantSignals:
    return PlantSignals()


def test_equipment_that_goes_down_is_a_signal(plant: PlantSignals) -> None:
    down = plant.on_state_changed(changed(DOWN), NOW)
    assert down is not None
    assert (down.value, dict(down.labels)) == (1, {"tenant": "acme", "equipment": PRESS})
    assert [o.value for o in plant.unsettled(NOW, every=True)] == [1]
    up = plant.on_state_changed(changed(RUNNING, 1), NOW)
    assert up is not None
    assert up.value == 0
    assert plant.unsettled(NOW, every=True) == []


def test_an_older_state_that_comes_late_is_ignored(plant: PlantSignals) -> None:
    plant.on_state_changed(changed(DOWN, 10), NOW)
    assert plant.on_state_changed(changed(RUNNING, 5), NOW) is None
    assert len(plant.unsettled(NOW, every=True)) == 1


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
    assert len(plant.unsettled(NOW, every=True)) == 1
    assert plant.on_state_changed(changed(RUNNING, -1), NOW) is None
    assert plant.on_state_changed(changed(RUNNING, 1), NOW) is not None


def test_only_what_changed_is_evaluated_again(plant: PlantSignals) -> None:
    plant.load([(PRESS, 1.0, NOW)])
    plant.on_state_changed(changed(DOWN, path="/acme/north/press-2"), NOW)
    shown = plant.unsettled(NOW, every=False)
    assert len(shown) == 2
    plant.settled(shown)
    assert plant.unsettled(NOW, every=False) == []
    assert len(plant.unsettled(NOW, every=True)) == 2
    plant.on_state_changed(changed(DOWN, 1), NOW)
    assert [dict(o.labels)["equipment"] for o in plant.unsettled(NOW, every=False)] == [PRESS]


def test_the_count_of_a_line_follows_every_change(plant: PlantSignals) -> None:
    plant.on_unit_produced(produced("1"))
    (line,) = plant.lines()
    other = PRESS.replace("press-1", "press-2")
    for event, count in (
        (changed(DOWN), 1),
        (changed(DOWN, 1), 1),
        (changed(DOWN, path=other), 2),
        (changed(EquipmentState.UNKNOWN, 2), 2),
        (changed(RUNNING, 3), 1),
        (changed(RUNNING, 4), 1),
        (changed(RUNNING, path=other), 0),
    ):
        plant.on_state_changed(event, NOW)
        assert plant.down_count(line) == count


def test_a_tenant_with_too_much_equipment_down_crowds_out_nobody(
    plant: PlantSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plant_signals, "EQUIPMENT_PER_TENANT_MAX", 3)
    paths = [f"/greedy/north/stamping/line-1/press-{number}" for number in range(5)]
    taken = [plant.on_state_changed(changed(DOWN, path=path), NOW) for path in paths]
    assert [o is not None for o in taken] == [True, True, True, False, False]
    assert plant.on_state_changed(changed(DOWN), NOW) is not None
    assert len(plant.unsettled(NOW, every=True)) == 4
    # What is not followed may still have an alert that ends now.
    assert plant.on_state_changed(changed(RUNNING, path=paths[4]), NOW) is not None
    plant.on_state_changed(changed(RUNNING, 1, paths[0]), NOW)
    assert plant.on_state_changed(changed(DOWN, path=paths[3]), NOW) is not None
    assert len(plant.unsettled(NOW, every=True)) == 4


def test_a_tenant_with_too_many_lines_crowds_out_nobody(
    plant: PlantSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plant_signals, "LINES_PER_TENANT_MAX", 2)
    for number in range(4):
        plant.on_unit_produced(produced("1", path=f"/greedy/north/stamping/line-{number}"))
    plant.on_unit_produced(produced("1"))
    assert len(plant.lines("greedy")) == 2
    assert len(plant.lines("acme")) == 1
    assert len(plant.lines(limit=2)) == 2


def test_the_same_id_of_another_source_is_another_event(plant: PlantSignals) -> None:
    event = produced("1")
    other = produced("1", path=PRESS.replace("press-1", "press-2"))
    stranger = produced("1", path=PRESS.replace("acme", "other"))
    for sent in (event, other, stranger, event):
        plant.on_unit_produced(sent.model_copy(update={"id": event.id}))
    assert [str(line.amounts["good"]) for line in plant.lines()] == ["2", "1"]
