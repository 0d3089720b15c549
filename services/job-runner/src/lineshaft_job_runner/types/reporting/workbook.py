"""XLSX: a sheet with figures and charts, and one for each table, with values to calculate with."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from lineshaft_job_runner.types.exporting.cells import (
    Write,
    moments,
    write_number,
    write_row,
    write_text,
)
from lineshaft_job_runner.types.reporting import style
from lineshaft_job_runner.types.reporting.document import Column, Document, Form, Row, Table
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.workbook_charts import write_charts

NUMBER_FORMATS: Mapping[Form, str] = {
    Form.COUNT: "#,##0",
    Form.AMOUNT: "#,##0.0",
    Form.INDEX: "0.00",
    Form.MEASURE: "General",
    Form.RATIO: "0.0%",
    Form.MOMENT: "yyyy-mm-dd hh:mm",
}
LOGO_PIXELS = 54
DIGITS_MAX = 10**15 - 1
"""A spreadsheet keeps fifteen digits: longer integers are written as text."""
WIDTHS = {Form.TEXT: 20, Form.MOMENT: 17}


class WorkbookRenderer:
    """Writes one XLSX file; rows go to disk one by one."""

    def __init__(
        self, path: Path, document: Document, numerals: Numerals, logo: Path | None
    ) -> None:
        options = {
            "constant_memory": True,
            "tmpdir": str(path.parent),
            "strings_to_formulas": False,
        }
        self._numerals = numerals
        self._book = xlsxwriter.Workbook(str(path), options)
        self._book.set_properties({"title": document.title, "subject": document.subtitle})
        head = {"bold": True, "bg_color": style.SOFT, "text_wrap": True, "valign": "bottom"}
        self._head = self._book.add_format(head)
        self._plain = self._book.add_format()
        self._writes = {form: self._writer(form) for form in Form}
        self.rows = 0
        self._closed = False
        self._begin_summary(document, logo)

    def begin(self, table: Table) -> None:
        """See `Renderer.begin`."""
        self._sheet = self._book.add_worksheet(table.title[:31])
        self._cells = [(column.title, self._writes[column.form]) for column in table.columns]
        for number, column in enumerate(table.columns):
            self._sheet.set_column(number, number, _width(column))
        self._sheet.freeze_panes(1, 0)
        last = max(table.rows_expected, 1)
        self._sheet.autofilter(0, 0, last, len(table.columns) - 1)
        _for_paper(self._sheet)
        self._sheet.repeat_rows(0)
        for number, column in enumerate(table.columns):
            self._sheet.write_string(0, number, column.title, self._head)
        self.rows = 0

    def add(self, rows: Sequence[Row]) -> None:
        """See `Renderer.add`."""
        for row in rows:
            write_row(self._sheet, self.rows + 1, row, self._cells, self._plain)
            self.rows += 1

    def close(self) -> None:
        """See `Renderer.close`."""
        self._closed = True
        self._book.close()

    def abandon(self) -> None:
        """See `Renderer.abandon`."""
        if not self._closed:
            # The only way to make the library remove the rows that it put aside.
            self._book.close()

    def warnings(self) -> Sequence[str]:
        """Say what a spreadsheet does not know."""
        return ()

    def _begin_summary(self, document: Document, logo: Path | None) -> None:
        sheet = self._book.add_worksheet("Summary")
        sheet.hide_gridlines(2)
        sheet.set_column(0, 0, 30)
        sheet.set_column(1, 6, 14)
        _for_paper(sheet)
        title = {"bold": True, "font_size": 16, "font_color": style.ACCENT}
        if logo is not None:
            sheet.insert_image(0, 6, str(logo), _scaled(logo))
        sheet.write_string(0, 0, document.title, self._book.add_format(title))
        sheet.write_string(1, 0, document.subtitle)
        sheet.write_string(2, 0, document.footer)
        line = 4
        for note in document.notes:
            sheet.write_string(line, 0, note, self._book.add_format({"bold": True}))
            line += 1
        for figure in document.figures:
            sheet.write_string(line, 0, figure.title)
            if figure.value is not None:
                self._writes[figure.form](sheet, line, 1, figure.value)
            line += 1
        write_charts(self._book, sheet, document.charts, line + 1, self._head)

    def _writer(self, form: Form) -> Write:
        if form is Form.TEXT:
            return write_text
        style = self._book.add_format({"num_format": NUMBER_FORMATS[form]})
        if form is Form.MOMENT:
            write = moments(style)

            def write_local(sheet: Worksheet, row: int, column: int, value: datetime) -> int:
                return write(sheet, row, column, self._numerals.local(value))

            return write_local

        def write_styled(sheet: Worksheet, row: int, column: int, value: Any) -> int:
            if not math.isfinite(value) or abs(value) > DIGITS_MAX:
                return write_number(sheet, row, column, str(value))
            return sheet.write_number(row, column, value, style)

        return write_styled


def _width(column: Column) -> int:
    """Return a width in characters that shows most values whole."""
    return max(WIDTHS.get(column.form, 11), len(column.title) + 2)


def _scaled(picture: Path) -> dict[str, Any]:
    """Make a picture as high as the title; its height in pixels is in the head of a PNG."""
    height = int.from_bytes(picture.read_bytes()[20:24], "big")
    scale = LOGO_PIXELS / max(height, 1)
    return {"x_scale": scale, "y_scale": scale}


def _for_paper(sheet: Worksheet) -> None:
    sheet.set_paper(9)  # A4.
    sheet.fit_to_pages(1, 0)
    sheet.set_footer("&RPage &P of &N")
