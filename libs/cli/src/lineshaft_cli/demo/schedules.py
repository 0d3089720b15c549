"""The plant's planned orders on its machines: scheduled, and looked at with a planner's eyes."""

import csv
import math
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from lineshaft_cli.demo.checks import expect

ORDERS = 48
OPERATIONS = 96
SLOTS = {"washer-1": 2, "grinder-1": 2, "tester-1": 2}
"""Every other machine does one operation at a time."""


def submission(shift: dict[str, Any]) -> dict[str, Any]:
    """Give the parameters: plan from the whole minute after the shift."""
    end = datetime.fromisoformat(shift["finished_at"])
    start = end.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return {
        "horizon_start": start.isoformat(),
        "timezone": "Europe/Berlin",
        "queries": {
            "source": "mes",
            "exceptions": "schedule_exceptions",
            "requirements": "schedule_requirements",
            "changeovers": "schedule_changeovers",
        },
        "objectives": ["weighted_tardiness", "setup"],
        "solve_seconds_max": 15,
        "title": "North plant, planned orders",
    }


def check(job: dict[str, Any], paths: list[Path]) -> str:
    """Read the assignments: all are there, in order, and no machine does two things at once."""
    (path,) = (p for p in paths if p.suffix == ".csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    result = job["result"]
    done = {(row["order"], row["operation"]) for row in rows}
    expect("every operation of every planned order is scheduled", len(done) == OPERATIONS)
    expect("no order is left out", result["counts"]["ok"] == ORDERS)
    _expect_order(rows)
    for objective in result["objectives"]:
        name = objective["objective"]
        expect(f"{name} is not below its bound", objective["bound"] <= objective["value"])
    late, setup = result["objectives"][0], result["objectives"][-1]
    expect("the search is no worse than dispatching", late["value"] <= late["dispatched"])
    gap = math.ceil(late["gap_ratio"] * 1_000) / 10
    return (
        f"{len(done)} operations, {result['status']}: weighted tardiness {late['value']:g} min "
        f"(dispatching {late['dispatched']:g}, gap {gap:g} %), set-up {setup['value']:g} min, "
        f"{result['late_count']} orders late; " + ", ".join(p.name for p in paths)
    )


def _expect_order(rows: list[dict[str, str]]) -> None:
    spans: dict[tuple[str, str], tuple[datetime, datetime]] = {}
    machines: dict[tuple[str, str], str] = {}
    for row in rows:
        key = (row["order"], row["operation"])
        start, end = datetime.fromisoformat(row["start"]), datetime.fromisoformat(row["end"])
        first, last = spans.get(key, (start, end))
        spans[key], machines[key] = (min(first, start), max(last, end)), row["resource"]
    orders: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    places: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for key, span in spans.items():
        orders[key[0]].append(span)
        places[machines[key]].append(span)
    for order, steps in orders.items():
        one_by_one = all(a[1] <= b[0] for a, b in pairwise(sorted(steps)))
        expect(f"the operations of {order} follow each other", one_by_one)
    for machine, uses in places.items():
        most = max(sum(s <= start < e for s, e in uses) for start, _ in uses)
        expect(f"{machine} is not used more than it can be", most <= SLOTS.get(machine, 1))
