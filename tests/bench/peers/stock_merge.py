"""The usual ways to compare two stocks: a pandas merge, and a loop over dictionaries.

`python stock_merge.py FOLDER WAY ROUNDS`: reads source.csv, target.csv and base.csv of the folder,
prints seconds of reading, of comparing and of its processor time, and what was decided. Where both
sides moved nothing is applied. `pandas-float` is what most people write; its quantities are not
exact.
"""

import csv
import importlib
import json
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

KEYS = ["item", "location"]


def read_pandas(path: Path, *, exact: bool) -> Any:
    """Read a file with text keys and numbers."""
    import pandas as pd

    kinds: Any = {"item": str, "location": str, "quantity": str if exact else float}
    frame: Any = pd.read_csv(path, dtype=kinds)
    if exact:
        frame["quantity"] = frame["quantity"].map(Decimal)
    return frame


def compare_pandas(source: Any, target: Any, base: Any) -> dict[str, Any]:
    """Merge on the keys, and decide with masks."""
    rows = source.merge(target, on=KEYS, how="left", suffixes=("_source", "_target")).merge(
        base.rename(columns={"quantity": "quantity_base"}), on=KEYS, how="left"
    )
    stated, held, synced = (rows[f"quantity_{side}"] for side in ("source", "target", "base"))
    same = stated == held
    theirs = ~same & (stated != synced) & (held == synced)
    ours = ~same & (stated == synced)
    deltas = (stated - held)[theirs]
    return {
        "same": int(same.sum()),
        "source_moved": int(theirs.sum()),
        "target_moved": int(ours.sum()),
        "conflict": int((~same & ~theirs & ~ours).sum()),
        "delta": str(deltas.sum()),
    }


def read_rows(path: Path) -> dict[tuple[str, str], Decimal]:
    """Read a file into a dictionary."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["item"], row["location"]): Decimal(row["quantity"])
            for row in csv.DictReader(file)
        }


def compare_rows(
    source: dict[tuple[str, str], Decimal],
    target: dict[tuple[str, str], Decimal],
    base: dict[tuple[str, str], Decimal],
) -> dict[str, Any]:
    """Decide row by row."""
    found = {"same": 0, "source_moved": 0, "target_moved": 0, "conflict": 0}
    deltas: dict[tuple[str, str], Decimal] = {}
    for key, stated in source.items():
        held, synced = target.get(key, Decimal(0)), base.get(key)
        if stated == held:
            found["same"] += 1
        elif stated == synced:
            found["target_moved"] += 1
        elif held == synced:
            found["source_moved"] += 1
            deltas[key] = stated - held
        else:
            found["conflict"] += 1
    return {**found, "delta": str(sum(deltas.values(), Decimal(0)))}


def main(folder: Path, way: str, rounds: int) -> None:
    """Measure one way; loading its library does not count."""
    if way != "loop":
        importlib.import_module("pandas")
    for _ in range(rounds):
        began = time.perf_counter()
        paths = [folder / f"{side}.csv" for side in ("source", "target", "base")]
        if way == "loop":
            sides: list[Any] = [read_rows(path) for path in paths]
        else:
            sides = [read_pandas(path, exact=way == "pandas-decimal") for path in paths]
        read, cpu = time.perf_counter(), time.process_time()
        found = compare_rows(*sides) if way == "loop" else compare_pandas(*sides)
        figures = {
            "read": read - began,
            "compare": time.perf_counter() - read,
            "cpu": time.process_time() - cpu,
        }
        print(json.dumps({**figures, "found": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
