"""Seconds, CPU and memory of report.generate for 50 and 400 pages, beside other ways to a PDF.

Each measurement is a process of its own that makes the report of a shift with so many orders from
rows in memory. The peers get the same rows: reportlab's own LongTable with "Page i of n", and
weasyprint, which prints the HTML that report.generate made.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import environments, report

ROWS = {50: 2_650, 400: 21_600}
"""Orders that fill so many pages."""
WEASYPRINT = ("weasyprint==66.0",)
WEASYPRINT_PAGES_MAX = 50
"""It takes minutes, so that it is measured once, and not for more."""
PEER = Path(__file__).parent / "peers" / "report_document.py"
OURS = {form: f"report.generate, {form.upper()}" for form in ("pdf", "html", "xlsx", "csv")}
PEERS = {"platypus": "reportlab LongTable", "weasyprint": "weasyprint, from our HTML"}
BUDGETS = {50: "2 s", 400: "10 s, 512 MiB"}
PROCESS_SECONDS = 600.0


def measure(way: str, rows: int, folder: Path, python: str) -> Mapping[str, Any]:
    """Make one document in a new process."""
    command: Sequence[str] = (python, str(PEER), way, str(rows), str(folder))
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=PROCESS_SECONDS
    )
    return json.loads(done.stdout)


def compare(pages: int, rounds: int, python: str) -> list[tuple[str, ...]]:
    """Measure every way in turn, so that all of them see the same machine; medians."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(rounds):
            # HTML first, which weasyprint then prints.
            for way in ("html", "pdf", "xlsx", "csv", "platypus", "weasyprint"):
                if way == "weasyprint" and (number or pages > WEASYPRINT_PAGES_MAX):
                    continue
                program = python if way == "weasyprint" else sys.executable
                one = measure(way, ROWS[pages], Path(name), program)
                report.write("reports", {"way": way, "round": number, "size": pages, **one})
                found.setdefault(way, []).append(one)
    middle = {way: {k: _median(k, all_) for k in all_[0]} for way, all_ in found.items()}
    best = middle["pdf"]
    return [
        (
            (OURS | PEERS)[way],
            f"{ROWS[pages]:,}",
            f"{one['pages']:.0f}" if one["pages"] else "-",
            f"{one['seconds']:.2f}",
            f"{one['cpu']:.2f}",
            f"{one['mebibytes']:.0f}",
            f"{one['cpu'] / best['cpu']:.1f} x",
        )
        for way, one in middle.items()
    ]


def _median(name: str, measured: Sequence[Mapping[str, Any]]) -> float:
    return statistics.median(one[name] for one in measured)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", type=int, nargs="*", default=list(ROWS), choices=list(ROWS))
    given = parser.parse_args()
    python = str(environments.python_environment("weasyprint", WEASYPRINT) / "python")
    head = ("way", "rows", "pages", "s", "CPU, s", "peak MiB", "CPU beside our PDF")
    lines: list[tuple[str, ...]] = []
    for pages in given.pages:
        lines += compare(pages, given.rounds, python)
    report.show([head, *lines])
    print("Budgets: " + "; ".join(f"{pages} pages {most}" for pages, most in BUDGETS.items()))
