"""batch.apply on a real PostgreSQL: every item once, each with its outcome."""

import csv
import gzip
import itertools
import json
import re
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from lineshaft_contracts.batches import BatchParameters, BatchResult
from lineshaft_job_runner.job_type import JobStoppedError, PermanentError
from lineshaft_job_runner.source_files import SafeFolder
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_sources import open_source
from lineshaft_job_runner.store.plant_targets import open_target
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.batch_apply import BatchApply

pytestmark = pytest.mark.integration

SCHEMA = """
CREATE TABLE lines (line text PRIMARY KEY);
INSERT INTO lines VALUES ('L1'), ('L2');
CREATE TABLE orders (
    order_id text PRIMARY KEY, line text NOT NULL REFERENCES lines DEFERRABLE INITIALLY DEFERRED,
    quantity integer NOT NULL CHECK (quantity > 0), due_at timestamptz, applied integer DEFAULT 1
);
CREATE TABLE incoming (order_id text PRIMARY KEY, line text, quantity integer);
"""
FILE = SourcesFile.model_validate(
    {
        "sources": {
            "mes": {
                "kind": "postgresql",
                "url_env": "URL",
                "write_url_env": "URL",
                "entities": {
                    "orders": {
                        "columns": {
                            "order_id": "text", "line": "text", "quantity": "integer",
                            "due_at": "timestamp",
                        },
                        "key": ["order_id"],
                        "writable": True,
                    }
                },
                "queries": {
                    "incoming": {
                        "sql": "SELECT order_id, line, quantity FROM incoming ORDER BY 1",
                        "columns": {"order_id": "text", "line": "text", "quantity": "integer"},
                    }
                },
            }
        }
    }
)  # fmt: skip


class Plant:
    """A database, and batches that are run on it."""

    def __init__(self, url: str, connection: Any, folder: Path) -> None:
        self.environment = {"URL": url}
        self.connection = connection
        self.folder = folder
        self.context: FolderContext | None = None
        self.numbers = itertools.count()

    async def apply(
        self, operation: str = "upsert", *, table: dict[str, Any] | None = None, **more: Any
    ) -> BatchResult:
        change = {"source": "mes", "entity": "orders", "operation": operation, **(table or {})}
        cancel_after = more.pop("cancel_after", None)
        if "resume" not in more:
            more.setdefault("batch_id", f"batch-{next(self.numbers)}")
        parameters = BatchParameters.model_validate({"table": change, **more})
        async with self._opened() as (source, target):
            self.context = FolderContext(
                self.folder,
                sources={"mes": source},
                targets={"mes": target},
                folders={"drop": SafeFolder(self.folder, "drop", 10**9)},
                cancel_after=cancel_after,
            )
            return await BatchApply().run(self.context, parameters)

    @asynccontextmanager
    async def _opened(self) -> AsyncGenerator[tuple[Any, Any]]:
        more: dict[str, Any] = {"tenant": "acme", "environment": self.environment}
        async with AsyncExitStack() as stack:
            source = await stack.enter_async_context(open_source(FILE, "mes", **more))
            target = await stack.enter_async_context(open_target(FILE, "mes", **more))
            yield source, target

    async def count(self, condition: str = "true") -> int:
        sql = f"SELECT count(*) FROM orders WHERE {condition}"  # noqa: S608 - of this file
        return await self.connection.fetchval(sql)

    def outcomes(self) -> list[dict[str, str]]:
        text = (self.folder / "outcomes.csv").read_text(encoding="utf-8")
        return list(csv.DictReader(text.splitlines()))


@pytest.fixture
async def plant(postgres_url: str, tmp_path: Path) -> AsyncGenerator[Plant]:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(SCHEMA)
    try:
        yield Plant(postgres_url, connection, tmp_path)
    finally:
        await connection.close()


def orders(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"order_id": f"MO-{n}", "line": "L1", "quantity": n, **changes}
            for n in range(1, count + 1)]  # fmt: skip


async def test_a_replay_changes_nothing_and_counts_the_same(plant: Plant) -> None:
    first = await plant.apply(items=orders(25), batch_id="b1", table={"chunk_rows": 10})
    assert (first.inserted, first.replayed, first.counts.ok) == (25, 0, 25)
    again = await plant.apply(items=orders(25), batch_id="b1", table={"chunk_rows": 10})
    assert (again.inserted, again.replayed, again.counts) == (25, 25, first.counts)
    other = await plant.apply(items=orders(25), batch_id="b2")
    assert (other.unchanged, other.counts.skipped, other.counts.ok) == (25, 25, 0)
    assert await plant.count() == 25


