"""Parameters and result of report.generate: a document for people from rows of a source."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from lineshaft_contracts.capability import Specification
from lineshaft_contracts.envelope import Moment, Value
from lineshaft_contracts.job_parameters import FileStem, JobParameters, JobResult, Name, Title
from lineshaft_contracts.spc import Rule


class ReportTemplate(StrEnum):
    """What a report is about."""

    SHIFT_REPORT = "shift-report"
    OEE = "oee"
    DOWNTIME = "downtime"
    PRODUCTION_BY_ORDER = "production-by-order"
    SCRAP_PARETO = "scrap-pareto"
    SPC_SHEET = "spc-sheet"


class ReportFormat(StrEnum):
    """Kind of file: to print, to look at, to calculate with, or to read by programs."""

    PDF = "pdf"
    HTML = "html"
    XLSX = "xlsx"
    CSV = "csv"
    """One file per table, in UTF-8."""


class SpcSheet(BaseModel):
    """Whose control chart an SPC sheet shows."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    characteristic: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    """As the source names it; the parameter of its query measurements."""
    chart: Literal["xbar-r", "xbar-s", "i-mr"] = "xbar-r"
    """As in quality.analyze."""
    phase1_points: Annotated[int, Field(ge=2, le=5_000)] | None = None
    """Estimate the limits from the first so many points and freeze them; None for all."""
    specification: Specification | None = None
    """Also state capability against these limits."""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=12)] = tuple(Rule)[:8]
    """Run rules of the chart of location."""
    unit: Annotated[str, StringConstraints(max_length=32)] = ""
    """Unit of the characteristic, such as mm."""


_DAYS_MAX = 366
_SHIFT_DAYS_MAX = 31


class ReportParameters(JobParameters):
    """Make a document for people from the rows of a data source."""

    model_config = ConfigDict(
        json_schema_extra={
            "if": {"required": ["template"], "properties": {"template": {"const": "spc-sheet"}}},
            "then": {"required": ["spc"]},
            "else": {"required": ["shift_start", "shift_end"]},
        }
    )

    template: ReportTemplate = ReportTemplate.SHIFT_REPORT
    """Each needs its own saved queries; the job type's page lists them."""
    format: ReportFormat = ReportFormat.PDF
    formats: Annotated[tuple[ReportFormat, ...], Field(max_length=4)] = ()
    """Several formats from one reading of the rows; when given, format is not looked at."""
    source: Name
    """Data source with the saved queries of the template."""
    shift_start: Annotated[Moment | None, Field(validate_default=True)] = None
    """First instant of what is reported: a shift, or a longer time. Not for spc-sheet."""
    shift_end: Annotated[Moment | None, Field(validate_default=True)] = None
    """First instant after it; at most 31 days later for shift-report, 366 for the others."""
    spc: SpcSheet | None = None
    """Only for spc-sheet, which needs it."""
    title: Title | None = None
    """Headline of the document; the name of the template when absent."""
    file_name: FileStem | None = None
    """Name of the artifacts without suffix; the template when absent."""
    logo: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] | None = None
    """A packed picture; the job fails when it does not exist."""

    @field_validator("shift_start", "shift_end")
    @classmethod
    def _is_there_unless_all_is_shown(
        cls, value: Moment | None, info: ValidationInfo
    ) -> Moment | None:
        if value is None and info.data.get("template") is not ReportTemplate.SPC_SHEET:
            raise PydanticKnownError("missing")
        return value

    @model_validator(mode="after")
    def _has_what_its_template_needs(self) -> Self:
        if (self.spc is not None) != (self.template is ReportTemplate.SPC_SHEET):
            raise ValueError("spc-sheet needs spc, and no other template takes it")
        if len(set(self.formats)) != len(self.formats):
            raise ValueError("formats must differ from each other")
        start, end = self.shift_start, self.shift_end
        if self.spc is not None:
            if start is not None or end is not None:
                raise ValueError("spc-sheet shows all measurements: leave shift_start and end out")
            return self
        start, end = self.span
        shift = self.template is ReportTemplate.SHIFT_REPORT
        days = _SHIFT_DAYS_MAX if shift else _DAYS_MAX
        if not timedelta(0) < end - start <= timedelta(days=days):
            raise ValueError(f"shift_end must be after shift_start, by {days} days at most")
        return self

    @property
    def span(self) -> tuple[Moment, Moment]:
        """From and up to when is reported; ValueError for a template without a time."""
        if self.shift_start is None or self.shift_end is None:
            raise ValueError(f"{self.template} has no shift_start and shift_end")
        return self.shift_start, self.shift_end


class RenderedTable(Value):
    """A table in one format; both numbers are equal, or the job fails."""

    name: str
    """The saved query, or what was made of one."""
    format: ReportFormat = ReportFormat.PDF
    rows_expected: int
    """Counted by the data source in the same snapshot."""
    rows_rendered: int


class ReportResult(JobResult):
    """A document whose rows are exactly those of the queries, in every format."""

    template: ReportTemplate = ReportTemplate.SHIFT_REPORT
    pages: int
    """Of the PDF; 0 when there is none."""
    empty: bool
    """Whether there was no data at all; the report then says so."""
    figures: dict[str, int | float | str | None]
    """Key figures by name: pieces, minutes, and ratios from 0 to 1. None when not defined."""
    tables: tuple[RenderedTable, ...]
