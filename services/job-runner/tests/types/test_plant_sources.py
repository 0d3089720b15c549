"""Reading the user's PostgreSQL: one snapshot, read-only, within limits."""

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from lineshaft_contracts.job_types import ExportParameters
from lineshaft_job_runner.job_type import JobStoppedError, RetryableError, Source
from lineshaft_job_runner.sources import SourceError, SourcesFile, SourceUnavailableError
from lineshaft_job_runner.store.plant_sources import open_source
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.data_export import DataExport

pytestmark = pytest.mark.integration

PLANT = Path(__file__).parents[4] / "examples" / "plant"
SERIES = "SELECT n::bigint AS number FROM generate_series(1, $1::integer) AS n"
SCHEMA = "CREATE TABLE items (number bigint PRIMARY KEY); INSERT INTO items VALUES (1), (2), (3);"


def sources(**queries: dict[str, Any]) -> SourcesFile:
    return limited({}, **queries)


def limited(limits: Mapping[str, Any], **queries: dict[str, Any]) -> SourcesFile:
    entry = {"kind": "postgresql", "url_env": "URL", "queries": queries, **limits}
    return SourcesFile.model_validate({"sources": {"mes": entry}})


SERIES_QUERY = {
    "sql": SERIES, "parameters": {"most": "integer"}, "columns": {"number": "integer"},
}  # fmt: skip
ITEMS_QUERY = {
    "sql": "SELECT number FROM items ORDER BY number;", "columns": {"number": "integer"},
}  # fmt: skip


@pytest.fixture
async def database(postgres_url: str) -> AsyncGenerator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(postgres_url)
    try:
        yield connection
    finally:
        await connection.close()


def opened(file: SourcesFile, url: str) -> Any:
    return open_source(file, "mes", tenant="acme", environment={"URL": url})