async def test_bad_items_in_a_chunk_are_exactly_those_that_fail(plant: Plant) -> None:
    items = orders(100)
    items[6]["line"] = "L9"
    items[41]["quantity"] = -1
    items[42]["quantity"] = 2**40
    items[77]["quantity"] = "many"
    items[98] |= {"order_id": "MO-1"}
    del items[99]["line"]
    result = await plant.apply(items=items, mode="continue_on_error")
    assert (result.counts.requested, result.counts.ok, result.counts.failed) == (100, 94, 6)
    failed = {row["item"]: row["code"] for row in plant.outcomes() if row["outcome"] == "failed"}
    assert failed == {
        "7": "item_refused", "42": "item_refused", "43": "item_refused",
        "78": "item_value_invalid", "99": "item_key_repeated", "100": "item_field_missing",
    }  # fmt: skip
    assert [row["item"] for row in plant.outcomes()] == [str(n) for n in range(1, 101)]
    assert await plant.count() == 94
    assert "violates foreign key" in result.errors[0].message


async def test_all_or_nothing_leaves_nothing_when_one_item_fails(plant: Plant) -> None:
    items = orders(30)
    items[29]["quantity"] = 0
    with pytest.raises(PermanentError, match="1 items failed and nothing was applied: item 30"):
        await plant.apply(items=items, table={"chunk_rows": 10})
    assert await plant.count() == 0
    assert (await plant.apply(items=orders(30), table={"chunk_rows": 10})).inserted == 30


async def test_a_dry_run_tells_every_outcome_and_changes_nothing(plant: Plant) -> None:
    await plant.apply(items=orders(5))
    items = [*orders(5, quantity=9), {"order_id": "MO-6", "line": "L9", "quantity": 1}]
    result = await plant.apply(items=items, dry_run=True)
    assert (result.applied, result.updated, result.counts.failed) == (False, 5, 1)
    assert [row["outcome"] for row in plant.outcomes()] == ["updated"] * 5 + ["failed"]
    assert await plant.count("quantity = 9") == 0


async def test_too_many_failures_end_the_batch_and_it_goes_on_with_the_token(
    plant: Plant,
) -> None:
    items = orders(40)
    for place in range(20, 25):
        items[place]["line"] = "L9"
    more: dict[str, Any] = {
        "mode": "continue_on_error", "max_failures": 3, "table": {"chunk_rows": 10},
    }  # fmt: skip
    with pytest.raises(PermanentError, match="Items 1 to 20 are done") as raised:
        await plant.apply(items=items, batch_id="b1", **more)
    assert await plant.count() == 20
    token = re.search(r"resume with (\S+)$", str(raised.value))
    assert token is not None
    result = await plant.apply(items=orders(40), resume=token[1], **more)
    assert (result.replayed, result.inserted, result.counts.failed) == (20, 40, 0)
    assert await plant.count() == 40


async def test_a_cancelled_batch_keeps_whole_chunks_and_goes_on(plant: Plant) -> None:
    more: dict[str, Any] = {
        "items": orders(100), "mode": "continue_on_error", "table": {"chunk_rows": 10},
    }  # fmt: skip
    with pytest.raises(JobStoppedError):
        await plant.apply(cancel_after=3, batch_id="b1", **more)
    assert await plant.count() == 30
    result = await plant.apply(batch_id="b1", **more)
    assert (result.replayed, result.inserted) == (30, 100)
    assert await plant.count("applied = 1") == 100


async def test_additions_are_applied_once_however_often_the_batch_is_repeated(
    plant: Plant,
) -> None:
    await plant.apply(items=orders(10))
    more: dict[str, Any] = {"items": orders(10, quantity=5), "table": {"add": ["quantity"]}}
    for replayed in (0, 10, 10):
        result = await plant.apply("update", batch_id="movements", **more)
        assert (result.updated, result.replayed) == (10, replayed)
    assert await plant.connection.fetchval("SELECT sum(quantity) FROM orders") == 55 + 50
    more["items"] = orders(10, quantity=6)
    with pytest.raises(PermanentError, match="another batch_id") as raised:
        await plant.apply("update", batch_id="movements", **more)
    assert raised.value.code == "batch_changed"


async def test_items_that_changed_at_their_source_are_applied_again(plant: Plant) -> None:
    await plant.connection.execute(
        "INSERT INTO incoming SELECT 'MO-' || n, 'L1', n FROM generate_series(1, 20) AS n"
    )
    query = {"source": "mes", "query": "incoming"}
    await plant.apply(query=query, batch_id="b1")
    await plant.connection.execute("UPDATE incoming SET quantity = 99 WHERE order_id = 'MO-7'")
    for replayed in (0, 20):
        result = await plant.apply(query=query, batch_id="b1")
        assert result.replayed == replayed
    assert await plant.count("quantity = 99") == 1


