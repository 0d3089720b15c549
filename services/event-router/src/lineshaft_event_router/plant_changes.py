"""What one plant event states about orders, lots, quality alerts and equipment."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from lineshaft_contracts.envelope import Envelope


class ViewKind(StrEnum):
    """The tables of the present state; the words are kept in the database."""

    ORDER = "order"
    LOT = "lot"
    ALERT = "alert"
    EQUIPMENT = "equipment"


@dataclass(frozen=True, kw_only=True)
class Change:
    """Values that one event gives to the fields of one view; None takes a value away."""

    kind: ViewKind
    id: str
    fields: dict[str, Any]


Data: TypeAlias = dict[str, Any]
Reading: TypeAlias = Callable[[Data, str], Data]
"""Fields by name, from an event's data and its time."""


def changes_of(envelope: Envelope[Any]) -> Iterator[Change]:
    """Give the changes that an event makes; most make one, some none."""
    found = READINGS.get(envelope.type)
    operation = OPERATIONS.get(envelope.type)
    if found is None:
        return
    kind, read = found
    data = envelope.data.model_dump(mode="json", exclude_none=True)
    fields = read(data, envelope.time.isoformat())
    id_ = equipment_id(envelope.source) if kind is ViewKind.EQUIPMENT else data[IDS[kind]]
    yield Change(kind=kind, id=id_, fields=fields)
    if operation is not None:
        worked_on = [data["job_order_id"], data["operations_segment_id"]]
        yield Change(
            kind=ViewKind.EQUIPMENT,
            id=equipment_id(envelope.source),
            fields={operation: worked_on},
        )


def equipment_id(source: str) -> str:
    """Write an equipment path so that it is one segment of a URL."""
    return source.removeprefix("/").replace("/", ".")


def _taken(*names: str, **renamed: str) -> Reading:
    """Take the fields that an event has, by their own names or by others: `ours="theirs"`."""
    pairs = {**{name: name for name in names}, **renamed}

    def read(data: Data, _: str) -> Data:
        return {ours: data[theirs] for ours, theirs in pairs.items() if theirs in data}

    return read


def _lifecycle(state: str, taken: Reading, **at: str) -> Reading:
    """Set an order's state and its reason; `at` names a field that gets the event's time."""

    def read(data: Data, time: str) -> Data:
        reason = {name: data.get(name) for name in ("reason_code", "reason")}
        times = {name: time for name, default in at.items() if default == "time"}
        return {**reason, **times, **taken(data, time), "lifecycle": state}

    return read


def _progressed(data: Data, time: str) -> Data:
    taken = _taken("percent_complete", "operations_segment_id", produced_quantity="quantity")
    return {**taken(data, time), "progressed": True}


def _operation_started(data: Data, time: str) -> Data:
    return {**_taken("operations_segment_id")(data, time), "progressed": True}


def _lot_status(data: Data, time: str) -> Data:
    del time
    return {name: data.get(name) for name in ("status", "reason_code", "reason")}


def _lot_consumed(data: Data, time: str) -> Data:
    names = ("material_definition_id", "storage_location")
    if "quantity_remaining" in data:
        return _taken(*names, quantity="quantity_remaining")(data, time)
    return {**_taken(*names)(data, time), "used": True}


def _alert(moment: str, taken: Reading) -> Reading:
    def read(data: Data, time: str) -> Data:
        return {**taken(data, time), moment: time}

    return read


def _state_changed(data: Data, time: str) -> Data:
    return {
        "state": data["state"],
        "state_since": time,
        "state_reason_code": data.get("reason_code"),
        "state_reason": data.get("reason"),
        "planned": data.get("planned"),
    }


def _mode_changed(data: Data, time: str) -> Data:
    return {"mode": data["mode"], "mode_since": time}


def _heartbeat(data: Data, time: str) -> Data:
    taken = _taken(heartbeat_interval_seconds="interval_seconds", heartbeat_state="state")
    return {**taken(data, time), "heartbeat_at": time}


IDS: Mapping[ViewKind, str] = {
    ViewKind.ORDER: "job_order_id",
    ViewKind.LOT: "material_lot_id",
    ViewKind.ALERT: "alert_id",
}
OPERATIONS: Mapping[str, str] = {
    "plant.production.operation-started.v1": "operation",
    "plant.production.operation-completed.v1": "operation_ended",
}
"""Events that also tell what the equipment works on, and the field that they set."""

_RELEASED = _taken(
    "material_definition_id",
    "work_master_id",
    "operations_request_id",
    "dispatch_priority",
    planned_quantity="quantity",
    planned_start_time="start_time",
    planned_end_time="end_time",
)
_STARTED = _taken("material_definition_id", planned_quantity="quantity")
_COMPLETED = _taken(
    produced_quantity="quantity", actual_start_time="start_time", actual_end_time="end_time"
)
_ABORTED = _taken(produced_quantity="quantity")
_LOT_CREATED = _taken(
    "material_definition_id",
    "quantity",
    "status",
    "storage_location",
    "job_order_id",
    "expiration_time",
)
_LOT_MOVED = _taken("material_definition_id", storage_location="to_storage_location")
_LOT_ADJUSTED = _taken("material_definition_id", "quantity", "storage_location")
_RAISED = _taken(
    "condition_name",
    "severity",
    "message",
    "characteristic",
    "measurement",
    "limit",
    "job_order_id",
    "material_lot_id",
    condition="state",
)
_ACKNOWLEDGED = _taken("comment", acknowledged_by="personnel_id", condition="state")
_CLEARED = _taken("comment", condition="state")

_PRODUCTION: Mapping[str, Reading] = {
    "order-released": _lifecycle("released", _RELEASED),
    "order-started": _lifecycle("started", _STARTED, actual_start_time="time"),
    "order-progressed": _progressed,
    "order-completed": _lifecycle("completed", _COMPLETED, actual_end_time="time"),
    "order-held": _lifecycle("held", _taken()),
    "order-aborted": _lifecycle("aborted", _ABORTED, actual_end_time="time"),
    "operation-started": _operation_started,
    "operation-completed": _taken("operations_segment_id"),
}
_INVENTORY: Mapping[str, Reading] = {
    "lot-created": _LOT_CREATED,
    "lot-moved": _LOT_MOVED,
    "lot-adjusted": _LOT_ADJUSTED,
    "lot-consumed": _lot_consumed,
    "lot-status-changed": _lot_status,
}
_QUALITY: Mapping[str, Reading] = {
    "alert-raised": _alert("raised_at", _RAISED),
    "alert-acknowledged": _alert("acknowledged_at", _ACKNOWLEDGED),
    "alert-cleared": _alert("cleared_at", _CLEARED),
}
_RESOURCE: Mapping[str, Reading] = {
    "state-changed": _state_changed,
    "mode-changed": _mode_changed,
    "heartbeat": _heartbeat,
    "capability-changed": _taken(),
}

READINGS: Mapping[str, tuple[ViewKind, Reading]] = {
    f"plant.{domain}.{event}.v1": (kind, read)
    for domain, kind, readings in (
        ("production", ViewKind.ORDER, _PRODUCTION),
        ("inventory", ViewKind.LOT, _INVENTORY),
        ("quality", ViewKind.ALERT, _QUALITY),
        ("resource", ViewKind.EQUIPMENT, _RESOURCE),
    )
    for event, read in readings.items()
}
