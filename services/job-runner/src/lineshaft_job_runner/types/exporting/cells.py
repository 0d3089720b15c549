"""Cells of a spreadsheet: rows of values, each as what it is, and nothing cut."""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from lineshaft_job_runner.job_type import PermanentError

ROWS_MAX = 1_048_575
"""Of a sheet, below its header (Microsoft, Excel specifications and limits)."""
TEXT_MAX = 32_767
FIRST_DAY = date(1900, 3, 1)
"""Spreadsheets count days from 1900, which they take for a leap year."""

Write = Callable[[Worksheet, int, int, Any], int]


def write_row(
    sheet: Worksheet,
    number: int,
    row: tuple[Any, ...],
    cells: Sequence[tuple[str, Write]],
    plain: Format,
) -> None:
    """Write a row; raises PermanentError when a cell does not take its value.

    `cells` are label and writer of each column; `plain` is for a row without any value.
    """
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
                f"at most {TEXT_MAX} characters; leave the column out, or take another format",
            )
    if is_empty:
        sheet.write_blank(number, 0, None, plain)  # A row without a cell is not in the file.


def write_boolean(sheet: Worksheet, row: int, column: int, value: Any) -> int:
    """Write true or false."""
    return sheet.write_boolean(row, column, value)


def write_text(sheet: Worksheet, row: int, column: int, value: Any) -> int:
    """Write text, which is never calculated."""
    return sheet.write_string(row, column, value)


def write_number(sheet: Worksheet, row: int, column: int, value: Any) -> int:
    """Write a number; one with too many digits was made text before."""
    if isinstance(value, str):
        return sheet.write_string(row, column, value)
    return sheet.write_number(row, column, value)


def moments(form: Format) -> Write:
    """Return what writes dates and local times in a format; those before 1900 are text."""

    def write_moment(sheet: Worksheet, row: int, column: int, value: Any) -> int:
        day = value.date() if isinstance(value, datetime) else value
        if day < FIRST_DAY:
            return sheet.write_string(row, column, value.isoformat())
        return sheet.write_datetime(row, column, value, form)

    return write_moment
