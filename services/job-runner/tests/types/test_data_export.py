"""data.export: the files hold exactly the rows of the source, with their types."""

import csv
import gzip
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from lineshaft_contracts.job_types import ExportParameters, ExportResult
from lineshaft_job_runner.job_type import ColumnType, JobStoppedError, PermanentError
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.data_export import DataExport
from openpyxl import load_workbook
from pydantic import ValidationError

T = ColumnType
COLUMNS = {
    "sku": T.TEXT,
    "note": T.TEXT,
    "quantity": T.INTEGER,
    "mass": T.DECIMAL,
    "ratio": T.DOUBLE,
    "due_at": T.TIMESTAMP,
    "day": T.DATE,
    "open": T.BOOLEAN,
}
DUE = datetime(2026, 7, 1, 4, 30, 0, 250_000, tzinfo=UTC)
ROWS: list[tuple[Any, ...]] = [
    ("000123", "=1+1", -5, Decimal("-10.50"), -0.25, DUE, date(2026, 7, 1), True),
    ("1E5", 'say "hi",\nthen go', 7, Decimal("0.000000001"), 1e-9, DUE, date(2026, 7, 1), False),
    ("-A", "+49 30", None, None, None, None, None, None),
    ("Łódź", "", 2**60, Decimal(12345678901234567890), 3.0, DUE, date(2026, 7, 1), True),
    ("@x", "\tTab", 0, Decimal(0), 0.1, DUE, date(2026, 7, 1), True),
]


def plant(
    rows: list[tuple[Any, ...]] | None = None,
    columns: dict[str, T] | None = None,
    **table: Any,
) -> dict[str, TableSource]:
    given = ROWS if rows is None else rows
    return {
        "mes": TableSource(
            {"orders": Table(columns=columns or COLUMNS, rows=given, **table)}, batch_rows=3
        )
    }


async def export(context: FolderContext, **changed: Any) -> ExportResult:
    parameters = ExportParameters.model_validate({"source": "mes", "query": "orders", **changed})
    return await DataExport().run(context, parameters)


