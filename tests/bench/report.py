"""Results: one JSON line each into a file, and a table at the end."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from .places import RESULTS


def write(bench: str, row: Mapping[str, object]) -> None:
    """Append a row to the file of this run and print it."""
    line = json.dumps(row)
    with _file(bench).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    print(line, file=sys.stderr, flush=True)


def show(rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table; the first row is its head."""
    if not rows:
        print("Nothing was measured.")
        return
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print("\n".join(lines))


def number(value: float | None) -> str:
    """Write a figure; a dash for one that was not measured."""
    if value is None:
        return "-"
    if value >= 20:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 2 else f"{value:.2f}"


@cache
def _file(bench: str) -> Path:
    RESULTS.mkdir(parents=True, exist_ok=True)
    return RESULTS / f"{bench}-{time.strftime('%Y%m%d-%H%M%S')}.jsonl"
