"""Rows on their way from a source to files: Arrow on disk, so that memory does not grow."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from lineshaft_contracts.job_types import NonFinite

from lineshaft_job_runner.job_type import ColumnType, PermanentError
from lineshaft_job_runner.types.input_digest import InputDigest

SPOOL_ROWS = 50_000
"""Rows of one file of the spool; about what is in memory at a time."""

POLARS_TYPES: Mapping[ColumnType, Any] = {
    ColumnType.TEXT: pl.String,
    ColumnType.INTEGER: pl.Int64,
    # Exact digits as text; only Parquet has a type for them, and its scale is known at the end.
    ColumnType.DECIMAL: pl.String,
    ColumnType.DOUBLE: pl.Float64,
    ColumnType.TIMESTAMP: pl.Datetime("us", "UTC"),
    ColumnType.DATE: pl.Date,
    ColumnType.BOOLEAN: pl.Boolean,
}


class Spool:
    """Collects rows; `parts` has the Arrow files of each file to be written."""

    def __init__(
        self,
        folder: Path,
        columns: Mapping[str, ColumnType],
        *,
        rows_per_file: int | None,
        non_finite: NonFinite,
        digest: InputDigest,
    ) -> None:
        self.columns = columns
        self.schema = {name: POLARS_TYPES[kind] for name, kind in columns.items()}
        self.parts: list[list[Path]] = [[]]
        self.rows = 0
        self.scales = dict.fromkeys(
            (name for name, kind in columns.items() if kind is ColumnType.DECIMAL), 0
        )
        """Most decimals seen in each decimal column."""
        self.largest = dict.fromkeys(
            (name for name, kind in columns.items() if kind is ColumnType.INTEGER), 0
        )
        """Largest magnitude seen in each integer column."""
        self._folder = folder
        self._rows_per_file = rows_per_file
        self._non_finite = non_finite
        self._digest = digest
        self._pending: list[pl.DataFrame] = []
        self._pending_rows = 0
        self._part_rows = 0

    def add(self, batch: Sequence[Sequence[Any]]) -> None:
        """Take rows with their values in the order of the columns."""
        values = list(zip(*batch, strict=True))
        frame = pl.DataFrame(
            [
                self._series(name, kind, column)
                for (name, kind), column in zip(self.columns.items(), values, strict=True)
            ]
        )
        self._digest.add_bytes(frame.hash_rows().to_numpy().tobytes())
        self.rows += len(batch)
        while frame.height:
            room = self._room()
            self._pending.append(frame.head(room))
            self._pending_rows += self._pending[-1].height
            frame = frame.slice(room)
            if self._room() == 0:
                self.flush()

    def flush(self) -> None:
        """Write what is in memory to the spool."""
        if not self._pending_rows:
            return
        if self._part_rows == self._rows_per_file:
            self.parts.append([])
            self._part_rows = 0
        path = self._folder / f"{len(self.parts):06d}-{len(self.parts[-1]):06d}.arrow"
        pl.concat(self._pending).write_ipc(path, compression="lz4")
        self.parts[-1].append(path)
        self._part_rows += self._pending_rows
        self._pending, self._pending_rows = [], 0

    def _room(self) -> int:
        """Rows that still fit into the file of the spool that is being filled."""
        size = SPOOL_ROWS
        if self._rows_per_file is not None:
            filled = self._part_rows % self._rows_per_file
            size = min(size, self._rows_per_file - filled)
        return size - self._pending_rows

    def _series(self, name: str, kind: ColumnType, values: Sequence[Any]) -> pl.Series:
        if kind is ColumnType.DECIMAL:
            values = [self._exact(name, value) for value in values]
        series = pl.Series(name, values, dtype=self.schema[name])
        if kind is ColumnType.INTEGER:
            extremes = (series.min(), series.max())
            known = [abs(value) for value in extremes if isinstance(value, int)]
            self.largest[name] = max(self.largest[name], *known, 0)
        if kind is ColumnType.DOUBLE and not series.is_finite().all():
            self._refuse_non_finite(name)
        return series

    def _exact(self, name: str, value: Decimal | None) -> str | None:
        if value is None:
            return None
        if not value.is_finite():
            self._refuse_non_finite(name)
            return str(value) if self._non_finite is NonFinite.KEEP else None
        text = f"{value:f}"
        scale = len(text.partition(".")[2])
        self.scales[name] = max(self.scales[name], scale)
        return text

    def _refuse_non_finite(self, name: str) -> None:
        if self._non_finite is NonFinite.FAIL:
            raise PermanentError(
                "non_finite_number",
                f"column {name!r} holds NaN or infinity: set non_finite to null or keep, or leave "
                "the column out",
            )
