"""A batch whose process is killed in the middle: the database counts every row exactly once."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 120.0
ITEMS = 4_000
CHUNK_ROWS = 500
SCHEMA = """
CREATE TABLE stock (material text PRIMARY KEY, on_hand numeric NOT NULL, writes integer NOT NULL);
INSERT INTO stock SELECT 'M-' || n, 100, 0 FROM generate_series(1, 4000) AS n;
CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.writes := OLD.writes + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER count_write BEFORE UPDATE ON stock FOR EACH ROW EXECUTE FUNCTION count_write();
"""
SOURCES = {
    "sources": {
        "mes": {
            "kind": "postgresql",
            "url_env": "URL",
            "write_url_env": "URL",
            "lock_timeout_seconds": 60,
            "entities": {
                "stock": {
                    "columns": {"material": "text", "on_hand": "decimal"},
                    "key": ["material"],
                    "writable": True,
                }
            },
        }
    }
}
PROGRAM = """
import asyncio, sys
from pathlib import Path
from lineshaft_contracts.batches import BatchParameters
from lineshaft_job_runner.source_files import SafeFolder
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_targets import open_target
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.batch_apply import BatchApply

async def main(folder):
    parameters = BatchParameters.model_validate_json((folder / "parameters.json").read_text())
    file = SourcesFile.load(folder / "sources.yaml")
    async with open_target(file, "mes", tenant="acme") as target:
        context = FolderContext(
            folder, targets={"mes": target}, folders={"drop": SafeFolder(folder, "drop", 2**30)}
        )
        result = await BatchApply().run(context, parameters)
    print(result.model_dump_json())

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
async def database(postgres_url: str) -> AsyncGenerator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(SCHEMA)
    try:
        yield connection
    finally:
        await connection.close()


def write(folder: Path, mode: str) -> None:
    parameters = {
        "table": {
            "source": "mes",
            "entity": "stock",
            "operation": "update",
            "add": ["on_hand"],
            "chunk_rows": CHUNK_ROWS,
        },
        "file": {"source": "drop", "path": "items.csv"},
        "mode": mode,
        "batch_id": "movements",
    }
    (folder / "parameters.json").write_text(json.dumps(parameters))
    (folder / "sources.yaml").write_text(yaml.safe_dump(SOURCES))
    lines = [f"M-{number},{number}" for number in range(1, ITEMS + 1)]
    (folder / "items.csv").write_text("\n".join(["material,on_hand", *lines]))


async def start(folder: Path, url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(folder),
        env={**os.environ, "URL": url}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def moved(database: "asyncpg.Connection[asyncpg.Record]") -> int:
    return await database.fetchval("SELECT count(*) FROM stock WHERE writes > 0")


async def hold_a_row_of(part: int, url: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Lock a row in the middle of a chunk, so that the batch waits there."""
    holder = await asyncpg.connect(url)
    await holder.execute("BEGIN")
    row = f"M-{part * CHUNK_ROWS + CHUNK_ROWS // 2}"
    await holder.execute("SELECT FROM stock WHERE material = $1 FOR UPDATE", row)
    return holder


async def waits(database: "asyncpg.Connection[asyncpg.Record]") -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND application_name = 'lineshaft-job' AND datname = current_database()"
        ):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("mode", ["continue_on_error", "all_or_nothing"])
async def test_a_batch_killed_in_the_middle_of_a_chunk_applies_every_item_once(
    postgres_url: str,
    database: "asyncpg.Connection[asyncpg.Record]",
    tmp_path: Path,
    mode: str,
) -> None:
    write(tmp_path, mode)
    for part in (2, 5):
        holder = await hold_a_row_of(part, postgres_url)
        process = await start(tmp_path, postgres_url)
        await waits(database)
        process.send_signal(signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        await holder.execute("ROLLBACK")
        await holder.close()
        kept = part * CHUNK_ROWS if mode == "continue_on_error" else 0
        assert await moved(database) == kept
    process = await start(tmp_path, postgres_url)
    async with asyncio.timeout(DEADLINE_SECONDS):
        output, _ = await process.communicate()
    result: dict[str, Any] = json.loads(output)
    assert result["counts"] == {"requested": ITEMS, "ok": ITEMS, "skipped": 0, "failed": 0}
    assert result["replayed"] == kept_by(mode)
    once = await database.fetchval(
        "SELECT count(*) FROM stock "
        "WHERE writes = 1 AND on_hand = 100 + substr(material, 3)::integer"
    )
    assert once == ITEMS
    outcomes = (tmp_path / "outcomes.csv").read_text().splitlines()
    assert len(outcomes) == ITEMS + 1
    assert all(line.split(",")[2] == "updated" for line in outcomes[1:])


def kept_by(mode: str) -> int:
    return 5 * CHUNK_ROWS if mode == "continue_on_error" else 0


async def test_two_workers_with_the_same_batch_apply_every_item_once(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]", tmp_path: Path
) -> None:
    """A worker that lost its lease may still be at work when the next one begins."""
    processes: list[asyncio.subprocess.Process] = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, "continue_on_error")
        processes.append(await start(folder, postgres_url))
    results: list[dict[str, Any]] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        for process in processes:
            output, _ = await process.communicate()
            results.append(json.loads(output))
    assert [result["counts"]["ok"] for result in results] == [ITEMS, ITEMS]
    assert sum(result["replayed"] for result in results) == ITEMS
    assert await database.fetchval("SELECT count(*) FROM stock WHERE writes = 1") == ITEMS
