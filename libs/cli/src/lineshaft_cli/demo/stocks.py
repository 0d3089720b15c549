"""The demo's inventory sync: spare parts that the plant's ERP received are booked, once."""

import csv
from pathlib import Path
from typing import Any

from lineshaft_cli.demo.checks import expect

SPARE_PARTS = 240
RECEIVED = 12
"""Deliveries of 10 pieces each that only the plant's ERP knows of."""


def submission() -> dict[str, Any]:
    """Give the parameters: the ERP has names and units of its own for everything."""
    return {
        "sync": "erp-spares",
        "source": {
            "kind": "query",
            "source": "mes",
            "query": "erp_stock",
            "columns": {"item": "article", "location": "storage", "uom": "unit"},
        },
        "target": {"source": "mes", "entity": "stock", "columns": {"item": "material"}},
        "locations": {f"C{number}": f"cabinet-{number}" for number in range(1, 9)},
        "conversions": [
            {"uom": "PCE", "target_uom": "pcs", "factor": 1},
            {"uom": "pack10", "target_uom": "pcs", "factor": 10},
        ],
        "policy": "source_wins",
    }


def check(job: dict[str, Any], paths: list[Path]) -> str:
    """Read the differences: the parts that the ERP received are booked, once."""
    (path,) = (p for p in paths if p.name.endswith("-differences.csv"))
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    result = job["result"]
    expect("all spare parts are compared", result["counts"]["ok"] == SPARE_PARTS)
    expect("each of them in the units of the plant", result["converted"] == SPARE_PARTS)
    booked = result["applied"] + result["applied_before"]
    expect("12 deliveries are booked at first, and none again", booked in {0, RECEIVED})
    expect("the file has every difference", len(rows) == booked)
    expect("a delivery has 10 pieces", {row["delta"] for row in rows} <= {"10"})
    return f"{path.name}: {SPARE_PARTS} stocks compared, {booked} deliveries booked"
