"""The jobs of the shift: submitted, awaited, and their files opened."""

import asyncio
import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lineshaft_cli.api import Api
from lineshaft_cli.demo import backups, mails, reports, schedules, stocks
from lineshaft_cli.demo.checks import DemoError, expect

WAIT_SECONDS = 120.0
POLL_SECONDS = 0.3

PISTON_RINGS = {"center": 74.001176, "lower": 73.988048, "upper": 74.014304}
"""X-bar chart of the first 25 samples, computed by R's qcc: the piston rings of Montgomery."""
TOLERANCE = 2e-5

LOTS = 200
"""Lots of one goods receipt; one more is of an order that the plant does not have."""


def submissions(shift: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the parameters of each job type, for the shift that was just run."""
    span = {"shift_start": shift["started_at"], "shift_end": shift["finished_at"]}
    return {
        "report.generate": {
            "source": "mes",
            "title": "Shift report, north plant",
            "timezone": "Europe/Berlin",
            **span,
        },
        "data.export": {
            "source": "mes",
            "query": "orders",
            "format": "parquet",
            "file_name": "orders",
        },
        "inventory.sync": stocks.submission(),
        "batch.apply": _goods_receipt(),
        "production.schedule": schedules.submission(shift),
        "quality.analyze": {
            "chart": "xbar-r",
            "measurements": {
                "source": "mes",
                "query": "measurements",
                "query_parameters": {"characteristic": "piston-ring-diameter"},
            },
            "phase1_points": 25,
            "specification": {"lower": 73.95, "upper": 74.05, "target": 74.0},
            "title": "Piston ring diameter",
            "unit": "mm",
        },
    }


def _goods_receipt() -> dict[str, Any]:
    lots = [_lot(number) for number in range(1, LOTS + 1)]
    return {
        "table": {"source": "mes", "entity": "lots", "operation": "upsert"},
        "items": [*lots, _lot(LOTS + 1, order_id="MO-NONE")],
        "mode": "continue_on_error",
        "batch_id": "goods-receipt-4711",
        "file_name": "goods-receipt",
    }


def _lot(number: int, *, order_id: str | None = None) -> dict[str, Any]:
    return {
        "lot_id": f"GR-4711-{number:04d}",
        "material": f"spare-{number % 24:02d}",
        "location": "receiving",
        "quantity": f"{number}.5",
        "uom": "kg",
        "status": "available",
        "order_id": order_id,
        "created_at": "2026-11-25T06:00:00+01:00",
    }


async def submit(
    api: Api, job_type: str, parameters: dict[str, Any], *, after: Sequence[str] = ()
) -> tuple[str, str]:
    """Submit a job; its id and the trace id of the request."""
    job, trace_id = await api.post(
        "/api/jobs", {"type": job_type, "parameters": parameters, "after": list(after)}
    )
    return job["id"], trace_id


async def wait(api: Api, job_id: str) -> dict[str, Any]:
    """Wait until a job has succeeded."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            job = await api.get(f"/api/jobs/{job_id}")
            if job["state"] == "succeeded":
                return job
            if job["state"] in {"failed", "cancelled", "quarantined"}:
                raise DemoError(f"job {job_id} ({job['type']}) is {job['state']}: {job['error']}")
            await asyncio.sleep(POLL_SECONDS)


async def download(api: Api, job: dict[str, Any], folder: Path) -> list[Path]:
    """Fetch a job's artifacts through the gateway."""
    paths: list[Path] = []
    for artifact in job["artifacts"]:
        path = folder / artifact["name"]
        content = await api.download(f"/api/jobs/{job['id']}/artifacts/{artifact['name']}")
        expect(f"{path.name} has the promised length", len(content) == artifact["bytes"])
        path.write_bytes(content)
        paths.append(path)
    return paths


def check_report(job: dict[str, Any], paths: list[Path]) -> str:
    """Open the PDF: it has pages, and the rows that the database counted."""
    from pypdf import PdfReader  # noqa: PLC0415 - only the demonstration reads PDFs.

    (path,) = (p for p in paths if p.suffix == ".pdf")
    text = "\n".join(page.extract_text() for page in PdfReader(path).pages)
    rows = sum(table["rows_rendered"] for table in job["result"]["tables"])
    expected = sum(table["rows_expected"] for table in job["result"]["tables"])
    expect("the report renders every row of its queries", rows == expected > 0)
    expect("the report's text can be read", "Shift report" in text)
    return f"{path.name}: {len(PdfReader(path).pages)} page(s), {rows} rows"


def check_export(job: dict[str, Any], paths: list[Path]) -> str:
    """Read the Parquet file with polars: as many rows as were counted."""
    import polars as pl  # noqa: PLC0415 - heavy, and only the demonstration needs it here.

    (path,) = (p for p in paths if p.suffix == ".parquet")
    frame = pl.read_parquet(path)
    expect("the export holds every row", frame.height == job["result"]["rows_expected"] > 0)
    return f"{path.name}: {frame.height} rows x {frame.width} columns"


def check_analysis(job: dict[str, Any], paths: list[Path]) -> str:
    """Compare the control limits with the published ones."""
    location = job["result"]["location"]
    for name, value in PISTON_RINGS.items():
        expect(
            f"{name} is {value}, as published (found {location[name]})",
            math.isclose(location[name], value, abs_tol=TOLERANCE),
        )
    index = job["result"]["capability"]["cp"]["value"]
    return (
        f"center {location['center']:.6f}, limits {location['lower']:.6f} to "
        f"{location['upper']:.6f} as published; Cp {index:.3f}; "
        + ", ".join(p.name for p in paths)
    )


def check_batch(job: dict[str, Any], paths: list[Path]) -> str:
    """Read the outcomes: each lot has one, and only the one of no order failed."""
    (path,) = (p for p in paths if p.name == "goods-receipt.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    result = job["result"]
    failed = [row["lot_id"] for row in rows if row["outcome"] == "failed"]
    expect("every item has an outcome", len(rows) == result["counts"]["requested"] == LOTS + 1)
    expect("exactly the lot of an unknown order failed", failed == [f"GR-4711-{LOTS + 1:04d}"])
    expect("all others are booked", result["inserted"] == LOTS)
    expect("a second run applies none again", result["replayed"] in {0, LOTS + 1})
    return (
        f"{path.name}: {LOTS} lots booked, {len(failed)} refused "
        f"({result['errors'][0]['code']}), {result['replayed']} of an earlier run"
    )


CHECKS = {
    "report.generate": check_report,
    reports.OEE: reports.check,
    "data.export": check_export,
    "inventory.sync": stocks.check,
    "batch.apply": check_batch,
    "production.schedule": schedules.check,
    "quality.analyze": check_analysis,
    "email.send": mails.check,
    "system.backup": backups.check,
    "system.restore": backups.check_restore,
}
