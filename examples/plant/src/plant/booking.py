"""How each kind of plant event changes the tables of the MES: SQL by event type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from plant.event import PlantEvent


@dataclass(frozen=True)
class Statement:
    """One SQL statement, and its arguments for an event; None when it does not concern it."""

    sql: str
    arguments: Callable[[PlantEvent], tuple[Any, ...] | None]


def _pieces(event: PlantEvent, fate: str) -> int:
    return int(event.data["quantity"][fate]["value"])


def _amount(event: PlantEvent) -> Decimal:
    return Decimal(event.data["quantity"]["value"])


def _measured(event: PlantEvent) -> tuple[Any, ...]:
    data = event.data
    value = float(data["measurement"]["value"])
    order = data["job_order_id"]
    return data["characteristic"], order, data["subgroup"], data["sample"], value


def _stopped(event: PlantEvent) -> tuple[Any, ...] | None:
    if event.data["state"] not in {"down", "starved"}:
        return None
    return event.line.name, event.work_unit, event.data["reason_code"], event.time


def _running_again(event: PlantEvent) -> tuple[Any, ...] | None:
    stopped = event.data["previous_state"] in {"down", "starved"}
    return (event.work_unit, event.time) if stopped else None


STATEMENTS: Mapping[str, tuple[Statement, ...]] = {
    "production.order-released": (
        Statement(
            "INSERT INTO orders (order_id, product, line, quantity, due_at, state) "
            "VALUES ($1, $2, $3, $4, $5, 'released')",
            lambda event: (
                event.data["job_order_id"],
                event.data["material_definition_id"],
                event.line.name,
                int(event.data["quantity"]["value"]),
                datetime.fromisoformat(event.data["end_time"]),
            ),
        ),
    ),
    "production.order-started": (
        Statement(
            "UPDATE orders SET state = 'running', started_at = $2 WHERE order_id = $1",
            lambda event: (event.data["job_order_id"], event.time),
        ),
    ),
    "production.operation-started": (
        Statement(
            "INSERT INTO operations (order_id, segment_id, work_unit, started_at) "
            "VALUES ($1, $2, $3, $4)",
            lambda event: (
                event.data["job_order_id"],
                event.data["operations_segment_id"],
                event.work_unit,
                event.time,
            ),
        ),
    ),
    "production.unit-produced": (
        Statement(
            "INSERT INTO production "
            "(order_id, work_unit, produced_at, good, scrap, rework, defect) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            lambda event: (
                event.data["job_order_id"],
                event.work_unit,
                event.time,
                _pieces(event, "good"),
                _pieces(event, "scrap"),
                _pieces(event, "rework"),
                event.data.get("defect_code"),
            ),
        ),
    ),
    "production.operation-completed": (
        Statement(
            "UPDATE operations SET finished_at = $3 WHERE order_id = $1 AND segment_id = $2",
            lambda event: (
                event.data["job_order_id"],
                event.data["operations_segment_id"],
                event.time,
            ),
        ),
    ),
    "production.order-completed": (
        Statement(
            "UPDATE orders SET state = 'completed', finished_at = $2 WHERE order_id = $1",
            lambda event: (event.data["job_order_id"], event.time),
        ),
    ),
    "inventory.lot-created": (
        Statement(
            "INSERT INTO lots (lot_id, material, location, quantity, uom, order_id, created_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            lambda event: (
                event.data["material_lot_id"],
                event.data["material_definition_id"],
                event.data["storage_location"],
                _amount(event),
                event.data["quantity"]["uom"],
                event.data["job_order_id"],
                event.time,
            ),
        ),
    ),
    "inventory.lot-moved": (
        Statement(
            "UPDATE lots SET location = $2 WHERE lot_id = $1",
            lambda event: (event.data["material_lot_id"], event.data["to_storage_location"]),
        ),
        Statement(
            "INSERT INTO stock (material, location, on_hand, uom) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (material, location) "
            "DO UPDATE SET on_hand = stock.on_hand + EXCLUDED.on_hand",
            lambda event: (
                event.data["material_definition_id"],
                event.data["to_storage_location"],
                _amount(event),
                event.data["quantity"]["uom"],
            ),
        ),
    ),
    "inventory.lot-consumed": (
        Statement(
            "UPDATE stock SET on_hand = on_hand - $3 WHERE material = $1 AND location = $2",
            lambda event: (
                event.data["material_definition_id"],
                event.data["storage_location"],
                _amount(event),
            ),
        ),
    ),
    "inventory.lot-status-changed": (
        Statement(
            "UPDATE lots SET status = $2 WHERE lot_id = $1",
            lambda event: (event.data["material_lot_id"], event.data["status"]),
        ),
    ),
    "quality.test-result-recorded": (
        Statement(
            "INSERT INTO measurements (characteristic, batch, subgroup, sequence, value, trial) "
            "VALUES ($1, $2, $3, $4, $5, false)",
            _measured,
        ),
    ),
    "resource.state-changed": (
        Statement(
            "INSERT INTO downtime (line, work_unit, reason, started_at) VALUES ($1, $2, $3, $4)",
            _stopped,
        ),
        Statement(
            "UPDATE downtime SET finished_at = $2 "
            "WHERE work_unit = $1 AND finished_at IS NULL AND started_at < $2",
            _running_again,
        ),
    ),
}
"""In the order in which they have to run: an order exists before its operations do."""
