"""Writing to the user's PostgreSQL: one transaction, set-based, declared tables only."""

from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from lineshaft_job_runner.job_data import (
    Comparison,
    Filter,
    Operation,
    RowsRefusedError,
    Selection,
    Transaction,
)
from lineshaft_job_runner.sources import SourceError, SourcesFile, SourceUnavailableError
from lineshaft_job_runner.store.plant_sources import open_source
from lineshaft_job_runner.store.plant_targets import open_target

pytestmark = pytest.mark.integration

SCHEMA = """
CREATE TYPE grade AS ENUM ('a', 'b');
CREATE SCHEMA plant;
CREATE TABLE plant."Stock" (
    material text, location varchar(6), on_hand numeric(12, 3) CHECK (on_hand >= 0), grade grade,
    note jsonb, counted_at timestamptz, pieces integer NOT NULL DEFAULT 0,
    PRIMARY KEY (material, location)
);
INSERT INTO plant."Stock" VALUES ('M1', 'A', 5, 'a', '{"x": 1}', now(), 1);
INSERT INTO plant."Stock" VALUES ('M2', 'A', 7, 'b');
CREATE TABLE secrets (id text PRIMARY KEY);
"""
FILE: dict[str, Any] = {
    "kind": "postgresql",
    "url_env": "URL",
    "write_url_env": "URL",
    "lock_timeout_seconds": 0.2,
    "entities": {
        "stock": {
            "table": "plant.Stock",
            "columns": {
                "material": "text", "location": "text", "on_hand": "decimal", "grade": "text",
                "note": "text", "counted_at": "timestamp", "pieces": "integer",
            },
            "key": ["material", "location"],
            "writable": True,
        },
        "secrets": {"columns": {"id": "text"}, "key": ["id"]},
    },
}  # fmt: skip
COLUMNS = ("material", "location", "on_hand")
Row = tuple[Any, ...]


def file(**changes: Any) -> SourcesFile:
    return SourcesFile.model_validate({"sources": {"mes": FILE | changes}})


@pytest.fixture
async def database(postgres_url: str) -> AsyncGenerator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(SCHEMA)
    try:
        yield connection
    finally:
        await connection.close()


def opened(url: str, **changes: Any) -> Any:
    return open_target(file(**changes), "mes", tenant="acme", environment={"URL": url})


async def stock(database: "asyncpg.Connection[asyncpg.Record]") -> list[Row]:
    rows = await database.fetch(
        'SELECT material, location, on_hand FROM plant."Stock" ORDER BY 1, 2'
    )
    return [tuple(row) for row in rows]


M1, M2 = ("M1", "A", Decimal(5)), ("M2", "A", Decimal(7))


@pytest.mark.parametrize(
    "case",
    [
        (Operation.INSERT, [("M3", "B", Decimal(1)), M1, ("M2", "A", Decimal(8))], "inx",
         [M1, M2, ("M3", "B", Decimal(1))]),
        (Operation.UPDATE, [("M1", "A", Decimal(6)), M2, ("M9", "A", Decimal(1))], "unx",
         [("M1", "A", Decimal(6)), M2]),
        (Operation.UPSERT, [("M1", "A", Decimal("5.0004")), ("M2", "A", None),
                            ("M3", "B", Decimal("0.0005"))], "nui",
         [M1, ("M2", "A", None), ("M3", "B", Decimal("0.001"))]),
    ],
    ids=lambda case: str(case[0]),
)  # fmt: skip
async def test_every_row_has_a_letter_and_a_replay_changes_nothing(
    postgres_url: str,
    database: "asyncpg.Connection[asyncpg.Record]",
    case: tuple[Operation, list[Row], str, list[Row]],
) -> None:
    operation, rows, letters, after = case
    async with opened(postgres_url) as target:
        for expected in (letters, letters.translate({ord("i"): "n", ord("u"): "n"})):
            async with target.transaction() as transaction:
                staging = await transaction.stage("stock", COLUMNS, rows)
                assert await transaction.apply(staging, operation) == expected
            assert await stock(database) == after


