"""Rows between their source and the files: on disk, so that memory does not grow with them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from lineshaft_contracts.job_types import NonFinite

from lineshaft_job_runner.job_type import ColumnType, PermanentError
from lineshaft_job_runner.types.input_digest import InputDigest

COPIED_TYPES: Mapping[ColumnType, Any] = {
    ColumnType.TEXT: pl.String,
    ColumnType.INTEGER: pl.Int64,
    # Exact digits as text; only Parquet has a type for them, and its scale is known at the end.
    ColumnType.DECIMAL: pl.String,
    ColumnType.DOUBLE: pl.Float64,
    ColumnType.TIMESTAMP: pl.Int64,
    ColumnType.DATE: pl.Int32,
    ColumnType.BOOLEAN: pl.Int8,
}
"""How the source copies each type; see `Source.copy`."""
KEPT_TYPES: Mapping[ColumnType, Any] = {
    **COPIED_TYPES,
    ColumnType.TIMESTAMP: pl.Datetime("us", "UTC"),
    ColumnType.DATE: pl.Date,
    ColumnType.BOOLEAN: pl.Boolean,
}
NOT_A_NUMBER = "N|I"
"""In decimal text: NaN, Infinity, -Infinity."""


class Spool:
    """Typed rows in Arrow files, and what has to be known about all of them."""

    def __init__(
        self,
        folder: Path,
        columns: Mapping[str, ColumnType],
        *,
        non_finite: NonFinite,
        digest: InputDigest,
    ) -> None:
        self.columns = columns
        self.rows = 0
        self.scales = dict.fromkeys(_of_kind(columns, ColumnType.DECIMAL), 0)
        """Most decimals in each decimal column."""
        self.digits = dict.fromkeys(self.scales, 0)
        """Most digits in each decimal column."""
        self.largest = dict.fromkeys(_of_kind(columns, ColumnType.INTEGER), 0)
        """Largest magnitude in each integer column."""
        self._folder = folder
        self._files: list[Path] = []
        self._non_finite = non_finite
        self._digest = digest

    def add(self, content: bytes) -> None:
        """Take whole rows as the source copies them; raises PermanentError by the policy."""
        self._digest.add_bytes(content)
        frame = pl.read_csv(
            content,
            has_header=False,
            schema={name: COPIED_TYPES[kind] for name, kind in self.columns.items()},
        ).select(pl.col(name).cast(KEPT_TYPES[kind]) for name, kind in self.columns.items())
        self._learn(frame)
        path = self._folder / f"{len(self._files):06d}.arrow"
        frame.write_ipc(path, compression="lz4")
        self._files.append(path)
        self.rows += frame.height

    def slice(self, offset: int, length: int) -> pl.LazyFrame:
        """Return some rows, in order."""
        if not self._files:
            return pl.LazyFrame(
                schema={name: KEPT_TYPES[kind] for name, kind in self.columns.items()}
            )
        return pl.scan_ipc(self._files, glob=False).slice(offset, length)

    def _learn(self, frame: pl.DataFrame) -> None:
        facts = frame.select(_facts(self.columns)).row(0, named=True)
        for name in self.scales:
            self.scales[name] = max(self.scales[name], facts[f"scale {name}"] or 0)
            self.digits[name] = max(self.digits[name], facts[f"digits {name}"] or 0)
        for name in self.largest:
            extremes = (abs(facts[f"{end} {name}"] or 0) for end in ("least", "most"))
            self.largest[name] = max(self.largest[name], *extremes)
        for name in self.columns:
            if facts.get(f"bad {name}") and self._non_finite is NonFinite.FAIL:
                raise PermanentError(
                    "non_finite_number",
                    f"column {name!r} holds NaN or infinity: set non_finite to null or keep, or "
                    "leave the column out",
                )


def non_finite(name: str, kind: ColumnType) -> pl.Expr:
    """Return whether a number of this column is NaN or infinite."""
    column = pl.col(name)
    if kind is ColumnType.DECIMAL:
        return column.str.contains(NOT_A_NUMBER)
    return ~column.is_finite()


def _facts(columns: Mapping[str, ColumnType]) -> list[pl.Expr]:
    wanted: list[pl.Expr] = [pl.len().alias("rows")]
    for name, kind in columns.items():
        column = pl.col(name)
        match kind:
            case ColumnType.INTEGER:
                wanted += [column.min().alias(f"least {name}"), column.max().alias(f"most {name}")]
            case ColumnType.DECIMAL:
                digits = column.str.len_bytes().cast(pl.Int64) - 1
                point = column.str.find(".", literal=True).cast(pl.Int64)
                figures = column.str.strip_chars_start("-0.").str.count_matches(r"\d")
                wanted.append(figures.max().alias(f"digits {name}"))
                wanted.append((digits - point).max().alias(f"scale {name}"))
                wanted.append(non_finite(name, kind).any().alias(f"bad {name}"))
            case ColumnType.DOUBLE:
                wanted.append(non_finite(name, kind).any().alias(f"bad {name}"))
            case _:
                pass
    return wanted


def _of_kind(columns: Mapping[str, ColumnType], kind: ColumnType) -> list[str]:
    return [name for name, its_kind in columns.items() if its_kind is kind]
