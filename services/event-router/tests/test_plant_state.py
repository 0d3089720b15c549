"""What events make of the state of the plant, in whichever order they come."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.plant_views import PlantEquipment
from lineshaft_contracts.registry import contracts
from lineshaft_event_router import equipment_tree, plant_state
from lineshaft_event_router.plant_cells import LATEST, Cells, merge, stamp_of
from lineshaft_event_router.plant_changes import READINGS, ViewKind, changes_of

from .plant_facts import START, fact, order, pieces
from .plant_floor import SOURCE


def cells(events: Sequence[Envelope[Any]], kind: ViewKind = ViewKind.ORDER) -> Cells:
    found: Cells = {}
    for envelope in events:
        for change in changes_of(envelope):
            if change.kind is kind:
                latest = {LATEST: [envelope.source, envelope.type, envelope.id]}
                merge(found, change.fields | latest, stamp_of(envelope))
    return found


def life() -> list[Envelope[Any]]:
    return [
        order("released", 0, material_definition_id="ring", quantity=pieces(100)),
        order("started", 1),
        order("progressed", 2, quantity={"good": pieces(10)}, percent_complete=10),
        order("held", 3, reason_code="tool-broken", reason="Press 1"),
        order("progressed", 4, quantity={"good": pieces(20)}, percent_complete=20),
        order("completed", 5, quantity={"good": pieces(99), "scrap": pieces(1)}),
    ]


def test_an_order_is_what_its_events_say() -> None:
    states = [plant_state.order("JO-1", cells(life()[:n])).state for n in range(1, 7)]
    assert states == ["released", "started", "started", "held", "started", "completed"]
    done = plant_state.order("JO-1", cells(life()))
    assert done.planned_quantity is not None
    assert done.produced_quantity is not None
    assert done.produced_quantity.scrap is not None
    assert (done.planned_quantity.value, done.produced_quantity.scrap.value) == ("100", "1")
    assert (done.material_definition_id, done.percent_complete) == ("ring", 20)
    assert done.actual_start_time == START + timedelta(minutes=1)
    assert done.actual_end_time == done.changed_at == START + timedelta(minutes=5)
    assert done.reason_code is None
    assert done.event_type == "plant.production.order-completed.v1"
    held = plant_state.order("JO-1", cells(life()[:4]))
    assert (held.reason_code, held.reason) == ("tool-broken", "Press 1")


def test_neither_order_nor_repetition_of_events_matters() -> None:
    events = life()
    expected = cells(events)
    shuffler = random.Random(7)
    for _ in range(200):
        mixed = events + shuffler.choices(events, k=4)
        shuffler.shuffle(mixed)
        assert cells(mixed) == expected


def test_a_late_event_fills_gaps_and_overwrites_nothing_newer() -> None:
    late = order("released", 0, material_definition_id="ring", quantity=pieces(100))
    found = plant_state.order("JO-1", cells([order("started", 1, quantity=pieces(80)), late]))
    assert found.planned_quantity is not None
    assert (found.state, found.planned_quantity.value) == ("started", "80")
    assert found.material_definition_id == "ring"


def test_at_equal_times_what_was_heard_last_counts_then_the_greater_id() -> None:
    one, two = order("held", 1, reason_code="a", heard=3), order("held", 1, reason_code="b")
    assert plant_state.order("JO-1", cells([one, two])).reason_code == "a"
    low, high = (order("held", 1, reason_code=id_, id=id_) for id_ in ("a", "b"))
    assert plant_state.order("JO-1", cells([high, low])).reason_code == "b"


def test_progress_after_its_end_does_not_revive_an_order() -> None:
    late = order("progressed", 9, quantity={"good": pieces(100)})
    assert plant_state.order("JO-1", cells([*life(), late])).state == "completed"


def test_a_lot_tells_whether_its_quantity_still_holds() -> None:
    def lot(name: str, minute: float, **data: Any) -> Envelope[Any]:
        return fact(f"inventory.lot-{name}", minute, {"material_lot_id": "L", **data})

    used = {"material_definition_id": "ring", "quantity": pieces(5)}
    created = lot("created", 0, **used, storage_location="store-a")
    exact = lot("consumed", 1, **used, quantity_remaining=pieces(3))
    vague = lot("consumed", 2, **used)
    moved = lot(
        "moved",
        3,
        quantity=pieces(3),
        from_storage_location="store-a",
        to_storage_location="store-b",
    )
    blocked = lot("status-changed", 4, status="blocked", reason_code="hold")
    found = plant_state.lot("L", cells([created, exact], ViewKind.LOT))
    assert found.quantity is not None
    assert (found.quantity.value, found.used_at) == ("3", None)
    found = plant_state.lot("L", cells([created, exact, vague, moved, blocked], ViewKind.LOT))
    assert found.used_at == START + timedelta(minutes=2)
    assert (found.storage_location, found.status) == ("store-b", "blocked")
    empty = cells(
        [created, lot("consumed", 9, **used, quantity_remaining=pieces(0))], ViewKind.LOT
    )
    assert plant_state.facets(ViewKind.LOT, empty).finished


def test_an_alert_that_is_raised_again_is_active_again() -> None:
    def alert(name: str, minute: float, **data: Any) -> Envelope[Any]:
        return fact(f"quality.alert-{name}", minute, {"alert_id": "A", **data})

    raised = {"condition_name": "limit", "severity": 700, "message": "Too wide"}
    events = [
        alert("raised", 0, **raised),
        alert("acknowledged", 1, personnel_id="op-1"),
        alert("cleared", 2, comment="Done"),
        alert("raised", 3, **raised | {"severity": 800}),
    ]
    seen = [plant_state.alert("A", cells(events[:n], ViewKind.ALERT)) for n in range(1, 5)]
    assert [one.state for one in seen] == ["active", "acknowledged", "cleared", "active"]
    assert (seen[2].acknowledged_by, seen[2].comment) == ("op-1", "Done")
    again = seen[3]
    assert (again.severity, again.acknowledged_by, again.cleared_at, again.comment) == (
        (800, None, None, None)
    )


def machine(*events: Envelope[Any], source: str = SOURCE) -> PlantEquipment:
    id_ = source[1:].replace("/", ".")
    return plant_state.equipment(id_, cells(events, ViewKind.EQUIPMENT))


def test_equipment_shows_its_state_its_mode_and_its_operation() -> None:
    work = {"job_order_id": "JO-1", "operations_segment_id": "10"}
    down = fact("resource.state-changed", 0, {"state": "down", "reason_code": "jam"})
    mode = fact("resource.mode-changed", 1, {"mode": "manual"})
    begun = fact("production.operation-started", 2, work)
    ended = fact("production.operation-completed", 3, work | {"quantity": {"good": pieces(1)}})
    found = machine(down, mode, begun)
    assert (found.path, found.equipment_id) == (SOURCE, SOURCE[1:].replace("/", "."))
    assert (found.state, found.state_reason_code, found.mode) == ("down", "jam", "manual")
    assert (found.job_order_id, found.operations_segment_id) == ("JO-1", "10")
    assert machine(begun, ended, down).job_order_id is None
    other = fact("production.operation-started", 4, work | {"operations_segment_id": "20"})
    assert machine(begun, ended, other).operations_segment_id == "20"


def test_a_heartbeat_that_knows_better_is_believed() -> None:
    down = fact("resource.state-changed", 0, {"state": "down", "reason_code": "jam"})
    same = fact("resource.heartbeat", 1, {"interval_seconds": 30.0, "state": "down"})
    other = fact("resource.heartbeat", 2, {"interval_seconds": 30.0, "state": "running"})
    assert machine(down, same).state_since == START
    found = machine(down, same, other)
    assert (found.state, found.state_reason_code) == ("running", None)
    assert found.state_since == START + timedelta(minutes=2)


def test_the_tree_counts_the_states_below_each_level() -> None:
    def at(source: str, state: str) -> PlantEquipment:
        changed = fact("resource.state-changed", 0, {"state": state}, source=source)
        return machine(changed, source=source)

    pieces_ = [at("/acme/n/a/l1/p1", "down"), at("/acme/n/a/l1", "idle"), at("/acme/s", "down")]
    (root,) = equipment_tree.grow(pieces_)
    assert (root.path, root.equipment, root.by_state) == ("/acme", None, {"down": 2, "idle": 1})
    north, south = root.children
    assert (north.name, south.path, south.by_state) == ("n", "/acme/s", {"down": 1})
    line = north.children[0].children[0]
    assert line.equipment is not None
    assert line.by_state == {"down": 1, "idle": 1}


@pytest.mark.parametrize("type_", sorted(READINGS))
def test_every_event_that_is_read_exists(type_: str) -> None:
    assert contracts()[type_].external
