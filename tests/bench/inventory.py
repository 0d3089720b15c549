"""Seconds that inventory.sync takes to compare two stocks, beside pandas and a loop.

Each way reads the same three files (the other system's stock, one's own, and what was last
synced), decides about every item at every location, and finds the differences to apply: one in
ten moved on the other side, one in ten on one's own, one in a hundred on both. Then the whole job
runs against a real PostgreSQL: the first sync, which adds all stock, a replay, one with changes.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from lineshaft_contracts.inventory_sync import (
    ConflictPolicy,
    Decision,
    InventorySyncParameters,
    InventorySyncResult,
)
from lineshaft_job_runner.source_files import SafeFolder
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_sources import open_source
from lineshaft_job_runner.store.plant_targets import open_target
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.inventory.merging import BASE, TARGET, merge, to_write
from lineshaft_job_runner.types.inventory.normalizing import normalize
from lineshaft_job_runner.types.inventory.quantities import MOMENT, QUANTITY, parsed
from lineshaft_job_runner.types.inventory.stating import from_table
from lineshaft_job_runner.types.inventory.units import conversions_of
from lineshaft_job_runner.types.inventory_sync import InventorySync

from . import environments, report, servers
from .servers import Servers, connect

ROWS = 200_000
PANDAS = ("pandas==2.3.3",)
PEER = Path(__file__).parent / "peers" / "stock_merge.py"
PEERS: Mapping[str, str] = {
    "pandas, float64 (not exact)": "pandas-float",
    "pandas, Decimal": "pandas-decimal",
    "a loop over dictionaries, Decimal": "loop",
}
OURS = "inventory.sync, exact"
SCHEMA = """
CREATE TABLE stock (
    material text NOT NULL, location text NOT NULL, on_hand numeric NOT NULL,
    PRIMARY KEY (material, location)
)
"""


def quantities(side: str, number: int) -> Decimal:
    """Give the quantity of a row; which of them moved follows from its number."""
    moved = (side == "source" and number % 10 == 1) or (side == "target" and number % 10 == 2)
    both = number % 100 == 3 and side != "base"
    change = Decimal("1.25") if moved or both else Decimal(0)
    return Decimal(number % 5_000) / 8 + change * (2 if both and side == "target" else 1)


def write_stock(path: Path, side: str, rows: int) -> None:
    """Write a side as CSV, in an order of its own."""
    step = {"source": 7, "target": 11, "base": 13}[side]
    lines = ["item,location,quantity"]
    for position in range(rows):
        number = position * step % rows
        quantity = quantities(side, number)
        lines.append(f"MAT-{number // 8:07d},store-{number % 8},{quantity}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def parameters(folder_name: str = "drop") -> InventorySyncParameters:
    """Compare a file with a table; no guard stops the benchmark."""
    columns = {"uom": None}
    return InventorySyncParameters.model_validate(
        {
            "sync": "bench",
            "source": {
                "kind": "file", "source": folder_name, "path": "source.csv", "columns": columns,
            },
            "target": {
                "source": "mes", "entity": "stock", "columns": {"item": "material", "uom": None},
            },
            "guards": {"changed_ratio_max": 1},
        }
    )  # fmt: skip


def read_sides(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Read what the source states, the stock, and the base."""
    given = parameters()
    stated, target, base = (
        pl.read_csv(folder / f"{side}.csv", infer_schema=False)
        for side in ("source", "target", "base")
    )
    quantity = parsed(pl.col("quantity"))
    held = target.select(
        "item", "location", target=quantity, on_hand=quantity, uom=pl.lit(None, pl.String),
        target_changed_at=pl.lit(None, MOMENT),
    )  # fmt: skip
    synced = base.select(
        "item", "location", base=quantity, stated=quantity, revision=pl.lit(1, pl.Int64),
        named=pl.lit(value=True), base_counted_at=pl.lit(None, MOMENT),
        synced_at=pl.lit(datetime.now(UTC), MOMENT),
    )  # fmt: skip
    stock = normalize(
        from_table(stated, given.source.columns, None),
        held.select("item", "location", "uom"),
        conversions_of(()),
        given,
        now=datetime.now(UTC),
    )
    return stock.rows, held.select(list(TARGET)), synced.select(list(BASE))


