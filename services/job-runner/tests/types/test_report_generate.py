"""report.generate: every row of the queries is on a numbered page, as text."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts.reports import ReportParameters, ReportResult
from lineshaft_job_runner.job_type import ColumnType, JobStoppedError, PermanentError
from lineshaft_job_runner.sources import SourceError
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.report_generate import ReportGenerate
from pydantic import ValidationError
from pypdf import PdfReader

START = datetime(2026, 11, 24, 5, tzinfo=UTC)
SHIFT = {"shift_start": ColumnType.TIMESTAMP, "shift_end": ColumnType.TIMESTAMP}
T = ColumnType


def production(count: int) -> list[tuple[Any, ...]]:
    return [
        (
            f"MO-{number:06d}",
            f"Gear {number % 7}",
            f"line-{number % 3}",
            1_000 + number,
            number % 5,
            number % 2,
            START + timedelta(seconds=number),
            None if number % 4 == 0 else START + timedelta(hours=1, seconds=number),
        )
        for number in range(count)
    ]


def plant(
    rows: list[tuple[Any, ...]],
    downtime: list[tuple[Any, ...]] | None = None,
    hourly: list[tuple[Any, ...]] | None = None,
    **table: Any,
) -> dict[str, TableSource]:
    def shift_table(columns: dict[str, T], rows: list[tuple[Any, ...]], **more: Any) -> Table:
        return Table(columns=columns, rows=rows, parameters=SHIFT, **more)

    return {
        "mes": TableSource(
            {
                "shift_production": shift_table(
                    {
                        "order_id": T.TEXT, "product": T.TEXT, "line": T.TEXT,
                        "good": T.INTEGER, "scrap": T.INTEGER, "rework": T.INTEGER,
                        "started_at": T.TIMESTAMP, "finished_at": T.TIMESTAMP,
                    },
                    rows,
                    **table,
                ),
                "shift_downtime": shift_table(
                    {"line": T.TEXT, "reason": T.TEXT, "minutes": T.DECIMAL, "events": T.INTEGER},
                    downtime or [],
                ),
                "shift_hourly": shift_table(
                    {"hour": T.TIMESTAMP, "good": T.INTEGER, "scrap": T.INTEGER}, hourly or []
                ),
            },
            batch_rows=500,
        )
    }  # fmt: skip


DOWNTIME = [("line-1", f"Reason {number}", Decimal(30 - number), 2) for number in range(12)]
HOURLY = [(START + timedelta(hours=hour), 100 + hour, hour) for hour in range(8)]


async def report(context: FolderContext, **changed: Any) -> ReportResult:
    parameters = ReportParameters.model_validate({**ReportGenerate.example, **changed})
    return await ReportGenerate().run(context, parameters)


def texts(folder: Path, name: str = "shift-report.pdf") -> list[str]:
    return [page.extract_text() for page in PdfReader(folder / name).pages]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_every_row_of_a_long_shift_is_on_a_numbered_page(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(production(700), DOWNTIME, HOURLY))
    result = await report(context)
    pages = texts(tmp_path)
    assert result.pages == len(pages) > 10
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in page
        assert "Early shift" in page
    whole = "\n".join(pages)
    assert all(whole.count(f"MO-{number:06d}") == 1 for number in range(700))
    assert [(table.rows_expected, table.rows_rendered) for table in result.tables] == [
        (700, 700), (12, 12), (8, 8),
    ]  # fmt: skip
    assert (result.counts.requested, result.counts.ok) == (720, 720)
    artifact = result.artifacts[0]
    assert (artifact.rows, artifact.pages) == (720, len(pages))


async def test_header_rows_repeat_on_every_page_of_the_table(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(production(300)))
    await report(context)
    for page in texts(tmp_path):
        assert "Order" in page
        assert "Finished" in page


async def test_figures_are_sums_of_the_rows(tmp_path: Path) -> None:
    rows = production(10)
    context = FolderContext(tmp_path, sources=plant(rows, DOWNTIME, HOURLY))
    result = await report(context, locale="de-DE")
    figures = result.figures
    assert figures["good"] == sum(row[3] for row in rows) == 10_045
    assert (figures["scrap"], figures["rework"]) == (20, 5)
    assert figures["quality_ratio"] == pytest.approx(10_045 / 10_070)
    assert figures["downtime_minutes"] == sum(range(19, 31))
    assert figures["downtime_events"] == 24
    first = texts(tmp_path)[0]
    assert "10.045" in first
    assert "99,8" in first
    assert "all others" in first


async def test_times_are_on_the_clock_of_the_plant(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(production(1), DOWNTIME, HOURLY))
    await report(context)
    first = texts(tmp_path)[0]
    assert "2026-11-24 06:00 CET to 2026-11-24 14:00 CET (Europe/Berlin)" in first
    assert "13:00" in first


async def test_an_empty_shift_gives_a_report_that_says_so(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant([]))
    result = await report(context)
    assert result.empty
    assert result.pages == 1
    assert result.figures["quality_ratio"] is None
    assert "No production and no downtime was recorded" in texts(tmp_path)[0]


async def test_text_of_other_alphabets_is_shown_and_unknown_characters_are_said(
    tmp_path: Path,
) -> None:
    rows = production(3)
    rows[0] = ("Zlecenie-Łódź", "Вал 12", *rows[0][2:])
    rows[1] = ("MO-<b>&amp;", "W" * 90, *rows[1][2:])
    rows[2] = ("齿轮", "x" * 600, *rows[2][2:])
    context = FolderContext(tmp_path, sources=plant(rows))
    result = await report(context)
    whole = "".join(texts(tmp_path))
    assert "Zlecenie-Łódź" in whole.replace("\n", "")
    assert "Вал 12" in whole
    assert "MO-<b>&amp;" in whole
    assert whole.count("W") == 90
    assert result.warnings == (
        "the font has no picture for these characters: 轮齿",
        "1 texts are cut at 500 characters",
    )


async def test_a_packed_logo_is_drawn_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(production(2)))
    await report(context, logo="lineshaft.png")
    assert len(PdfReader(tmp_path / "shift-report.pdf").pages[0].images) == 1
    with pytest.raises(PermanentError, match=r"there are: lineshaft\.png") as raised:
        await report(context, logo="customer.png")
    assert raised.value.code == "asset_missing"


async def test_fewer_rows_than_counted_fail_the_job(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(production(5), counted=6))
    with pytest.raises(PermanentError) as raised:
        await report(context)
    assert raised.value.code == "rows_differ"
    assert names_in(tmp_path) == []


async def test_more_rows_than_a_report_shows_are_refused_before_drawing(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(production(5), counted=300_000))
    with pytest.raises(PermanentError, match=r"data\.export"):
        await report(context)


async def test_a_source_without_the_queries_is_an_error(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources={"mes": TableSource({})})
    with pytest.raises(SourceError) as raised:
        await report(context)
    assert raised.value.code == "source_query_unknown"


async def test_a_source_with_other_columns_is_an_error(tmp_path: Path) -> None:
    wrong = {
        name: Table(columns={"order_id": T.TEXT}, rows=[("MO-1",)], parameters=SHIFT)
        for name in ("shift_production", "shift_downtime", "shift_hourly")
    }
    context = FolderContext(tmp_path, sources={"mes": TableSource(wrong)})
    with pytest.raises(PermanentError, match="has no column product, line") as raised:
        await report(context)
    assert raised.value.code == "report_columns_missing"


async def test_a_cancelled_report_leaves_no_file(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(production(2_000)), cancel_after=2)
    with pytest.raises(JobStoppedError):
        await report(context)
    assert names_in(tmp_path) == []


async def test_a_dry_run_counts_and_draws_nothing(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(production(5)))
    result = await report(context, dry_run=True)
    assert (result.counts.requested, result.counts.skipped) == (5, 5)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"shift_end": "2026-11-24T06:00:00+01:00"},
        {"shift_end": "2027-01-24T06:00:00+01:00"},
        {"shift_start": "2026-11-24T06:00:00"},
        {"timezone": "Europe/Nowhere"},
        {"timezone": "../../etc/passwd"},
        {"file_name": "../report"},
        {"template": "unknown"},
    ],
    ids=str,
)
def test_parameters_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReportParameters.model_validate({**ReportGenerate.example, **wrong})
