"""Parameters and results of the job types that come with the platform."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lineshaft_contracts.inventory_sync import InventorySyncParameters, InventorySyncResult
from lineshaft_contracts.job_parameters import (
    FileStem,
    JobParameters,
    JobResult,
    Name,
    SourceQuery,
)
from lineshaft_contracts.quality_analysis import QualityParameters, QualityResult
from lineshaft_contracts.reports import ReportParameters, ReportResult
from lineshaft_contracts.scheduling import ScheduleParameters, ScheduleResult


class ExportFormat(StrEnum):
    """Kind of file."""

    CSV = "csv"
    XLSX = "xlsx"
    PARQUET = "parquet"
    NDJSON = "ndjson"


class Compression(StrEnum):
    """How the file is packed: whole (CSV, NDJSON) or by page inside (Parquet); not XLSX."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class NonFinite(StrEnum):
    """What becomes of NaN and the infinities, which are no numbers in most formats."""

    FAIL = "fail"
    NULL = "null"
    KEEP = "keep"


_WITHOUT_NAN = frozenset({ExportFormat.NDJSON, ExportFormat.XLSX})


class ExportColumn(BaseModel):
    """A column to write, under the name that its reader knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Name
    """As the saved query names it."""
    label: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """Header in the file; the name when absent."""


class ExportParameters(JobParameters, SourceQuery):
    """Write every row of a saved query to files for other programs."""

    format: ExportFormat = ExportFormat.CSV
    compression: Compression = Compression.NONE
    columns: Annotated[tuple[ExportColumn, ...], Field(max_length=256)] = ()
    """Which columns, in this order; empty for all."""
    file_name: FileStem = "export"
    """Name of the artifact without number and suffix."""
    rows_per_file: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """Split after so many rows; None for one file. XLSX holds at most 1,048,575."""
    timestamps: Literal["iso", "local"] = "iso"
    """XLSX only: text with the offset of the zone, or dates to calculate with, without it."""
    delimiter: Literal[",", ";", "\t", "|"] = ","
    """CSV only."""
    decimal_sign: Literal[".", ","] = "."
    """CSV only; a comma needs another delimiter."""
    byte_order_mark: bool = False
    """CSV only: start with U+FEFF, by which spreadsheets know UTF-8."""
    header: bool = True
    """CSV only: write the labels as first line."""
    sanitize_formulas: bool = True
    """CSV only: put ' before TEXT that starts with = + - @ tab or return; numbers stay numbers."""
    non_finite: NonFinite = NonFinite.FAIL
    """NaN and infinities; NDJSON and XLSX cannot keep them."""
    large_integers: Literal["number", "text", "fail"] = "text"
    """NDJSON, XLSX: integers that readers round (2^53, 15 digits); text changes their column."""

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        if self.decimal_sign == self.delimiter:
            raise ValueError("decimal_sign and delimiter must differ; use delimiter ';'")
        if self.non_finite is NonFinite.KEEP and self.format in _WITHOUT_NAN:
            raise ValueError(
                f"{self.format} has no NaN or infinity: set non_finite to fail or null"
            )
        if self.format is ExportFormat.XLSX and self.compression is not Compression.NONE:
            raise ValueError("an XLSX file is packed already: leave compression out")
        labels = [column.label or column.name for column in self.columns]
        if len(set(labels)) != len(labels):
            raise ValueError("columns must have different labels")
        return self


class ExportResult(JobResult):
    """Files that hold exactly the rows that the source counted."""

    rows_expected: int
    """Counted by the data source in the same snapshot."""
    rows_written: int
    """Counted in the finished files."""
    columns: tuple[str, ...]
    """Labels in order."""


BUILT_IN: Mapping[str, tuple[type[BaseModel], type[BaseModel]]] = MappingProxyType(
    {
        "report.generate": (ReportParameters, ReportResult),
        "data.export": (ExportParameters, ExportResult),
        "inventory.sync": (InventorySyncParameters, InventorySyncResult),
        "production.schedule": (ScheduleParameters, ScheduleResult),
        "quality.analyze": (QualityParameters, QualityResult),
    }
)
"""(parameters, result) of each built-in job type by its name."""
