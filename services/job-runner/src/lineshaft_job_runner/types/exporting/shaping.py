"""What each column becomes in each format."""

from collections.abc import Sequence

import polars as pl
from lineshaft_contracts.job_types import ExportFormat, ExportParameters, NonFinite

from lineshaft_job_runner.job_type import ColumnType, PermanentError
from lineshaft_job_runner.types.exporting.formulas import PATTERN, disarmed
from lineshaft_job_runner.types.exporting.spool import Spool, non_finite

SAFE_INTEGERS = {ExportFormat.NDJSON: 2**53, ExportFormat.XLSX: 10**15 - 1}
"""JavaScript and most readers of JSON hold integers as doubles; a spreadsheet, 15 digits."""
SPREADSHEET_DIGITS = 15
DECIMAL_DIGITS = 38
ISO_8601 = "%Y-%m-%dT%H:%M:%S%.f%:z"


def shape(
    spool: Spool, frame: pl.LazyFrame, labels: Sequence[str], parameters: ExportParameters
) -> pl.LazyFrame:
    """Return rows of the spool under their labels, as the format wants them."""
    shaper = _Shaper(spool, parameters)
    return frame.select(
        shaper.column(name, kind).alias(label)
        for (name, kind), label in zip(spool.columns.items(), labels, strict=True)
    )


def labels_of(spool: Spool, parameters: ExportParameters) -> list[str]:
    """Return the header; a label is text too, so it is sanitised as well."""
    names = {column.name: column.label or column.name for column in parameters.columns}
    labels = [names.get(name, name) for name in spool.columns]
    if parameters.format is ExportFormat.CSV and parameters.sanitize_formulas:
        return [disarmed(label) for label in labels]
    return labels


class _Shaper:
    def __init__(self, spool: Spool, parameters: ExportParameters) -> None:
        self._spool = spool
        self._parameters = parameters
        self._format = parameters.format

    def column(self, name: str, kind: ColumnType) -> pl.Expr:
        """Return the expression of one column."""
        column = pl.col(name)
        numeric = kind in {ColumnType.DOUBLE, ColumnType.DECIMAL}
        if numeric and self._parameters.non_finite is NonFinite.NULL:
            column = pl.when(~non_finite(name, kind)).then(column)
        match kind:
            case ColumnType.TEXT:
                return self._text(column)
            case ColumnType.DECIMAL:
                return self._decimal(column, name)
            case ColumnType.TIMESTAMP:
                return self._timestamp(column)
            case ColumnType.INTEGER:
                return self._integer(column, name)
            case _:
                return column

    def _timestamp(self, column: pl.Expr) -> pl.Expr:
        local = column.dt.convert_time_zone(self._parameters.timezone)
        if self._format is ExportFormat.PARQUET:
            return local
        if self._format is ExportFormat.XLSX and self._parameters.timestamps == "local":
            return local.dt.replace_time_zone(None)
        return local.dt.strftime(ISO_8601)

    def _text(self, column: pl.Expr) -> pl.Expr:
        if self._format is not ExportFormat.CSV or not self._parameters.sanitize_formulas:
            return column
        quoted = pl.concat_str(pl.lit("'"), column)
        return pl.when(column.str.contains(PATTERN)).then(quoted).otherwise(column)

    def _decimal(self, column: pl.Expr, name: str) -> pl.Expr:
        if self._format is ExportFormat.PARQUET:
            return column.cast(pl.Decimal(DECIMAL_DIGITS, self._spool.scales[name]))
        if self._format is ExportFormat.XLSX and self._spool.digits[name] <= SPREADSHEET_DIGITS:
            return column.cast(pl.Float64)
        if self._format is ExportFormat.CSV and self._parameters.decimal_sign == ",":
            return column.str.replace(".", ",", literal=True)
        return column

    def _integer(self, column: pl.Expr, name: str) -> pl.Expr:
        policy = self._parameters.large_integers
        safe = SAFE_INTEGERS.get(self._format)
        if safe is None or self._spool.largest[name] <= safe or policy == "number":
            return column
        if policy == "fail":
            raise PermanentError(
                "integer_too_large",
                f"column {name!r} has integers beyond {safe}, which readers of {self._format} "
                "round: set large_integers to text or number",
            )
        return column.cast(pl.String)
