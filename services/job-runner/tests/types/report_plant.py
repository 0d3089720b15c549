"""A small plant in memory with every saved query that a report needs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from lineshaft_contracts.reports import ReportParameters, ReportResult
from lineshaft_job_runner.job_type import ColumnType as T
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.report_generate import ReportGenerate

START = datetime(2026, 11, 24, 5, tzinfo=UTC)
SPAN = {"shift_start": T.TIMESTAMP, "shift_end": T.TIMESTAMP}
HOUR = timedelta(hours=1)
Rows = list[tuple[Any, ...]]

QUERIES: dict[str, tuple[dict[str, T], Rows]] = {
    "shift_production": (
        {
            "order_id": T.TEXT, "product": T.TEXT, "line": T.TEXT, "good": T.INTEGER,
            "scrap": T.INTEGER, "rework": T.INTEGER, "started_at": T.TIMESTAMP,
            "finished_at": T.TIMESTAMP,
        },
        [(f"MO-{n}", "Gear", "line-1", 100 + n, n, 1, START, None) for n in range(7)],
    ),
    "shift_downtime": (
        {"line": T.TEXT, "reason": T.TEXT, "minutes": T.DECIMAL, "events": T.INTEGER},
        [("line-1", "Tool broken", Decimal("12.5"), 2), ("line-2", "No operator", Decimal(5), 1)],
    ),
    "shift_hourly": (
        {"hour": T.TIMESTAMP, "good": T.INTEGER, "scrap": T.INTEGER},
        [(START + n * HOUR, 90 + n, n) for n in range(8)],
    ),
    "oee_by_line": (
        {
            "line": T.TEXT, "planned_minutes": T.DECIMAL, "downtime_minutes": T.DECIMAL,
            "ideal_cycle_seconds": T.DOUBLE, "good": T.INTEGER, "scrap": T.INTEGER,
            "rework": T.INTEGER,
        },
        [("line-1", Decimal(420), Decimal(47), 1.0, 18_848, 423, 0)],
    ),
    "downtime_events": (
        {
            "line": T.TEXT, "work_unit": T.TEXT, "reason": T.TEXT, "started_at": T.TIMESTAMP,
            "finished_at": T.TIMESTAMP, "minutes": T.DECIMAL,
        },
        [
            ("line-1", "press-1", "Tool broken", START, START + HOUR, Decimal(60)),
            ("line-1", "press-1", "Jam", START + HOUR, START + HOUR, Decimal(15)),
            ("line-2", "lathe-1", "Jam", START + 2 * HOUR, None, Decimal(25)),
        ],
    ),
    "production_by_order": (
        {
            "order_id": T.TEXT, "product": T.TEXT, "line": T.TEXT, "quantity": T.INTEGER,
            "good": T.INTEGER, "scrap": T.INTEGER, "rework": T.INTEGER, "due_at": T.TIMESTAMP,
            "started_at": T.TIMESTAMP, "finished_at": T.TIMESTAMP,
        },
        [
            ("MO-1", "Gear", "line-1", 200, 190, 8, 2, START + HOUR, START, START + 2 * HOUR),
            ("MO-2", "Gear", "line-1", 100, 100, 0, 0, START + 3 * HOUR, START, START + HOUR),
            ("MO-3", "Shaft", "line-2", 50, 25, 1, 0, None, START, None),
        ],
    ),
    "scrap_by_defect": (
        {"product": T.TEXT, "line": T.TEXT, "defect": T.TEXT, "scrap": T.INTEGER},
        [
            ("Gear", "line-1", "Burr", 60),
            ("Shaft", "line-2", "Burr", 10),
            ("Gear", "line-1", "Crack", 20),
            ("Gear", "line-1", None, 10),
        ],
    ),
    "measurements": (
        {"subgroup": T.INTEGER, "value": T.DOUBLE},
        [(n // 5, 10 + ((n * 7) % 11) / 100) for n in range(150)],
    ),
}  # fmt: skip


def plant(**rows: Rows) -> dict[str, TableSource]:
    """Return the plant, with other rows for some queries."""
    tables = {
        name: Table(
            columns=columns,
            rows=rows.get(name, known),
            parameters={"characteristic": T.TEXT} if name == "measurements" else SPAN,
        )
        for name, (columns, known) in QUERIES.items()
    }
    return {"mes": TableSource(tables, batch_rows=3)}


def request(template: str, **changed: Any) -> dict[str, Any]:
    """Return the parameters of a report."""
    span: dict[str, Any] = {"shift_start": START.isoformat(), "shift_end": "2026-11-24T13:00:00Z"}
    if template == "spc-sheet":
        span = {"spc": {"characteristic": "bore", "unit": "mm"}}
    return {"template": template, "source": "mes", **span, **changed}


async def report(context: FolderContext, template: str, **changed: Any) -> ReportResult:
    """Make a report."""
    parameters = ReportParameters.model_validate(request(template, **changed))
    return await ReportGenerate().run(context, parameters)
