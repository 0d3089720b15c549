"""The OEE of the last week in every format, opened again: each file holds every row."""

import csv
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from lineshaft_cli.demo.checks import expect

OEE = "report.generate of the OEE"
LINES = 3
"""Of the plant."""
TOLERANCE = 1e-9
WEEK = timedelta(days=7)
"""A shift that is run again at once has all its pieces in a minute; a week hardly feels it."""


def submission(shift: dict[str, Any]) -> dict[str, Any]:
    """Give the parameters of the report."""
    return {
        "template": "oee",
        "formats": ["pdf", "html", "xlsx", "csv"],
        "source": "mes",
        "title": "OEE, north plant",
        "timezone": "Europe/Berlin",
        "logo": "lineshaft.png",
        "shift_start": (datetime.fromisoformat(shift["finished_at"]) - WEEK).isoformat(),
        "shift_end": shift["finished_at"],
    }


def check(job: dict[str, Any], paths: list[Path]) -> str:
    """Count the lines of the plant in the files themselves, and compare the OEE among them."""
    from openpyxl import load_workbook  # noqa: PLC0415 - only the demonstration reads XLSX.

    files = {path.name: path for path in paths}
    tables = job["result"]["tables"]
    expect("every format has every row", all(_is_whole(table) for table in tables))
    sheet = load_workbook(files["oee.xlsx"])["OEE by line"]
    expect("the sheet has a row for each line", sheet.max_row == LINES + 1)
    with files["oee-oee-by-line.csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expect("so has the CSV file", len(rows) == LINES)
    by_line = [sheet.cell(number, sheet.max_column).value for number in range(2, LINES + 2)]
    same = all(_is_same(one, row["oee"]) for one, row in zip(by_line, rows, strict=True))
    expect("both tell the same OEE", same)
    page = files["oee.html"].read_text(encoding="utf-8")
    body = re.search(r'<table id="oee_by_line".*?<tbody>(.*?)</tbody>', page, re.DOTALL)
    expect("the page has a row for each line", body is not None and _rows(body[1]) == LINES)
    oee = job["result"]["figures"]["oee"]
    expect("it is a share of the planned time", 0 < oee <= 1)
    return f"{', '.join(files)}: OEE {oee:.1%} of {LINES} lines"


def _is_whole(table: dict[str, Any]) -> bool:
    return table["rows_rendered"] == table["rows_expected"]


def _is_same(cell: Any, text: str) -> bool:
    return text == "" if cell is None else abs(cell - float(text)) < TOLERANCE


def _rows(body: str) -> int:
    return body.count("<tr>")
