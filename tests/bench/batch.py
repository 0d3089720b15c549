"""Rows merged per second by batch.apply, beside the two usual ways on the same rows.

Peers are row by row (`executemany` of INSERT ... ON CONFLICT DO UPDATE in transactions of as many
rows) and one big statement (COPY into a temporary table, then one INSERT ... ON CONFLICT). Peers
are given tuples that are in memory already, and give no outcome of an item; ours reads an NDJSON
file, checks every value, keeps its ledger, and writes the outcome of each item to a file. Each
way first fills an empty table, then merges the rows again with half of them changed.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
from lineshaft_contracts.batches import BatchParameters
from lineshaft_job_runner.source_files import SafeFolder
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_targets import open_target
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.batch_apply import BatchApply

from . import report, servers
from .servers import Servers, connect

ROWS = 200_000
CHUNK_ROWS = 10_000
SCHEMA = """
CREATE TABLE movements (
    movement_id text PRIMARY KEY, material text NOT NULL, quantity numeric NOT NULL,
    pieces integer NOT NULL, booked_at timestamptz NOT NULL
)
"""
COLUMNS = ("movement_id", "material", "quantity", "pieces", "booked_at")
MERGE = """
INSERT INTO movements VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (movement_id) DO UPDATE SET material = EXCLUDED.material,
    quantity = EXCLUDED.quantity, pieces = EXCLUDED.pieces, booked_at = EXCLUDED.booked_at
"""
MERGE_ALL = """
INSERT INTO movements SELECT * FROM incoming
ON CONFLICT (movement_id) DO UPDATE SET material = EXCLUDED.material,
    quantity = EXCLUDED.quantity, pieces = EXCLUDED.pieces, booked_at = EXCLUDED.booked_at
"""
ENTITY = {
    "columns": {
        "movement_id": "text", "material": "text", "quantity": "decimal", "pieces": "integer",
        "booked_at": "timestamp",
    },
    "key": ["movement_id"],
    "writable": True,
}  # fmt: skip

Row: TypeAlias = tuple[Any, ...]


def rows_of(count: int, *, changed: bool) -> list[Row]:
    """Make rows; when changed, every second one has another quantity."""
    began = datetime(2026, 11, 1, tzinfo=UTC)
    return [
        (
            f"MV-{number:09d}",
            f"M-{number % 500:04d}",
            Decimal(number % 1_000) / 8 + (changed and number % 2 == 0),
            number % 97,
            began + timedelta(seconds=number),
        )
        for number in range(count)
    ]


async def row_by_row(url: str, rows: list[Row], folder: Path) -> None:
    """Merge one row after another, in transactions of a chunk."""
    async with connect(url) as database:
        for start in range(0, len(rows), CHUNK_ROWS):
            async with database.transaction():
                await database.executemany(MERGE, rows[start : start + CHUNK_ROWS])


async def one_statement(url: str, rows: list[Row], folder: Path) -> None:
    """Copy everything, then merge it with one statement."""
    async with connect(url) as database, database.transaction():
        await database.execute("CREATE TEMP TABLE incoming (LIKE movements) ON COMMIT DROP")
        await database.copy_records_to_table("incoming", records=rows, columns=COLUMNS)
        await database.execute(MERGE_ALL)


async def batch_apply(url: str, rows: list[Row], folder: Path) -> None:
    """Merge the rows of the file that was written before."""
    source = {
        "kind": "postgresql", "url_env": "URL", "write_url_env": "URL",
        "entities": {"movements": ENTITY},
    }  # fmt: skip
    file = SourcesFile.model_validate({"sources": {"mes": source}})
    parameters = BatchParameters.model_validate(
        {
            "table": {
                "source": "mes", "entity": "movements", "operation": "upsert",
                "chunk_rows": CHUNK_ROWS,
            },
            "file": {"source": "drop", "path": "items.ndjson"},
            "mode": "continue_on_error",
            "batch_id": f"bench-{time.time_ns()}",
        }
    )  # fmt: skip
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(
            open_target(file, "mes", tenant="bench", environment={"URL": url})
        )
        context = FolderContext(
            folder,
            targets={"mes": target},
            folders={"drop": SafeFolder(folder, "drop", 2**40)},
        )
        result = await BatchApply().run(context, parameters)
    if result.counts.failed or result.counts.requested != len(rows):
        raise RuntimeError(f"batch.apply did not apply every row: {result.counts}")


WAYS: Mapping[str, Callable[[str, list[Row], Path], Awaitable[None]]] = {
    "row by row, executemany": row_by_row,
    "one statement, COPY": one_statement,
    "batch.apply": batch_apply,
}


def write_items(path: Path, rows: list[Row]) -> None:
    """Write the rows as a plant's interface gives them."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            named = dict(zip(COLUMNS, row, strict=True))
            line = named | {"quantity": float(row[2]), "booked_at": row[4].isoformat()}
            file.write(json.dumps(line) + "\n")


async def measure(private: Servers, way: str, count: int) -> dict[str, float]:
    """Return rows per second of filling and of merging."""
    found: dict[str, float] = {}
    await private.start_afresh()
    url = private.postgres_url
    async with connect(url) as database:
        await database.execute(SCHEMA)
    for name, changed in (("fill", False), ("merge", True)):
        rows = rows_of(count, changed=changed)
        with tempfile.TemporaryDirectory() as folder:
            write_items(Path(folder) / "items.ndjson", rows)
            async with connect(url) as database:
                await database.execute("CHECKPOINT")
            began = time.perf_counter()
            await WAYS[way](url, rows, Path(folder))
            found[name] = count / (time.perf_counter() - began)
        await _check(url, rows)
    return found


async def _check(url: str, rows: list[Row]) -> None:
    async with connect(url) as database:
        await database.execute("VACUUM ANALYZE movements")
        total: asyncpg.Record | None = await database.fetchrow(
            "SELECT count(*), sum(quantity) FROM movements"
        )
    if total is None or tuple(total) != (len(rows), sum(row[2] for row in rows)):
        raise RuntimeError(f"the table holds {total} afterwards")


async def run(rows: int, rounds: int) -> None:
    """Measure every way in turns, and show the medians."""
    found: dict[str, dict[str, list[float]]] = {way: {"fill": [], "merge": []} for way in WAYS}
    with servers.private() as private:
        for number in range(rounds):
            for way in WAYS:
                measured = await measure(private, way, rows)
                report.write("batch", {"way": way, "round": number, "rows": rows, **measured})
                for name, value in measured.items():
                    found[way][name].append(value)
    medians = {
        way: {name: statistics.median(values) for name, values in of_way.items()}
        for way, of_way in found.items()
    }
    ours = medians["batch.apply"]
    report.show(
        [
            ("way", "fill, rows/s", "merge, rows/s", "batch.apply fills", "merges"),
            *(
                (
                    way,
                    report.number(one["fill"]),
                    report.number(one["merge"]),
                    f"{ours['fill'] / one['fill']:.2f} x",
                    f"{ours['merge'] / one['merge']:.2f} x",
                )
                for way, one in medians.items()
            ),
        ]
    )


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    asyncio.run(run(given.rows, given.rounds))
