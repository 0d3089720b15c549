"""Seconds and bytes of a proven backup, ours beside pg_dump and pg_restore by hand.

Both dump the same database and restore it into a scratch one on the same private PostgreSQL. Ours
also stores it durably, reads it back from the store, and compares rows and a checksum of every
table; by hand nothing is compared. Every round measures both; the table has medians.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from lineshaft_contracts.backups import BackupParameters
from lineshaft_contracts.envelope import uuid7
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.backup import programs, work

from . import report, servers

TABLE = """
CREATE TABLE readings AS
SELECT n AS id, timestamptz '2026-01-01' + n * interval '1 second' AS at,
       'sensor-' || n % 500 AS sensor, sqrt(n) AS value, md5(n::text) AS lot
FROM generate_series(1, {rows}) AS n
"""
INDEX = "CREATE INDEX readings_sensor ON readings (sensor, at)"
SECONDS_MAX = 600.0
MEGABYTE = 1_000_000

Figures = dict[str, float]


async def ours(url: str, folder: Path) -> Figures:
    """Run system.backup once, in this process."""
    entry = {
        "kind": "postgresql",
        "tenants": ["acme"],
        "url_env": "BENCH_URL",
        "store_url": (folder / "store").as_uri(),
    }
    file = folder / "backups.yaml"
    file.write_text(json.dumps({"backups": {"bench": entry}}))
    os.environ |= {"LINESHAFT_BACKUPS_FILE": str(file), "BENCH_URL": url}
    context = FolderContext(folder)
    context.job_id = str(uuid7())
    began = time.perf_counter()
    result = await work.run(context, BackupParameters(backup_set="bench"))
    assert result.verified == "restore"
    return {
        "seconds": time.perf_counter() - began,
        "megabytes": result.bytes / MEGABYTE,
        "rto_seconds": result.rto_seconds or 0,
    }


def by_hand(url: str, folder: Path) -> Figures:
    """Dump to a file, and restore that into a scratch database."""
    where = programs.any_folder(None)
    dump, scratch = folder / "dump", url.rpartition("/")[0] + "/bench_scratch"

    def run(name: str, *arguments: str) -> None:
        subprocess.run([str(where / name), *arguments], check=True, timeout=SECONDS_MAX)

    began = time.perf_counter()
    run("pg_dump", "--format=custom", f"--file={dump}", "--dbname", url)
    dumped = time.perf_counter()
    run("createdb", "--maintenance-db", url, "bench_scratch")
    run("pg_restore", "--no-owner", "--exit-on-error", "--dbname", scratch, str(dump))
    ended = time.perf_counter()
    run("dropdb", "--maintenance-db", url, "bench_scratch")
    return {
        "seconds": ended - began,
        "megabytes": dump.stat().st_size / MEGABYTE,
        "rto_seconds": ended - dumped,
    }


async def _fill(private: servers.Servers, rows: int) -> None:
    await private.start_afresh()
    async with servers.connect(private.postgres_url) as database:
        await database.execute(TABLE.format(rows=rows))
        await database.execute(INDEX)
        await database.execute("CHECKPOINT")


def main() -> None:
    """Measure both in each round and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    found: dict[str, list[Figures]] = defaultdict(list)
    with servers.private() as private:
        asyncio.run(_fill(private, arguments.rows))
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                figures = {
                    "system.backup, compared": asyncio.run(ours(private.postgres_url, folder)),
                    "pg_dump + pg_restore": by_hand(private.postgres_url, folder),
                }
            for name, row in figures.items():
                found[name].append(row)
                report.write("backup", {"way": name, **row})
    medians = {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for name, rows in found.items()
    }
    ratio_of = medians["pg_dump + pg_restore"]["seconds"]
    table = [["way", "seconds", "ratio", "stored, MB", "restore alone, s"]]
    for name, row in medians.items():
        ratio = f"{row['seconds'] / ratio_of:.2f}x"
        shown = (row["megabytes"], row["rto_seconds"])
        table.append([name, report.number(row["seconds"]), ratio, *map(report.number, shown)])
    report.show(table)
