"""Parameters and results of the job types that come with the platform."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lineshaft_contracts.envelope import Moment, Value
from lineshaft_contracts.inventory_sync import InventorySyncParameters, InventorySyncResult
from lineshaft_contracts.job_parameters import (
    FileStem,
    JobParameters,
    JobResult,
    Name,
    SourceQuery,
    Title,
)
from lineshaft_contracts.scheduling import ScheduleParameters, ScheduleResult
from lineshaft_contracts.spc import AnalysisParameters, AnalysisResult


class ReportParameters(JobParameters):
    """Make a document for people from the rows of a data source."""

    template: Literal["shift-report"] = "shift-report"
    source: Name
    """Data source with the queries shift_production, shift_downtime and shift_hourly."""
    shift_start: Moment
    """First instant of the shift."""
    shift_end: Moment
    """First instant after the shift; at most 31 days later."""
    title: Title = "Shift report"
    """Headline of the first page and the document's title."""
    file_name: FileStem = "shift-report"
    """Name of the artifact without its suffix."""
    logo: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] | None = None
    """A packed picture; the job fails when it does not exist."""

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        seconds = (self.shift_end - self.shift_start).total_seconds()
        if not 0 < seconds <= 31 * 86_400:
            raise ValueError("shift_end must be after shift_start, by 31 days at most")
        return self


class RenderedTable(Value):
    """A table of the report; both numbers are equal, or the job fails."""

    name: str
    rows_expected: int
    """Counted by the data source in the same snapshot."""
    rows_rendered: int


class ShiftFigures(Value):
    """The key figures of the shift."""

    orders: int
    """Rows of production."""
    good: int
    """Pieces."""
    scrap: int
    """Pieces."""
    rework: int
    """Pieces."""
    quality_ratio: float | None
    """good / (good + scrap + rework), 0 to 1; None when nothing was made. ISO 22400-2."""
    scrap_ratio: float | None
    """scrap / (good + scrap + rework), 0 to 1. ISO 22400-2."""
    downtime_minutes: float
    downtime_events: int


class ReportResult(JobResult):
    """A document whose rows are exactly those of the queries."""

    pages: int
    empty: bool
    """Whether the shift had no data at all; the report then says so."""
    figures: ShiftFigures
    tables: tuple[RenderedTable, ...]


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


BUILT_IN: Mapping[str, tuple[type[JobParameters], type[JobResult]]] = MappingProxyType(
    {
        "report.generate": (ReportParameters, ReportResult),
        "data.export": (ExportParameters, ExportResult),
        "inventory.sync": (InventorySyncParameters, InventorySyncResult),
        "production.schedule": (ScheduleParameters, ScheduleResult),
        "quality.analyze": (AnalysisParameters, AnalysisResult),
    }
)
"""(parameters, result) of each built-in job type by its name."""
