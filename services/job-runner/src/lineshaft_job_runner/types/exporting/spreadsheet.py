"""XLSX files: rows go to disk one by one, so that memory does not grow with them."""

import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter
from lineshaft_contracts.job_types import ExportParameters
from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from lineshaft_job_runner.job_type import ColumnType, PermanentError

ROWS_MAX = 1_048_575
"""Of a sheet, below its header (Microsoft, Excel specifications and limits)."""
COLUMNS_MAX = 16_384
TEXT_MAX = 32_767
FIRST_DAY = date(1900, 3, 1)
"""Spreadsheets count days from 1900, which they take for a leap year."""
WINDOW_ROWS = 20_000
SHEET = "xl/worksheets/sheet1.xml"
BLOCK_BYTES = 1024**2

Write = Callable[[Worksheet, int, int, Any], int]


def write(
    frame: pl.LazyFrame,
    path: Path,
    kinds: Mapping[str, ColumnType],
    parameters: ExportParameters,
) -> None:
    """Write a sheet with the labels as first line; raises PermanentError at a cell too long.

    `kinds` are the types by label. Text is stored as text: nothing of it is ever calculated.
    """
    options = {"constant_memory": True, "tmpdir": str(path.parent), "strings_to_formulas": False}
    book = xlsxwriter.Workbook(str(path), options)
    with book:
        sheet = book.add_worksheet(parameters.file_name[:31])
        plain, bold = book.add_format(), book.add_format({"bold": True})
        cells = [(label, _writer(kind, book, parameters)) for label, kind in kinds.items()]
        for column, (label, kind) in enumerate(kinds.items()):
            sheet.set_column(column, column, _width(label, kind))
        sheet.freeze_panes(1, 0)
        for column, label in enumerate(kinds):
            sheet.write_string(0, column, label, bold)
        for number, row in enumerate(_rows(frame), start=1):
            _write_row(sheet, number, row, cells, plain)


def count(path: Path) -> int:
    """Count the rows below the header that a reader finds."""
    found, before = 0, b""
    with zipfile.ZipFile(path) as archive, archive.open(SHEET) as sheet:
        while block := sheet.read(BLOCK_BYTES):
            found += (before + block).count(b"<row ")
            before = (before + block)[-4:]  # One less than what is looked for.
    return found - 1


def _rows(frame: pl.LazyFrame) -> Iterator[tuple[Any, ...]]:
    offset = 0
    while (window := frame.slice(offset, WINDOW_ROWS).collect()).height:
        yield from window.iter_rows()
        offset += window.height


def _write_row(
    sheet: Worksheet,
    number: int,
    row: tuple[Any, ...],
    cells: Sequence[tuple[str, Write]],
    plain: Format,
) -> None:
    is_empty = True
    for column, (value, (label, write)) in enumerate(zip(row, cells, strict=True)):
        if value is None:
            continue
        is_empty = False
        # It says by a number that it left a cell out, or cut its text.
        if write(sheet, number, column, value) != 0:
            raise PermanentError(
                "value_unfit",
                f"row {number}, column {label!r} does not fit a spreadsheet: a text has "
                f"at most {TEXT_MAX} characters; leave the column out, or take csv or parquet",
            )
    if is_empty:
        sheet.write_blank(number, 0, None, plain)  # A row without a cell is not in the file.


def _writer(kind: ColumnType, book: Workbook, parameters: ExportParameters) -> Write:
    match kind:
        case ColumnType.BOOLEAN:
            return _write_boolean
        case ColumnType.INTEGER | ColumnType.DECIMAL | ColumnType.DOUBLE:
            return _write_number
        case ColumnType.DATE:
            return _moments(book.add_format({"num_format": "yyyy-mm-dd"}))
        case ColumnType.TIMESTAMP if parameters.timestamps == "local":
            return _moments(book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}))
        case _:
            return _write_text


def _write_boolean(sheet: Worksheet, row: int, column: int, value: Any) -> int:
    return sheet.write_boolean(row, column, value)


def _write_text(sheet: Worksheet, row: int, column: int, value: Any) -> int:
    return sheet.write_string(row, column, value)


def _write_number(sheet: Worksheet, row: int, column: int, value: Any) -> int:
    """Write a number; one with too many digits was made text before."""
    if isinstance(value, str):
        return sheet.write_string(row, column, value)
    return sheet.write_number(row, column, value)


def _moments(form: Format) -> Write:
    def write_moment(sheet: Worksheet, row: int, column: int, value: Any) -> int:
        day = value.date() if isinstance(value, datetime) else value
        if day < FIRST_DAY:
            return sheet.write_string(row, column, value.isoformat())
        return sheet.write_datetime(row, column, value, form)

    return write_moment


def _width(label: str, kind: ColumnType) -> int:
    """Return a width in characters that shows most values whole."""
    least = {ColumnType.TIMESTAMP: 26, ColumnType.DATE: 11, ColumnType.TEXT: 16}.get(kind, 10)
    return min(60, max(least, len(label) + 2))
