"""Rows of a source as text, however they came: what normalizing starts from."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, cast

import polars as pl
from lineshaft_contracts.inventory_sources import StockColumns

from lineshaft_job_runner.job_type import PermanentError

STATED = (
    "item",
    "location",
    "quantity",
    "reserved",
    "uom",
    "changed_at",
    "counted_at",
    "cursor_at",
)
"""Columns of a source's rows: text or NULL, and instants where the source has types."""
TIMES = ("changed_at", "counted_at", "cursor_at")
TEXT_MAX = 1_000
DIGITS_MAX = 40


def spelled(columns: StockColumns, cursor: str | None = None) -> dict[str, str]:
    """Map our names to those of the source, of the columns that it has."""
    names = columns.model_dump(include=set(STATED), exclude_none=True)
    return names if cursor is None else {**names, "cursor_at": cursor}


def from_table(table: pl.DataFrame, columns: StockColumns, cursor: str | None) -> pl.DataFrame:
    """Choose and name the columns of a table; raises PermanentError when it lacks one."""
    names = spelled(columns, cursor)
    missing = sorted({theirs for theirs in names.values() if theirs not in table.columns})
    if missing:
        raise PermanentError(
            "column_missing",
            f"the source has no column {', '.join(missing)}; it has: {', '.join(table.columns)}",
        )
    return _complete(table.select(**{ours: pl.col(theirs) for ours, theirs in names.items()}))


def from_records(
    records: Iterable[Mapping[str, Any]], columns: StockColumns, cursor: str | None
) -> pl.DataFrame:
    """Take fields out of JSON objects; one that an object lacks is NULL."""
    paths = spelled(columns, cursor)
    values: dict[str, list[str | None]] = {ours: [] for ours in paths}
    for record in records:
        for ours, theirs in paths.items():
            values[ours].append(_text(field(record, theirs)))
    return _complete(pl.DataFrame(values, schema=dict.fromkeys(paths, pl.String)))


def nothing_stated() -> pl.DataFrame:
    """Give a source without rows."""
    return pl.DataFrame(schema=dict.fromkeys(STATED, pl.String))


def _complete(frame: pl.DataFrame) -> pl.DataFrame:
    missing = [pl.lit(None, dtype=pl.String).alias(n) for n in STATED if n not in frame.columns]
    frame = frame.with_columns(missing).select(STATED)
    return frame.with_columns(
        # An empty field and no field are the same to whoever wrote a file.
        pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)).name.keep()
    )


def field(record: object, path: str) -> Any:
    """Return the value of a field, or of one within others whose names are joined by dots."""
    whole = _fields(record)
    if path in whole:
        return whole[path]
    for name in path.split("."):
        record = _fields(record).get(name)
    return record


def _fields(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        # Half of a surrogate pair is JSON, but no text.
        return value[:TEXT_MAX].encode("utf-8", "replace").decode()
    if isinstance(value, Decimal) and abs(value.adjusted()) < DIGITS_MAX:
        return f"{value:f}"
    return str(value)[:TEXT_MAX]
