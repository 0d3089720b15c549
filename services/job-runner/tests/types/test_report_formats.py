"""report.generate: every row is in every format, as text that nothing calculates or runs."""

import csv
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts.reports import ReportTemplate
from lineshaft_job_runner.job_type import JobStoppedError, PermanentError
from lineshaft_job_runner.testing import FolderContext
from openpyxl import load_workbook
from pypdf import PdfReader

from .report_plant import QUERIES, plant, report

ALL = ["pdf", "html", "xlsx", "csv"]
HOSTILE = "=HYPERLINK(\"x\")<script>alert('1')</script>&amp;"


class Page(HTMLParser):
    """Counts the rows of each table body, and keeps every tag and reference."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.rows: dict[str, int] = {}
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.references: list[str] = []
        self._table = ""
        self._in_body = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = dict(attrs)
        self.references += [v or "" for k, v in attrs if k in {"src", "href", "xlink:href"}]
        if tag == "table":
            self._table = given["id"] or ""
            self.rows[self._table] = 0
        self._in_body = (self._in_body or tag == "tbody") and tag != "table"
        if tag == "tr" and self._in_body:
            self.rows[self._table] += 1

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def csv_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("template", list(ReportTemplate))
async def test_each_format_has_each_row_of_each_table(
    tmp_path: Path, template: ReportTemplate
) -> None:
    context = FolderContext(tmp_path, sources=plant())
    result = await report(context, template, formats=ALL, logo="lineshaft.png")
    expected = {t.name: t.rows_expected for t in result.tables if t.rows_expected}
    assert len(result.tables) == 4 * len({t.name for t in result.tables})
    assert {t.rows_rendered - t.rows_expected for t in result.tables} == {0}
    assert Page(tmp_path / f"{template}.html").rows == expected
    book = load_workbook(tmp_path / f"{template}.xlsx", read_only=True)
    assert book.sheetnames[0] == "Summary"
    found = [sum(1 for _ in book[name].iter_rows()) - 1 for name in book.sheetnames[1:]]
    assert found == list(expected.values())
    for name, rows in expected.items():
        path = tmp_path / f"{template}-{name.replace('_', '-')}.csv"
        assert len(csv_rows(path)) == rows + 1
    pages = PdfReader(tmp_path / f"{template}.pdf").pages
    assert f"Page 1 of {len(pages)}" in pages[0].extract_text()
    rows = sum(expected.values())
    assert (result.counts.requested, result.counts.ok) == (rows, rows)
    by_format = {
        a.name.rsplit(".", 1)[1]: a.rows for a in result.artifacts if a.name[-3:] != "csv"
    }
    assert by_format == {"pdf": rows, "html": rows, "xlsx": rows}


async def test_text_of_the_data_is_never_markup_and_never_a_formula(tmp_path: Path) -> None:
    columns, rows = QUERIES["scrap_by_defect"]
    assert list(columns)[2] == "defect"
    rows = [(HOSTILE, "line-1", HOSTILE, 5), *rows]
    context = FolderContext(tmp_path, sources=plant(scrap_by_defect=rows))
    await report(context, "scrap-pareto", formats=ALL, title=HOSTILE)
    page = Page(tmp_path / "scrap-pareto.html")
    assert "script" not in page.tags
    assert page.texts.count(HOSTILE) >= 3
    book = load_workbook(tmp_path / "scrap-pareto.xlsx")
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    hostile = [cell for cell in cells if cell.value == HOSTILE]
    assert hostile
    assert {cell.data_type for cell in hostile} == {"s"}
    assert csv_rows(tmp_path / "scrap-pareto-scrap-by-defect.csv")[1][2] == f"'{HOSTILE}"
    text = "".join(p.extract_text() for p in PdfReader(tmp_path / "scrap-pareto.pdf").pages)
    assert "<script>" in text.replace("\n", "")


async def test_a_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant())
    await report(context, "oee", format="html", logo="lineshaft.png", locale="de-DE")
    page = Page(tmp_path / "oee.html")
    text = (tmp_path / "oee.html").read_text()
    assert all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not re.search(r"https?:|url\(|@import|<link|<script", text)
    assert '<html lang="de-DE">' in text
    assert "88,8\u00a0%" in text
    assert "svg" in page.tags


async def test_values_in_files_for_programs_are_not_made_nice(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant())
    zone: dict[str, Any] = {"timezone": "Europe/Berlin", "locale": "de-DE"}
    await report(context, "downtime", formats=["xlsx", "csv"], **zone)
    row = csv_rows(tmp_path / "downtime-downtime-events.csv")[3]
    assert row == ["line-2", "lathe-1", "Jam", "2026-11-24T08:00:00+01:00", "", "25"]
    sheet = load_workbook(tmp_path / "downtime.xlsx")["Stops"]
    began, ended, minutes = (sheet.cell(4, column).value for column in (4, 5, 6))
    assert str(began) == "2026-11-24 08:00:00"
    assert ended is None
    assert minutes == 25


async def test_numbers_that_a_spreadsheet_would_round_are_text(tmp_path: Path) -> None:
    rows = [("Gear", "line-1", "Burr", 2**60)]
    context = FolderContext(tmp_path, sources=plant(scrap_by_defect=rows))
    await report(context, "scrap-pareto", format="xlsx")
    sheet = load_workbook(tmp_path / "scrap-pareto.xlsx")["Scrap by product, line and defect"[:31]]
    assert sheet.cell(2, 4).value == str(2**60)


async def test_text_that_a_cell_cannot_hold_fails_the_job_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    rows = [("Gear", "x" * 32_768, "Burr", 1)]
    context = FolderContext(tmp_path, sources=plant(scrap_by_defect=rows))
    with pytest.raises(PermanentError) as raised:
        await report(context, "scrap-pareto", formats=["xlsx", "csv", "html"])
    assert raised.value.code == "value_unfit"
    assert names_in(tmp_path) == []


async def test_a_report_that_is_cancelled_between_tables_leaves_nothing(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(), cancel_after=1)
    with pytest.raises(JobStoppedError):
        await report(context, "downtime", formats=ALL)
    assert names_in(tmp_path) == []


async def test_html_repeats_nothing_of_a_long_table(tmp_path: Path) -> None:
    rows = [(f"Part-{n:05d}", "line-1", "Burr", 1) for n in range(3_000)]
    context = FolderContext(tmp_path, sources=plant(scrap_by_defect=rows))
    await report(context, "scrap-pareto", formats=["html", "csv"])
    text = (tmp_path / "scrap-pareto.html").read_text()
    assert len(set(re.findall(r"<td>(Part-\d{5})</td>", text))) == 3_000
    assert Page(tmp_path / "scrap-pareto.html").rows["scrap_by_defect"] == 3_000
