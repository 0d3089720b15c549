"""The views as people see them, from the cells that are kept of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from lineshaft_contracts.plant_views import (
    AlertCondition,
    OrderState,
    PlantAlert,
    PlantEquipment,
    PlantLot,
    PlantOrder,
)

from lineshaft_event_router.plant_cells import LATEST, Cells, is_later, moment, stamp, value
from lineshaft_event_router.plant_changes import ViewKind

ENDED = frozenset({OrderState.COMPLETED.value, OrderState.ABORTED.value})


@dataclass(frozen=True, kw_only=True)
class Facets:
    """By what a view can be found, and whether it may be forgotten after a while."""

    state: str
    source: str
    changed_at: datetime
    material: str | None
    place: str | None
    job_order: str | None
    severity: int | None
    finished: bool


def facets(kind: ViewKind, cells: Cells) -> Facets:
    """Return what is stored beside the cells."""
    state = STATES[kind](cells)
    source, _, _ = value(cells, LATEST)
    return Facets(
        state=state,
        source=source,
        changed_at=moment(cells[LATEST][1]),
        material=value(cells, "material_definition_id"),
        place=value(cells, "storage_location"),
        job_order=value(cells, "job_order_id"),
        severity=value(cells, "severity"),
        finished=_finished(kind, state, cells),
    )


def order(id_: str, cells: Cells) -> PlantOrder:
    """Show a job order."""
    return PlantOrder.model_validate(
        {**_shown(cells), "job_order_id": id_, "state": STATES[ViewKind.ORDER](cells)}
    )


def lot(id_: str, cells: Cells) -> PlantLot:
    """Show a material lot."""
    stated, used = stamp(cells, "quantity"), stamp(cells, "used")
    return PlantLot.model_validate(
        {
            **_shown(cells),
            "material_lot_id": id_,
            "status": STATES[ViewKind.LOT](cells),
            "quantity_at": stated and moment(stated[0]),
            "used_at": moment(used[0]) if used and is_later(cells, "used", "quantity") else None,
        }
    )


def alert(id_: str, cells: Cells) -> PlantAlert:
    """Show a quality alert; what was said of an earlier raise of it is left out."""
    shown = {**_shown(cells), "alert_id": id_, "state": STATES[ViewKind.ALERT](cells)}
    if is_later(cells, "raised_at", "acknowledged_at"):
        shown |= {"acknowledged_at": None, "acknowledged_by": None}
    if is_later(cells, "raised_at", "cleared_at"):
        shown["cleared_at"] = None
    if is_later(cells, "raised_at", "comment"):
        shown["comment"] = None
    return PlantAlert.model_validate(shown)


def equipment(id_: str, cells: Cells) -> PlantEquipment:
    """Show a piece of equipment."""
    shown = {**_shown(cells), "equipment_id": id_, "path": "/" + id_.replace(".", "/")}
    shown["state"] = STATES[ViewKind.EQUIPMENT](cells)
    if shown["state"] != value(cells, "state"):
        shown["state_since"] = shown.get("heartbeat_at")
        shown |= {"state_reason_code": None, "state_reason": None, "planned": None}
    shown["mode"] = value(cells, "mode") or "unknown"
    operation, ended = value(cells, "operation"), value(cells, "operation_ended")
    if operation and not (operation == ended and is_later(cells, "operation_ended", "operation")):
        shown["job_order_id"], shown["operations_segment_id"] = operation
    return PlantEquipment.model_validate(shown)


def _shown(cells: Cells) -> dict[str, Any]:
    source, type_, event_id = value(cells, LATEST)
    return {
        **{name: cell[0] for name, cell in cells.items()},
        "source": source,
        "event_type": type_,
        "event_id": event_id,
        "changed_at": moment(cells[LATEST][1]),
    }


def _order_state(cells: Cells) -> str:
    """Take progress for a sign that an order runs, unless it has ended."""
    state = value(cells, "lifecycle")
    progressed = is_later(cells, "progressed", "lifecycle")
    if state is None:
        return OrderState.STARTED.value if progressed else OrderState.UNKNOWN.value
    return OrderState.STARTED.value if progressed and state not in ENDED else state


def _alert_state(cells: Cells) -> str:
    if is_later(cells, "cleared_at", "raised_at"):
        return AlertCondition.CLEARED.value
    if is_later(cells, "acknowledged_at", "raised_at"):
        return AlertCondition.ACKNOWLEDGED.value
    return AlertCondition.ACTIVE.value


def _equipment_state(cells: Cells) -> str:
    """Believe a heartbeat that says another state: the event of a change was missed."""
    name = "heartbeat_state" if is_later(cells, "heartbeat_state", "state") else "state"
    return value(cells, name) or "unknown"


def _finished(kind: ViewKind, state: str, cells: Cells) -> bool:
    if kind is ViewKind.ORDER:
        return state in ENDED
    if kind is ViewKind.LOT:
        quantity = value(cells, "quantity")
        return state == "consumed" or (quantity is not None and Decimal(quantity["value"]) == 0)
    return kind is ViewKind.ALERT and state == AlertCondition.CLEARED.value


STATES: Mapping[ViewKind, Callable[[Cells], str]] = {
    ViewKind.ORDER: _order_state,
    ViewKind.LOT: lambda cells: value(cells, "status") or "unknown",
    ViewKind.ALERT: _alert_state,
    ViewKind.EQUIPMENT: _equipment_state,
}
