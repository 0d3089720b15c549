"""Which columns the tables of a plan have, and how their rows belong together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

COLUMNS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "orders": (("order_id", "routing", "quantity"), ("due_at", "release_at", "weight")),
    "operations": (
        ("routing", "position", "operation", "resource", "setup_minutes", "run_seconds_per_unit"),
        ("efficiency", "interruptible", "lag_minutes", "changeover_group"),
    ),
    "resources": (
        ("resource",),
        ("calendar", "capacity", "efficiency", "changeover", "initial_group"),
    ),
    "shifts": (
        ("calendar", "weekday", "start", "end"),
        ("timezone", "break_start", "break_end"),
    ),
    "exceptions": (("calendar", "day"), ("start", "end")),
    "requirements": (("routing", "operation", "resource", "needs"), ("quantity",)),
    "closures": (("resource", "start_at", "end_at"), ("reason",)),
    "changeovers": (("matrix", "from_group", "to_group", "minutes"), ()),
    "materials": (("order_id", "material", "available_at"), ("operation",)),
    "assignments": (("order_id", "operation", "resource", "start_at", "end_at"), ("locked",)),
}
"""Required and optional columns by table; what is absent or NULL has its default."""


def assemble(tables: Tables) -> dict[str, Any]:
    """Return the plan as a Plan reads it."""
    return {
        "orders": _orders(tables),
        "routings": _routings(tables),
        "resources": _resources(tables),
        "calendars": _calendars(tables),
        "changeovers": _changeovers(tables),
        "assignments": [
            _known(
                order=row["order_id"],
                operation=row["operation"],
                resource=row["resource"],
                start=row["start_at"],
                end=row["end_at"],
                locked=row.get("locked"),
            )
            for row in tables.get("assignments", ())
        ],
    }


def _known(**values: Any) -> dict[str, Any]:
    """Leave out what is not known, and give numbers as the plan has them."""
    return {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in values.items()
        if value is not None
    }


def _grouped(tables: Tables, table: str, *key: str) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = defaultdict(list)
    for row in tables.get(table, ()):
        groups[tuple(row[name] for name in key)].append(row)
    return groups


def _orders(tables: Tables) -> list[dict[str, Any]]:
    materials = _grouped(tables, "materials", "order_id")
    return [
        _known(
            id=row["order_id"],
            routing=row["routing"],
            quantity=row["quantity"],
            due_at=row.get("due_at"),
            release_at=row.get("release_at"),
            weight=row.get("weight"),
            materials=[
                _known(
                    material=one["material"],
                    available_at=one["available_at"],
                    operation=one.get("operation"),
                )
                for one in materials.get((row["order_id"],), ())
            ],
        )
        for row in tables.get("orders", ())
    ]


def _routings(tables: Tables) -> list[dict[str, Any]]:
    """One row is one alternative; the first of an operation has what all of them share."""
    needs = _grouped(tables, "requirements", "routing", "operation", "resource")
    routings: list[dict[str, Any]] = []
    for (routing,), rows in _grouped(tables, "operations", "routing").items():
        operations: dict[str, dict[str, Any]] = {}
        for row in sorted(rows, key=lambda row: row["position"]):
            operation = operations.setdefault(
                row["operation"],
                _known(
                    id=row["operation"],
                    interruptible=row.get("interruptible"),
                    lag_minutes=row.get("lag_minutes"),
                    changeover_group=row.get("changeover_group"),
                    alternatives=[],
                ),
            )
            key = (routing, row["operation"], row["resource"])
            operation["alternatives"].append(
                _known(
                    resource=row["resource"],
                    setup_minutes=row["setup_minutes"],
                    run_seconds_per_unit=row["run_seconds_per_unit"],
                    efficiency=row.get("efficiency"),
                    requirements=[
                        _known(resource=need["needs"], quantity=need.get("quantity"))
                        for need in needs.get(key, ())
                    ],
                )
            )
        routings.append({"id": routing, "operations": list(operations.values())})
    return routings


def _resources(tables: Tables) -> list[dict[str, Any]]:
    closures = _grouped(tables, "closures", "resource")
    return [
        _known(
            id=row["resource"],
            calendar=row.get("calendar"),
            capacity=row.get("capacity"),
            efficiency=row.get("efficiency"),
            changeover=row.get("changeover"),
            initial_group=row.get("initial_group"),
            closures=[
                _known(start=one["start_at"], end=one["end_at"], reason=one.get("reason"))
                for one in closures.get((row["resource"],), ())
            ],
        )
        for row in tables.get("resources", ())
    ]


def _calendars(tables: Tables) -> list[dict[str, Any]]:
    """Rows with the same calendar, day and times are the breaks of one shift."""
    shifts = _grouped(tables, "shifts", "calendar")
    exceptions = _grouped(tables, "exceptions", "calendar")
    calendars: list[dict[str, Any]] = []
    for (name,) in dict.fromkeys([*shifts, *exceptions]):
        weekly: dict[tuple[Any, ...], dict[str, Any]] = {}
        zone: str | None = None
        for row in shifts.get((name,), ()):
            zone = row.get("timezone") or zone
            key = (row["weekday"], row["start"], row["end"])
            shift = weekly.setdefault(
                key,
                {"weekdays": [key[0]], "start": key[1], "end": key[2], "breaks": []},
            )
            if row.get("break_start") is not None:
                shift["breaks"].append({"start": row["break_start"], "end": row.get("break_end")})
        days: dict[date, list[dict[str, Any]]] = {}
        for row in exceptions.get((name,), ()):
            day = days.setdefault(row["day"], [])
            if row.get("start") is not None:
                day.append({"start": row["start"], "end": row.get("end")})
        calendars.append(
            _known(
                id=name,
                timezone=zone,
                shifts=list(weekly.values()),
                exceptions=[{"date": day, "shifts": open_} for day, open_ in days.items()],
            )
        )
    return calendars


def _changeovers(tables: Tables) -> list[dict[str, Any]]:
    return [
        {
            "id": matrix,
            "times": [
                _known(
                    from_group=row["from_group"],
                    to_group=row["to_group"],
                    minutes=row["minutes"],
                )
                for row in rows
            ],
        }
        for (matrix,), rows in _grouped(tables, "changeovers", "matrix").items()
    ]
