"""production.schedule reads its plan from saved queries, and names rows that make none."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts.scheduling import ScheduleParameters, ScheduleResult
from lineshaft_job_runner.job_type import ColumnType, PermanentError
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.production_schedule import ProductionSchedule

MONDAY = datetime(2026, 11, 30, 5, tzinfo=UTC)
"""Six o'clock in Berlin."""


def at(hours: float) -> datetime:
    return MONDAY + timedelta(hours=hours)


def starts(result: ScheduleResult) -> dict[str, float]:
    """Return the hours after the beginning at which each operation starts."""
    return {
        f"{one.order}/{one.operation}": (one.start - MONDAY) / timedelta(hours=1)
        for one in result.assignments
    }


TEXT, NUMBER, TIME = ColumnType.TEXT, ColumnType.DOUBLE, ColumnType.TIMESTAMP
TABLES: dict[str, tuple[dict[str, ColumnType], list[tuple[Any, ...]]]] = {
    "schedule_orders": (
        {"order_id": TEXT, "routing": TEXT, "quantity": ColumnType.DECIMAL, "due_at": TIME},
        [("A1", "R", Decimal("1.0"), at(2)), ("A2", "R", Decimal(1), None)],
    ),
    "schedule_operations": (
        {
            "routing": TEXT,
            "position": ColumnType.INTEGER,
            "operation": TEXT,
            "resource": TEXT,
            "setup_minutes": NUMBER,
            "run_seconds_per_unit": NUMBER,
            "changeover_group": TEXT,
        },
        [
            ("R", 2, "20", "oven", 90.0, 0.0, None),
            ("R", 1, "10", "press", 0.0, 18_000.0, "red"),
            ("R", 2, "20", "oven-2", 90.0, 0.0, None),
        ],
    ),
    "schedule_resources": (
        {"resource": TEXT, "calendar": TEXT, "changeover": TEXT},
        [("press", "day", "colours"), ("oven", None, None), ("oven-2", None, None)],
    ),
    "schedule_shifts": (
        {
            "calendar": TEXT,
            "weekday": ColumnType.INTEGER,
            "start": TEXT,
            "end": TEXT,
            "break_start": TEXT,
            "break_end": TEXT,
        },
        [("day", day, "06:00", "14:00", "10:00", "10:30") for day in range(1, 6)],
    ),
    "exceptions": (
        {"calendar": TEXT, "day": ColumnType.DATE},
        [("day", date(2026, 12, 1))],
    ),
    "changeovers": (
        {"matrix": TEXT, "from_group": TEXT, "to_group": TEXT, "minutes": NUMBER},
        [("colours", "red", "red", 30.0)],
    ),
    "materials": (
        {"order_id": TEXT, "material": TEXT, "available_at": TIME},
        [("A2", "ore", at(1))],
    ),
    "closures": (
        {"resource": TEXT, "start_at": TIME, "end_at": TIME},
        [("oven", at(0), at(100))],
    ),
    "requirements": (
        {"routing": TEXT, "operation": TEXT, "resource": TEXT, "needs": TEXT},
        [("R", "10", "press", "oven-2")],
    ),
    "assignments": (
        {"order_id": TEXT, "operation": TEXT, "resource": TEXT, "start_at": TIME, "end_at": TIME},
        [("A1", "10", "press", at(0), at(5.5))],
    ),
}
QUERIES = {
    "source": "mes",
    **{name: name for name in TABLES if not name.startswith("schedule_")},
}


async def from_source(folder: Path, **changes: Any) -> ScheduleResult:
    tables = {
        name: Table(columns=columns, rows=rows)
        for name, (columns, rows) in {**TABLES, **changes}.items()
    }
    context = FolderContext(folder, sources={"mes": TableSource(tables, batch_rows=2)})
    parameters = {
        "horizon_start": MONDAY,
        "horizon_end": at(240),
        "timezone": "Europe/Berlin",
        "queries": QUERIES,
        "objectives": ["makespan"],
        "workers": 2,
    }
    return await ProductionSchedule().run(context, ScheduleParameters.model_validate(parameters))


async def test_a_plan_is_read_from_saved_queries(tmp_path: Path) -> None:
    result = await from_source(tmp_path)
    assert (result.status, result.moved_count, result.operations) == ("optimal", 0, 4)
    # Tuesday is closed; the oven too, so that its work is done where the press has its tool.
    assert starts(result)["A1/10"] == 0
    assert starts(result)["A2/10"] >= 6
    assert {one.resource for one in result.assignments} == {"press", "oven-2"}


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        (
            {"schedule_orders": ({"order_id": TEXT}, [("A1",)])},
            "columns_unfit",
            "lacks 'routing'; lacks 'quantity'",
        ),
        (
            {
                "changeovers": (
                    {"matrix": TEXT, "from_group": TEXT, "to_group": TEXT, "minutes": NUMBER},
                    [("colours", "red", None, 5.0)],
                )
            },
            "value_missing",
            "row 1 of query 'changeovers' has no to_group",
        ),
        (
            {
                "schedule_resources": (
                    {"resource": TEXT, "calendar": TEXT},
                    [("press", "night")],
                )
            },
            "plan_invalid",
            "names the unknown calendar 'night'",
        ),
    ],
)
async def test_rows_that_do_not_make_a_plan_are_named(
    tmp_path: Path, changes: dict[str, Any], code: str, words: str
) -> None:
    with pytest.raises(PermanentError, match=words) as raised:
        await from_source(tmp_path, **changes)
    assert raised.value.code == code