@pytest.mark.parametrize(
    ("operation", "outcomes"),
    [
        ("insert", ["failed", "inserted"]),
        ("update", ["updated", "failed"]),
        ("delete", ["deleted", "unchanged"]),
    ],
)
async def test_an_operation_says_what_it_did(
    plant: Plant, operation: str, outcomes: list[str]
) -> None:
    await plant.apply(items=orders(1))
    items = [{"order_id": "MO-1", "line": "L2", "quantity": 7},
             {"order_id": "MO-2", "line": "L2", "quantity": 7}]  # fmt: skip
    result = await plant.apply(operation, items=items, mode="continue_on_error")
    assert [row["outcome"] for row in plant.outcomes()] == outcomes
    assert result.counts.requested == 2


async def test_files_are_read_by_line_with_what_is_wrong_in_them(plant: Plant) -> None:
    lines = [
        "\ufefforder_id,note,quantity,line",
        "MO-1,x,5,L1",
        'MO-2,"two\nlines, and ""quotes""",6,L1',
        "MO-3,x,7",
        "MO-4,x,,L1",
        "=cmd(),x,8,L2",
        "",
    ]
    with gzip.open(plant.folder / "items.csv.gz", "wt", encoding="utf-8") as file:
        file.write("\r\n".join(lines))
    result = await plant.apply(
        file={"source": "drop", "path": "items.csv.gz"},
        mode="continue_on_error",
        table={"columns": ["order_id", "line", "quantity"]},
    )
    assert (result.inserted, result.counts.failed) == (3, 2)
    assert [row["code"] for row in plant.outcomes()] == [
        "", "", "item_unreadable", "item_refused", "",
    ]  # fmt: skip
    assert plant.outcomes()[4]["order_id"] == "'=cmd()"
    broken = ['{"order_id": "MO-8", "line": "L1", "quantity": 1}', '{"order_id": NaN}', "[1]",
              '{"order_id": "\\ud800", "line": "L1", "quantity": 1}',
              '{"order_id": "MO-9", "line": "L1", "quantity": 1, "more": 1}']  # fmt: skip
    (plant.folder / "items.ndjson").write_text("\n".join(broken), encoding="utf-8")
    result = await plant.apply(
        file={"source": "drop", "path": "items.ndjson"}, mode="continue_on_error"
    )
    assert [error.code for error in result.errors] == [
        "item_unreadable", "item_unreadable", "item_value_invalid", "item_field_unknown",
    ]  # fmt: skip
    assert (result.inserted, result.counts.requested) == (1, 5)


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ({"columns": ["order_id", "applied"]}, "batch_column_unknown"),
        ({"columns": ["line"]}, "batch_key_missing"),
        ({"entity": "incoming"}, "source_entity_unknown"),
        ({"add": ["line"], "operation": "update"}, "source_column_not_added"),
    ],
)
async def test_what_is_not_declared_is_refused(
    plant: Plant, table: dict[str, Any], code: str
) -> None:
    with pytest.raises(PermanentError) as raised:
        await plant.apply(items=orders(1), table=table)
    assert raised.value.code == code
    assert await plant.count() == 0


async def test_outcomes_can_be_json_lines(plant: Plant) -> None:
    result = await plant.apply(items=orders(2), outcome_format="ndjson", file_name="done")
    (artifact,) = result.artifacts
    lines = (plant.folder / artifact.name).read_text(encoding="utf-8").splitlines()
    assert (artifact.name, artifact.rows) == ("done.ndjson", 2)
    assert json.loads(lines[1]) == {
        "item": 2, "order_id": "MO-2", "outcome": "inserted", "code": None, "message": None,
    }  # fmt: skip


async def test_many_bad_items_in_one_chunk_are_found_in_time(plant: Plant) -> None:
    items = orders(3_000)
    for place in range(0, 3_000, 10):
        items[place]["line"] = "L9"
    began = time.monotonic()
    result = await plant.apply(items=items, mode="continue_on_error")
    assert (result.counts.ok, result.counts.failed) == (2_700, 300)
    assert time.monotonic() - began < 60
    failed = {row["item"] for row in plant.outcomes() if row["outcome"] == "failed"}
    assert failed == {str(place + 1) for place in range(0, 3_000, 10)}