async def test_whole_rows_are_merged_with_the_same_letters(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    columns = ("material", "location", "on_hand", "grade", "note", "counted_at", "pieces")
    rows = [
        ("M1", "A", Decimal(9), "a", None, None, 1),
        ("M2", "A", Decimal(7), "b", None, None, 0),
        ("M3", "A", None, None, None, None, 5),
    ]
    async with opened(postgres_url) as target:
        for expected in ("uni", "nnn"):
            async with target.transaction() as transaction:
                staging = await transaction.stage("stock", columns, rows)
                assert await transaction.apply(staging, Operation.UPSERT) == expected
    assert await stock(database) == [("M1", "A", Decimal(9)), M2, ("M3", "A", None)]


async def test_rows_are_deleted_by_exactly_their_key(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with opened(postgres_url) as target, target.transaction() as transaction:
        keys = [("M1", "A"), ("M2", "A-and-longer-than-the-column"), ("M2", "a")]
        staging = await transaction.stage("stock", COLUMNS[:2], keys)
        assert await transaction.apply(staging, Operation.DELETE) == "dnn"
    assert await stock(database) == [M2]


async def test_a_delta_is_added_and_a_missing_key_begins_with_it(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    rows = [("M1", "A", Decimal(-2)), ("M2", "A", Decimal(0)), ("M4", "B", Decimal(3))]
    async with opened(postgres_url) as target, target.transaction() as transaction:
        staging = await transaction.stage("stock", COLUMNS, rows)
        current = await transaction.current(staging, ["on_hand", "grade"])
        assert current == {0: (Decimal(5), "a"), 1: (Decimal(7), "b")}
        assert await transaction.apply(staging, Operation.UPSERT, add=["on_hand"]) == "uni"
        assert await transaction.apply(staging, Operation.UPDATE, add=["on_hand"]) == "unu"
    assert [row[2] for row in await stock(database)] == [1, 7, 6]


@pytest.mark.parametrize("operation", list(Operation))
async def test_an_entity_may_have_a_column_named_item(
    database: "asyncpg.Connection[asyncpg.Record]", postgres_url: str, operation: Operation
) -> None:
    await database.execute("CREATE TABLE lots (item text PRIMARY KEY, pieces integer NOT NULL)")
    lots = {
        "columns": {"item": "text", "pieces": "integer"}, "key": ["item"], "writable": True,
    }  # fmt: skip
    names = ["item"] if operation is Operation.DELETE else ["item", "pieces"]
    async with (
        opened(postgres_url, entities={"lots": lots}) as target,
        target.transaction() as transaction,
    ):
        staging = await transaction.stage("lots", names, [("L1", 5)[: len(names)]])
        letters = await transaction.apply(staging, operation)
        found = await transaction.current(staging, ["pieces"])
    inserted = operation in {Operation.INSERT, Operation.UPSERT}
    assert (letters == "i", found) == (inserted, {0: (5,)} if inserted else {})


async def test_a_refused_row_leaves_the_transaction_usable(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    rows = [("M1", "A", Decimal(6)), ("M5", "too-long", Decimal(1)), ("M2", "A", Decimal(-1))]
    async with opened(postgres_url) as target, target.transaction() as transaction:
        staging = await transaction.stage("stock", COLUMNS, rows)
        with pytest.raises(RowsRefusedError, match="value too long") as raised:
            await transaction.apply(staging, Operation.UPSERT, within=range(2))
        assert raised.value.sqlstate == "22001"
        with pytest.raises(RowsRefusedError, match="violates check") as raised:
            await transaction.apply(staging, Operation.UPSERT, within=range(2, 3))
        assert await transaction.apply(staging, Operation.UPSERT, within=range(1)) == "u"
    assert await stock(database) == [("M1", "A", Decimal(6)), M2]


async def test_enums_json_and_times_are_exchanged_as_their_columns_hold_them(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    moment = datetime(2026, 11, 25, 8, tzinfo=UTC)
    columns = ("material", "location", "grade", "note", "counted_at")
    rows = [("M1", "A", "b", '{"y":2}', moment), ("M7", "A", None, None, None)]
    async with opened(postgres_url) as target:
        for expected in ("ui", "nn"):
            async with target.transaction() as transaction:
                staging = await transaction.stage("stock", columns, rows)
                assert await transaction.apply(staging, Operation.UPSERT) == expected
        async with target.transaction() as transaction:
            staging = await transaction.stage("stock", columns, [("M1", "A", "z", None, None)])
            with pytest.raises(RowsRefusedError, match="grade"):
                await transaction.apply(staging, Operation.UPSERT)
    environment = {"URL": postgres_url}
    async with open_source(file(), "mes", tenant="acme", environment=environment) as source:
        wanted = Selection(
            entity="stock",
            columns=("note", "grade", "counted_at"),
            filters=(Filter(column="counted_at", value="2026-11-25T09:00:00+01:00"),),
        )
        async with source.read(wanted, {}) as answer:
            found = [row async for batch in answer.batches() for row in batch]
    assert found == [('{"y": 2}', "b", moment)]


@pytest.mark.parametrize(
    ("filters", "materials"),
    [
        ([Filter(column="material", comparison=Comparison.NOT_EQUAL, value="M1")], ["M2"]),
        ([Filter(column="on_hand", comparison=Comparison.LESS, value="6.5")], ["M1"]),
        ([Filter(column="pieces", comparison=Comparison.ONE_OF, value=[0, 9])], ["M2"]),
        ([Filter(column="note", comparison=Comparison.MISSING, value=True)], ["M2"]),
        ([Filter(column="material", value="M1' OR '1'='1")], []),
    ],
)
async def test_an_entity_is_read_by_typed_filters(
    postgres_url: str,
    database: "asyncpg.Connection[asyncpg.Record]",
    filters: list[Filter],
    materials: list[str],
) -> None:
    environment = {"URL": postgres_url}
    async with open_source(file(), "mes", tenant="acme", environment=environment) as source:
        selection = Selection(entity="stock", columns=("material",), filters=filters)
        assert await source.count(selection, {}) == len(materials)
        async with source.read(selection, {}) as answer:
            found = [row[0] async for batch in answer.batches() for row in batch]
    assert found == materials


async def test_a_part_of_a_batch_is_applied_once_by_whoever_commits_first(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async def add(transaction: Transaction) -> None:
        staging = await transaction.stage("stock", COLUMNS, [("M1", "A", Decimal(1))])
        await transaction.apply(staging, Operation.UPDATE, add=["on_hand"])
        await transaction.note("batch", 0, {"done": 1})

    async with opened(postgres_url) as first, opened(postgres_url) as second:
        async with first.transaction() as transaction:
            assert await transaction.claim("batch", 0, "d1") is None
            await add(transaction)
            with pytest.raises(SourceUnavailableError) as raised:
                async with second.transaction() as other:
                    await other.claim("batch", 0, "d1")
            assert raised.value.code == "source_locked"
        async with second.transaction() as other:
            noted = await other.claim("batch", 0, "d2")
            assert noted is not None
            assert (noted.digest, noted.note) == ("d1", {"done": 1})
    assert (await stock(database))[0] == ("M1", "A", Decimal(6))


async def test_a_block_that_raises_leaves_nothing(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    async with opened(postgres_url) as target:
        with suppress(ValueError):
            async with target.transaction() as transaction:
                assert await transaction.claim("batch", 0, "d") is None
                staging = await transaction.stage("stock", COLUMNS[:2], [("M1", "A")])
                assert await transaction.apply(staging, Operation.DELETE) == "d"
                raise ValueError
        async with target.transaction() as transaction:
            assert await transaction.claim("batch", 0, "d") is None
    assert await stock(database) == [M1, M2]


@pytest.mark.parametrize(
    ("entity", "columns", "code"),
    [
        ("secrets", ("id",), "source_not_writable"),
        ("pg_user", ("usename",), "source_entity_unknown"),
        ("stock", ("material", "location", 'x" = 1; DROP TABLE secrets; --'),
         "source_column_unknown"),
        ("stock", ("material", "on_hand"), "source_key_missing"),
    ],
)  # fmt: skip
async def test_nothing_but_what_is_declared_is_written(
    postgres_url: str,
    database: "asyncpg.Connection[asyncpg.Record]",
    entity: str,
    columns: tuple[str, ...],
    code: str,
) -> None:
    async with opened(postgres_url) as target:
        with pytest.raises(SourceError) as raised:
            async with target.transaction() as transaction:
                await transaction.stage(entity, columns, [("x",) * len(columns)])
    assert raised.value.code == code


async def test_columns_that_differ_from_the_table_are_an_error(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    entities = {
        "stock": {
            **FILE["entities"]["stock"],
            "columns": {"material": "text", "location": "text", "pieces": "decimal"},
        }
    }
    async with opened(postgres_url, entities=entities) as target:
        with pytest.raises(SourceError, match="int4") as raised:
            async with target.transaction() as transaction:
                await transaction.stage("stock", ("material", "location"), [])
    assert raised.value.code == "source_columns_differ"


async def test_a_role_that_may_not_make_the_ledger_says_how(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    role = f"writer_{postgres_url[-12:]}"
    await database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'w'")
    try:
        url = _as_role(postgres_url, role)
        with pytest.raises(SourceError, match="CREATE TABLE") as raised:
            async with opened(url) as target, target.transaction():
                pytest.fail("there is no ledger")
        assert raised.value.code == "source_ledger_missing"
    finally:
        await database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def _as_role(url: str, role: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{role}:w@{rest.rpartition('@')[2]}"
