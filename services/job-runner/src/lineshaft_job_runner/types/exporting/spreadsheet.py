"""XLSX files: rows go to disk one by one, so that memory does not grow with them."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter
from lineshaft_contracts.job_types import ExportParameters
from xlsxwriter.workbook import Workbook

from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.types.exporting.cells import (
    Write,
    moments,
    write_boolean,
    write_number,
    write_row,
    write_text,
)

COLUMNS_MAX = 16_384
WINDOW_ROWS = 20_000
SHEET = "xl/worksheets/sheet1.xml"
BLOCK_BYTES = 1024**2


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
            write_row(sheet, number, row, cells, plain)


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


def _writer(kind: ColumnType, book: Workbook, parameters: ExportParameters) -> Write:
    match kind:
        case ColumnType.BOOLEAN:
            return write_boolean
        case ColumnType.INTEGER | ColumnType.DECIMAL | ColumnType.DOUBLE:
            return write_number
        case ColumnType.DATE:
            return moments(book.add_format({"num_format": "yyyy-mm-dd"}))
        case ColumnType.TIMESTAMP if parameters.timestamps == "local":
            return moments(book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}))
        case _:
            return write_text


def _width(label: str, kind: ColumnType) -> int:
    """Return a width in characters that shows most values whole."""
    least = {ColumnType.TIMESTAMP: 26, ColumnType.DATE: 11, ColumnType.TEXT: 16}.get(kind, 10)
    return min(60, max(least, len(label) + 2))
