"""CSV: one table for other programs, with its values as they are."""

import csv
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from lineshaft_job_runner.types.exporting.formulas import disarmed
from lineshaft_job_runner.types.reporting.document import Column, Form, Row, Table
from lineshaft_job_runner.types.reporting.numerals import Numerals


class CsvRenderer:
    """Writes one table in UTF-8, as RFC 4180 has it, with the names of the columns on top.

    Text that a spreadsheet would calculate is disarmed; instants have the offset of their zone.
    """

    def __init__(self, path: Path, numerals: Numerals) -> None:
        self._numerals = numerals
        self.rows = 0
        # Open for as long as rows come; see `close` and `abandon`.
        self._file = path.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file)

    def begin(self, table: Table) -> None:
        """See `Renderer.begin`."""
        self._writers = [self._writer(column) for column in table.columns]
        self._csv.writerow([column.name for column in table.columns])

    def add(self, rows: Sequence[Row]) -> None:
        """See `Renderer.add`."""
        self._csv.writerows(
            [
                "" if value is None else write(value)
                for write, value in zip(self._writers, row, strict=True)
            ]
            for row in rows
        )
        self.rows += len(rows)

    def close(self) -> None:
        """See `Renderer.close`."""
        self._file.close()

    def abandon(self) -> None:
        """See `Renderer.abandon`."""
        self._file.close()

    def warnings(self) -> Sequence[str]:
        """Everything is written as it is."""
        return ()

    def _writer(self, column: Column) -> Callable[[Any], str]:
        match column.form:
            case Form.TEXT:
                return disarmed
            case Form.MOMENT:
                return self._moment
            case _:
                return _number

    def _moment(self, value: datetime) -> str:
        return self._numerals.zoned_iso(value)


def _number(value: Decimal | float) -> str:
    # Exact numbers never in the notation with an exponent, which not every program reads.
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