async def everything(source: Source, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    async with source.read(query, parameters) as rows:
        return [row async for batch in rows.batches() for row in batch]


async def test_rows_come_typed_and_in_batches(postgres_url: str) -> None:
    sql = (
        "SELECT 'a'::text AS a, 2::smallint AS b, 1.50::numeric AS c, 0.5::real AS d, "
        "'2026-11-24 06:00+01'::timestamptz AS e, '2026-11-24'::date AS f, true AS g"
    )
    columns = {
        "a": "text", "b": "integer", "c": "decimal", "d": "double", "e": "timestamp",
        "f": "date", "g": "boolean",
    }  # fmt: skip
    file = limited({"batch_rows": 4}, one={"sql": sql, "columns": columns}, series=SERIES_QUERY)
    async with opened(file, postgres_url) as source:
        (row,) = await everything(source, "one")
        assert row[:5] == ("a", 2, Decimal("1.50"), 0.5, datetime(2026, 11, 24, 5, tzinfo=UTC))
        async with source.read("series", {"most": 10}) as rows:
            assert list(rows.columns) == ["number"]
            assert [len(batch) async for batch in rows.batches()] == [4, 4, 2]


async def test_count_and_read_see_one_snapshot(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute(SCHEMA)
    async with opened(sources(items=ITEMS_QUERY), postgres_url) as source:
        assert await source.count("items", {}) == 3
        await database.execute("INSERT INTO items VALUES (4)")
        assert len(await everything(source, "items")) == 3
        assert await source.count("items", {}) == 3
    async with opened(sources(items=ITEMS_QUERY), postgres_url) as source:
        assert await source.count("items", {}) == 4


@pytest.mark.parametrize(
    "sql",
    [
        "WITH gone AS (DELETE FROM items RETURNING number) SELECT number FROM gone",
        "SELECT number FROM items FOR UPDATE",
        "SELECT setval('counter', 5) AS number",
    ],
)
async def test_a_saved_query_cannot_write(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]", sql: str
) -> None:
    await database.execute(SCHEMA + "CREATE SEQUENCE counter;")
    file = sources(bad={"sql": sql, "columns": {"number": "integer"}})
    async with opened(file, postgres_url) as source:
        with pytest.raises(SourceError) as raised:
            await everything(source, "bad")
    assert raised.value.code == "source_query_failed"
    assert await database.fetchval("SELECT count(*) FROM items") == 3


async def test_a_parameter_is_never_part_of_the_statement(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute(SCHEMA)
    echo = {
        "sql": "SELECT $1::text AS said",
        "parameters": {"say": "text"},
        "columns": {"said": "text"},
    }
    attack = "'; DROP TABLE items; --"
    async with opened(sources(echo=echo), postgres_url) as source:
        assert await everything(source, "echo", say=attack) == [(attack,)]
        assert await source.count("echo", {"say": attack}) == 1


async def test_a_slow_statement_is_ended_and_may_be_tried_again(postgres_url: str) -> None:
    slow = {"sql": "SELECT pg_sleep(60)::text AS done", "columns": {"done": "text"}}
    file = limited({"statement_timeout_seconds": 0.2}, slow=slow)
    async with opened(file, postgres_url) as source:
        with pytest.raises(SourceUnavailableError) as raised:
            await everything(source, "slow")
    assert raised.value.code == "source_timeout"
    assert isinstance(raised.value, RetryableError)


async def test_too_many_rows_and_bytes_are_refused_while_reading(postgres_url: str) -> None:
    file = limited({"rows_max": 100, "batch_rows": 30}, series=SERIES_QUERY)
    async with opened(file, postgres_url) as source:
        assert len(await everything(source, "series", most=100)) == 100
        with pytest.raises(SourceError) as raised:
            await everything(source, "series", most=101)
    assert raised.value.code == "source_rows_limit"
    wide = {"sql": "SELECT repeat('x', 5000) AS text", "columns": {"text": "text"}}
    async with opened(limited({"bytes_max": 4_999}, wide=wide), postgres_url) as source:
        with pytest.raises(SourceError) as raised:
            await everything(source, "wide")
    assert raised.value.code == "source_bytes_limit"


@pytest.mark.parametrize(
    "columns",
    [{"n": "integer"}, {"number": "text"}, {"number": "integer", "more": "text"}],
    ids=str,
)
async def test_columns_that_differ_from_the_file_are_an_error(
    postgres_url: str, columns: dict[str, str]
) -> None:
    file = sources(series={**SERIES_QUERY, "columns": columns})
    async with opened(file, postgres_url) as source:
        with pytest.raises(SourceError, match="number int8") as raised:
            await everything(source, "series", most=1)
    assert raised.value.code == "source_columns_differ"


async def test_a_database_that_is_away_is_worth_another_try_and_keeps_its_secret() -> None:
    url = "postgresql://reader:secret@127.0.0.1:1/plant"
    with pytest.raises(SourceUnavailableError) as raised:
        async with opened(sources(series=SERIES_QUERY), url):
            pass
    assert raised.value.code == "source_unavailable"
    assert "secret" not in str(raised.value)


async def test_the_demos_file_agrees_with_the_demos_tables(
    postgres_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    schema = (PLANT / "src" / "plant" / "schema.sql").read_text(encoding="utf-8")
    await database.execute(schema)
    file = SourcesFile.load(PLANT / "sources.yaml")
    shift = {"shift_start": "2026-11-24T05:00:00Z", "shift_end": "2026-11-24T13:00:00Z"}
    environment = {"PLANT_POSTGRES_URL": postgres_url}
    async with open_source(file, "mes", tenant="acme", environment=environment) as source:
        for name, query in file.entry("mes", tenant="acme").queries.items():
            given = {**shift, "characteristic": "piston-ring-diameter"}
            parameters = {key: given[key] for key in query.parameters}
            assert await source.count(name, parameters) == 0
            assert await everything(source, name, **parameters) == []


async def test_an_export_reads_a_real_source(postgres_url: str, tmp_path: Path) -> None:
    async with opened(sources(series=SERIES_QUERY), postgres_url) as source:
        context = FolderContext(tmp_path, sources={"mes": source})
        parameters = ExportParameters(
            source="mes", query="series", query_parameters={"most": 25_000}
        )
        result = await DataExport().run(context, parameters)
    assert result.rows_written == 25_000
    lines = (tmp_path / "export.csv").read_text(encoding="utf-8").splitlines()
    assert lines == ["number", *(str(number) for number in range(1, 25_001))]


async def test_copied_rows_are_the_rows_that_are_read(postgres_url: str) -> None:
    sql = (
        "SELECT $1::text AS a, $2::bigint AS b, $3::numeric AS c, 'NaN'::float8 AS d, "
        "$4::timestamptz AS e, $5::date AS f, $6::boolean AS g UNION ALL "
        "SELECT '', NULL, NULL, NULL, NULL, NULL, NULL"
    )
    kinds = {
        "a": "text", "b": "integer", "c": "decimal", "d": "double", "e": "timestamp",
        "f": "date", "g": "boolean",
    }  # fmt: skip
    parameters = {kind: kind for name, kind in kinds.items() if name != "d"}
    file = sources(both={"sql": sql, "parameters": parameters, "columns": kinds})
    values = {
        "text": """'; DROP "x",\n""", "integer": -5, "decimal": "-1.50",
        "timestamp": "1969-12-31T23:59:59.999999Z", "date": "2026-11-24", "boolean": True,
    }  # fmt: skip
    blocks: list[bytes] = []

    async def write(content: bytes) -> None:
        blocks.append(content)

    async with opened(file, postgres_url) as source:
        async with source.copy("both", values) as answer:
            await answer.send_to(write)
        (first, _) = await everything(source, "both", **values)
    assert first[0] == values["text"]
    assert first[4] == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    days = (date(2026, 11, 24) - date(1970, 1, 1)).days
    assert b"".join(blocks).decode() == (
        f"""\"'; DROP ""x"",\n\",-5,-1.50,NaN,-1,{days},1\n\"\",,,,,,\n"""
    )


async def test_a_copy_keeps_the_limits(postgres_url: str) -> None:
    async def write(content: bytes) -> None:
        pass

    for limits, code in (
        ({"rows_max": 10}, "source_rows_limit"),
        ({"bytes_max": 10}, "source_bytes_limit"),
    ):
        async with opened(limited(limits, series=SERIES_QUERY), postgres_url) as source:
            with pytest.raises(SourceError) as raised:
                async with source.copy("series", {"most": 11}) as answer:
                    await answer.send_to(write)
        assert raised.value.code == code


async def test_a_full_disk_is_not_blamed_on_the_source(postgres_url: str) -> None:
    async def write(content: bytes) -> None:
        raise OSError(28, "No space left on device")

    async with opened(sources(series=SERIES_QUERY), postgres_url) as source:
        with pytest.raises(OSError, match="No space left"):
            async with source.copy("series", {"most": 2_000_000}) as answer:
                await answer.send_to(write)


async def test_a_cancelled_export_stops_in_the_middle_of_its_copy(
    postgres_url: str, tmp_path: Path
) -> None:
    async with opened(sources(series=SERIES_QUERY), postgres_url) as source:
        context = FolderContext(tmp_path, sources={"mes": source}, cancel_after=2)
        parameters = ExportParameters(
            source="mes", query="series", query_parameters={"most": 3_000_000}
        )
        with pytest.raises(JobStoppedError):
            await DataExport().run(context, parameters)
    assert context.progressed[-1][0] < 3_000_000
    assert context.artifacts() == ()