def measure_ours(folder: Path, rounds: int) -> list[dict[str, Any]]:
    """Measure reading (with every check of a row) and comparing."""
    found: list[dict[str, Any]] = []
    for _ in range(rounds):
        began = time.perf_counter()
        sides = read_sides(folder)
        read, cpu = time.perf_counter(), time.process_time()
        merged = merge(*sides, policy=ConflictPolicy.MANUAL)
        changes = to_write(merged)
        figures = {
            "read": read - began,
            "compare": time.perf_counter() - read,
            "cpu": time.process_time() - cpu,
        }
        counts = dict(merged.group_by("decision").len().iter_rows())
        decided = {str(one): counts.get(one, 0) for one in Decision if one in counts}
        decided["delta"] = str(changes["delta"].cast(QUANTITY).sum())
        found.append({**figures, "found": decided})
    return found


def measure_peer(folder: Path, way: str, rounds: int) -> list[dict[str, Any]]:
    """Run a peer in an environment of its own."""
    programs = environments.python_environment("pandas", PANDAS)
    command = [programs / "python", PEER, folder, way, str(rounds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two ways decided alike."""
    numbers = [{**found, "delta": float(found["delta"])} for found in (one, other)]
    return numbers[0] == numbers[1]


def compare(rows: int, rounds: int) -> None:
    """Measure every way and show the medians."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for side in ("source", "target", "base"):
            write_stock(folder / f"{side}.csv", side, rows)
        found = {OURS: measure_ours(folder, rounds)}
        for peer, way in PEERS.items():
            found[peer] = measure_peer(folder, way, rounds)
    medians: dict[str, tuple[float, ...]] = {}
    for way, measured in found.items():
        for number, one in enumerate(measured):
            report.write("inventory", {"way": way, "round": number, "rows": rows, **one})
            if not same(one["found"], found[OURS][0]["found"]):
                raise RuntimeError(f"{way} decided otherwise: {one['found']}")
        times = [(one["compare"], one["cpu"], one["read"] + one["compare"]) for one in measured]
        medians[way] = tuple(statistics.median(column) for column in zip(*times, strict=True))
    best = medians[OURS]
    head = ("way", "compare, s", "its CPU, s", "from files, s", "compare", "CPU", "from files")
    lines = [
        (way, *(f"{value:.3f}" for value in one), *map(ratio, one, best))
        for way, one in medians.items()
    ]
    report.show([head, *lines])


def ratio(theirs: float, ours: float) -> str:
    """Write how many times faster ours is."""
    return f"{theirs / ours:.1f} x"


async def run_job(url: str, folder: Path) -> tuple[float, InventorySyncResult]:
    """Run the whole job once."""
    mes = {
        "kind": "postgresql", "url_env": "URL", "write_url_env": "URL",
        "entities": {
            "stock": {
                "columns": {"material": "text", "location": "text", "on_hand": "decimal"},
                "key": ["material", "location"],
                "writable": True,
            }
        },
    }  # fmt: skip
    file = SourcesFile.model_validate({"sources": {"mes": mes}})
    given: Any = {"tenant": "bench", "environment": {"URL": url}}
    async with (
        open_target(file, "mes", **given) as target,
        open_source(file, "mes", **given) as source,
    ):
        context = FolderContext(
            folder,
            sources={"mes": source},
            targets={"mes": target},
            folders={"drop": SafeFolder(folder, "drop", 2**40)},
        )
        began = time.perf_counter()
        result = await InventorySync().run(context, parameters())
        return time.perf_counter() - began, result


async def whole_jobs(private: Servers, rows: int, rounds: int) -> None:
    """Measure a first sync, a replay and a sync with one change in ten rows."""
    found: dict[str, list[tuple[float, int]]] = {}
    for number in range(rounds):
        await private.start_afresh()
        async with connect(private.postgres_url) as database:
            await database.execute(SCHEMA)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for step, side in (("first sync", "base"), ("replay", "base"), ("changes", "source")):
                write_stock(folder / "source.csv", side, rows)
                seconds, result = await run_job(private.postgres_url, folder)
                figures = {"step": step, "seconds": seconds, "applied": result.applied}
                report.write("inventory", {"round": number, "rows": rows, **figures})
                found.setdefault(step, []).append((seconds, result.applied))
    report.show(
        [
            ("whole job with PostgreSQL", "s", "stocks changed"),
            *(
                (step, f"{statistics.median(one[0] for one in times):.1f}", f"{times[0][1]:,}")
                for step, times in found.items()
            ),
        ]
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compare-only", action="store_true")
    given = parser.parse_args()
    compare(given.rows, given.rounds)
    if not given.compare_only:
        with servers.private() as private:
            asyncio.run(whole_jobs(private, given.rows, given.rounds))
