"""What goes wrong in the simulated shift: one breakdown, one quality alert, one shortage."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, TypeAlias

from plant.event import PlantEvent, quantity
from plant.layout import RAW_STORE, Line

At: TypeAlias = Callable[[float], datetime]
"""When a step of the shift begins."""

BROKEN = "tool-broken"


def breakdown(line: Line, steps: range, at: At) -> Iterator[PlantEvent]:
    """Yield how the press is down for some steps, is repaired and runs again."""
    press = line.work_units[0]

    def event(type_: str, step: float, data: dict[str, Any], priority: str) -> PlantEvent:
        return PlantEvent(
            type=type_, time=at(step), line=line, work_unit=press, data=data, priority=priority
        )

    down: dict[str, Any] = {"state": "down", "previous_state": "running", "reason_code": BROKEN}
    down |= {"reason": "The punch broke", "planned": False}
    yield event("resource.state-changed", steps.start, down, "critical")
    lost = {
        "capability_id": line.product,
        "capability_type": "unattainable",
        "previous_capability_type": "committed",
    }
    yield event("resource.capability-changed", steps.start + 0.1, lost, "high")
    repair = {"mode": "maintenance", "previous_mode": "production", "reason_code": BROKEN}
    yield event("resource.mode-changed", steps.start + 1, repair, "high")
    repaired = {"mode": "production", "previous_mode": "maintenance"}
    yield event("resource.mode-changed", steps.stop - 0.3, repaired, "high")
    running = {"state": "running", "previous_state": "down", "since": at(steps.start).isoformat()}
    yield event("resource.state-changed", steps.stop - 0.2, running, "critical")
    back = {
        "capability_id": line.product,
        "capability_type": "committed",
        "previous_capability_type": "unattainable",
    }
    yield event("resource.capability-changed", steps.stop - 0.1, back, "high")


def tolerance_drift(line: Line, prefix: str, at: At) -> Iterator[PlantEvent]:
    """Yield how a bore drifts out of tolerance: alert, quarantine, decision, all clear."""
    alert, nonconformance, lot = f"QA-{prefix}", f"NC-{prefix}", f"LOT-{prefix}-P30"

    def event(type_: str, step: float, data: dict[str, Any], subject: str) -> PlantEvent:
        return PlantEvent(
            type=type_, time=at(step), line=line, data=data, subject=subject, priority="high"
        )

    raised = {
        "alert_id": alert,
        "condition_name": "bore-out-of-tolerance",
        "severity": 700,
        "message": "Bushing bore 30.027 mm is above its limit of 30.022 mm",
        "state": {"active": True, "acknowledged": False},
        "characteristic": "bushing-bore",
        "measurement": quantity(30.027, "mm"),
        "limit": quantity(30.022, "mm"),
        "material_lot_id": lot,
    }
    yield event("quality.alert-raised", 34, raised, alert)
    opened = {
        "nonconformance_id": nonconformance,
        "defect_code": line.defect,
        "quantity": quantity(40),
        "material_definition_id": line.product,
        "material_lot_id": lot,
        "alert_id": alert,
    }
    yield event("quality.nonconformance-opened", 34.5, opened, nonconformance)
    blocked = {"status": "quarantined", "previous_status": "available", "reason_code": "quality"}
    yield event("inventory.lot-status-changed", 34.6, {"material_lot_id": lot, **blocked}, lot)
    seen = {"alert_id": alert, "personnel_id": "op-17", "comment": "Grinding wheel dressed"}
    yield event("quality.alert-acknowledged", 36, seen, alert)
    cleared = {"alert_id": alert, "reason_code": "corrected", "since": at(34).isoformat()}
    yield event("quality.alert-cleared", 40, cleared, alert)
    closed = {"nonconformance_id": nonconformance, "disposition": "rework"}
    yield event("quality.nonconformance-closed", 44, closed, nonconformance)
    released = {"status": "released", "previous_status": "quarantined", "reason_code": "reworked"}
    yield event("inventory.lot-status-changed", 44.1, {"material_lot_id": lot, **released}, lot)


def shortage(line: Line, steps: range, at: At) -> Iterator[PlantEvent]:
    """Yield how the line runs out of material and waits for it."""
    low = {
        "material_definition_id": line.material,
        "storage_location": RAW_STORE,
        "quantity_on_hand": quantity(4.5, "kg"),
        "quantity_minimum": quantity(25, "kg"),
    }
    yield PlantEvent(
        type="inventory.level-below-minimum",
        time=at(steps.start - 2),
        line=line,
        data=low,
        subject=line.material,
        priority="high",
    )
    waits = {"state": "starved", "previous_state": "running", "reason_code": "material-missing"}
    goes_on = {"state": "running", "previous_state": "starved"}
    for step, data in ((steps.start, waits), (steps.stop - 0.1, goes_on)):
        yield PlantEvent(
            type="resource.state-changed",
            time=at(step),
            line=line,
            work_unit=line.work_units[0],
            data=data,
        )