def read_csv(path: Path, delimiter: str = ",") -> list[list[str]]:
    text = path.read_text(encoding="utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def sheet_in(folder: Path) -> Any:
    return load_workbook(folder / "export.xlsx").active


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_csv_keeps_numbers_and_disarms_only_text(tmp_path: Path) -> None:
    result = await export(FolderContext(tmp_path, sources=plant()), timezone="Europe/Berlin")
    lines = read_csv(tmp_path / "export.csv")
    assert lines[0] == list(COLUMNS)
    assert lines[1] == [
        "000123", "'=1+1", "-5", "-10.50", "-0.25", "2026-07-01T06:30:00.250+02:00",
        "2026-07-01", "true",
    ]  # fmt: skip
    assert lines[2][1] == 'say "hi",\nthen go'
    assert lines[3] == ["'-A", "'+49 30", "", "", "", "", "", ""]
    assert lines[4][2:4] == [str(2**60), "12345678901234567890"]
    assert lines[5][:2] == ["'@x", "'\tTab"]
    assert (result.rows_expected, result.rows_written) == (5, 5)
    assert (result.counts.requested, result.counts.ok) == (5, 5)
    assert result.artifacts[0].rows == 5


async def test_an_empty_text_and_an_absent_one_differ_in_csv(tmp_path: Path) -> None:
    rows: list[tuple[Any, ...]] = [("",), (None,), ("x",)]
    result = await export(
        FolderContext(tmp_path, sources=plant(rows, {"note": T.TEXT})), header=False
    )
    assert (tmp_path / "export.csv").read_text(encoding="utf-8") == '""\n\nx\n'
    assert result.rows_written == 3


async def test_csv_for_a_spreadsheet_of_the_continent(tmp_path: Path) -> None:
    await export(
        FolderContext(tmp_path, sources=plant()),
        delimiter=";",
        decimal_sign=",",
        byte_order_mark=True,
        columns=[{"name": "mass", "label": "=Masse (kg)"}, {"name": "ratio"}],
    )
    assert (tmp_path / "export.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    lines = read_csv(tmp_path / "export.csv", ";")
    assert lines[:2] == [["'=Masse (kg)", "ratio"], ["-10,50", "-0,25"]]
    assert lines[2] == ["0,000000001", "1e-9"]


async def test_parquet_has_exact_types_and_values(tmp_path: Path) -> None:
    await export(
        FolderContext(tmp_path, sources=plant()), format="parquet", timezone="Europe/Berlin"
    )
    frame = pl.read_parquet(tmp_path / "export.parquet")
    assert frame.schema["mass"] == pl.Decimal(38, 9)
    assert frame.schema["due_at"] == pl.Datetime("us", "Europe/Berlin")
    assert frame.rows()[:3] == ROWS[:3]
    assert frame["mass"].to_list() == [row[3] for row in ROWS]
    assert frame["note"].to_list() == [row[1] for row in ROWS]


async def test_ndjson_keeps_large_integers_and_decimals_as_text(tmp_path: Path) -> None:
    await export(FolderContext(tmp_path, sources=plant()), format="ndjson")
    text = (tmp_path / "export.ndjson").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[3]["quantity"] == str(2**60)
    assert lines[0]["mass"] == "-10.50"
    assert lines[0]["note"] == "=1+1"
    assert lines[0]["due_at"] == "2026-07-01T04:30:00.250+00:00"
    assert lines[2]["ratio"] is None
    assert len(lines) == 5


async def test_large_integers_may_also_fail_the_job(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant())
    with pytest.raises(PermanentError) as raised:
        await export(context, format="ndjson", large_integers="fail")
    assert raised.value.code == "integer_too_large"


async def test_a_spreadsheet_has_typed_cells_and_no_formula(tmp_path: Path) -> None:
    result = await export(
        FolderContext(tmp_path, sources=plant()), format="xlsx", timestamps="local",
        timezone="Europe/Berlin",
    )  # fmt: skip
    header, *rows = list(sheet_in(tmp_path).iter_rows())
    assert [cell.value for cell in header] == list(COLUMNS)
    assert all(cell.data_type != "f" for row in rows for cell in row)
    first = dict(zip(COLUMNS, (cell.value for cell in rows[0]), strict=True))
    assert first["sku"] == "000123"
    assert first["note"] == "=1+1"
    assert first["quantity"] == "-5"  # The column has an integer that a spreadsheet would round.
    assert first["mass"] == "-10.50"  # And a decimal.
    assert first["ratio"] == -0.25
    assert first["due_at"] == datetime(2026, 7, 1, 6, 30, 0, 250_000)  # noqa: DTZ001 - as cells are.
    assert first["day"] == datetime(2026, 7, 1)  # noqa: DTZ001
    assert first["open"] is True
    assert [cell.value for cell in rows[2]] == ["-A", "+49 30", *[None] * 6]
    assert (result.rows_expected, result.rows_written) == (5, 5)


async def test_numbers_of_a_spreadsheet_are_numbers_up_to_15_digits(tmp_path: Path) -> None:
    rows = [(10**15 - 1, Decimal("-0.000012345"), DUE), (-7, Decimal("1.50"), None)]
    columns = {"quantity": T.INTEGER, "mass": T.DECIMAL, "due_at": T.TIMESTAMP}
    context = FolderContext(tmp_path, sources=plant(rows, columns))
    await export(context, format="xlsx", timezone="Europe/Berlin")
    cells = list(sheet_in(tmp_path).values)[1:]
    assert cells == [
        (10**15 - 1, -0.000012345, "2026-07-01T06:30:00.250+02:00"), (-7, 1.5, None)
    ]  # fmt: skip


async def test_what_a_spreadsheet_would_cut_or_drop_fails_the_job(tmp_path: Path) -> None:
    long = plant([("x" * 32_768,)], {"note": T.TEXT})
    with pytest.raises(PermanentError, match=r"row 1, column 'note'.*32767") as failed:
        await export(FolderContext(tmp_path, sources=long), format="xlsx")
    assert failed.value.code == "value_unfit"
    many = plant([("x",)], {"note": T.TEXT}, counted=1_048_576)
    with pytest.raises(PermanentError, match="rows_per_file") as failed:
        await export(FolderContext(tmp_path, sources=many), format="xlsx")
    assert failed.value.code == "too_many_rows"
    assert names_in(tmp_path) == []


async def test_rows_of_nothing_are_rows_of_a_spreadsheet(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant([("a",), (None,), (None,)], {"note": T.TEXT}))
    result = await export(context, format="xlsx")
    assert result.rows_written == 3
    assert sheet_in(tmp_path).max_row == 4


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_every_format_and_compression_is_counted_again(
    tmp_path: Path, kind: str, compression: str
) -> None:
    rows: list[tuple[Any, ...]] = [(f"line one\nline {n}", n) for n in range(1_000)]
    sources = plant(rows, {"note": T.TEXT, "number": T.INTEGER})
    result = await export(
        FolderContext(tmp_path, sources=sources), format=kind, compression=compression
    )
    assert result.rows_written == 1_000
    assert result.artifacts[0].rows == 1_000


async def test_a_gzip_file_is_one_stream_that_gzip_reads(tmp_path: Path) -> None:
    result = await export(FolderContext(tmp_path, sources=plant()), compression="gzip")
    assert [artifact.name for artifact in result.artifacts] == ["export.csv.gz"]
    assert result.artifacts[0].media_type == "application/gzip"
    text = gzip.decompress((tmp_path / "export.csv.gz").read_bytes()).decode()
    assert text.startswith("sku,note,")


async def test_a_split_export_has_every_row_once_in_order(tmp_path: Path) -> None:
    rows: list[tuple[Any, ...]] = [(n,) for n in range(10)]
    context = FolderContext(tmp_path, sources=plant(rows, {"number": T.INTEGER}))
    result = await export(context, rows_per_file=4, file_name="numbers")
    names = ["numbers-00001.csv", "numbers-00002.csv", "numbers-00003.csv"]
    assert [artifact.name for artifact in result.artifacts] == names
    assert [artifact.rows for artifact in result.artifacts] == [4, 4, 2]
    found = [int(line[0]) for name in names for line in read_csv(tmp_path / name)[1:]]
    assert found == list(range(10))


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet", "xlsx"])
async def test_no_rows_give_a_file_without_rows(tmp_path: Path, kind: str) -> None:
    result = await export(FolderContext(tmp_path, sources=plant([])), format=kind)
    assert result.rows_written == 0
    assert [artifact.rows for artifact in result.artifacts] == [0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
async def test_a_number_that_is_none_follows_its_policy(tmp_path: Path, value: float) -> None:
    sources = plant([(1.5,), (value,)], {"ratio": T.DOUBLE})
    with pytest.raises(PermanentError) as raised:
        await export(FolderContext(tmp_path, sources=sources))
    assert raised.value.code == "non_finite_number"
    await export(FolderContext(tmp_path, sources=sources), non_finite="null", header=False)
    assert (tmp_path / "export.csv").read_text(encoding="utf-8") == "1.5\n\n"
    await export(FolderContext(tmp_path, sources=sources), non_finite="keep", format="parquet")
    kept = pl.read_parquet(tmp_path / "export.parquet")["ratio"].to_list()
    assert repr(kept) == repr([1.5, value])


@pytest.mark.parametrize("counted", [4, 6])
async def test_other_rows_than_counted_fail_the_job_without_a_file(
    tmp_path: Path, counted: int
) -> None:
    context = FolderContext(tmp_path, sources=plant(counted=counted))
    with pytest.raises(PermanentError) as raised:
        await export(context)
    assert raised.value.code == "rows_differ"
    assert names_in(tmp_path) == []


async def test_a_retry_makes_the_same_files_however_rows_are_batched(tmp_path: Path) -> None:
    digests: list[list[str]] = []
    for batch_rows in (2, 5):
        folder = tmp_path / str(batch_rows)
        folder.mkdir()
        table = Table(columns=COLUMNS, rows=ROWS)
        source = TableSource({"orders": table}, batch_rows=batch_rows)
        context = FolderContext(folder, sources={"mes": source})
        result = await export(context, compression="gzip")
        digests.append([result.input_digest, *(item.sha256 for item in result.artifacts)])
    assert digests[0] == digests[1]


async def test_a_cancelled_export_leaves_no_file(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(), cancel_after=1)
    with pytest.raises(JobStoppedError):
        await export(context)
    assert names_in(tmp_path) == []


async def test_progress_moves_to_the_end(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant())
    await export(context)
    assert [done for done, _, _ in context.progressed] == [0, 3, 5, 10]
    assert {total for _, total, _ in context.progressed} == {10}


async def test_an_unknown_column_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant())
    with pytest.raises(PermanentError, match="it has: sku, note"):
        await export(context, columns=[{"name": "colour"}])


async def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    result = await export(FolderContext(tmp_path, sources=plant()), dry_run=True)
    assert (result.counts.requested, result.counts.skipped) == (5, 5)
    assert result.artifacts == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"decimal_sign": ","},
        {"format": "ndjson", "non_finite": "keep"},
        {"format": "xlsx", "non_finite": "keep"},
        {"format": "xlsx", "compression": "gzip"},
        {"columns": [{"name": "a", "label": "x"}, {"name": "b", "label": "x"}]},
        {"rows_per_file": 0},
        {"file_name": "a/b"},
        {"query": "SELECT 1"},
    ],
    ids=str,
)
def test_parameters_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ExportParameters.model_validate({"source": "mes", "query": "orders", **wrong})
