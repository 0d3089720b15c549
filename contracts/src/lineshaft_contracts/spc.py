"""Parameters and result of quality.analyze: control charts and process capability."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator

from lineshaft_contracts.envelope import Value
from lineshaft_contracts.job_parameters import (
    FileStem,
    JobParameters,
    JobResult,
    Name,
    SourceQuery,
    Title,
)


class ChartKind(StrEnum):
    """Which pair of control charts for variables."""

    XBAR_R = "xbar-r"
    XBAR_S = "xbar-s"
    I_MR = "i-mr"


class Rule(StrEnum):
    """A pattern that chance alone seldom makes.

    nelson-N: L. S. Nelson, Journal of Quality Technology 16(4), 1984. western-electric-N:
    Statistical Quality Control Handbook, 1956, zone rules with a run of 8.
    """

    NELSON_1 = "nelson-1"
    NELSON_2 = "nelson-2"
    NELSON_3 = "nelson-3"
    NELSON_4 = "nelson-4"
    NELSON_5 = "nelson-5"
    NELSON_6 = "nelson-6"
    NELSON_7 = "nelson-7"
    NELSON_8 = "nelson-8"
    WESTERN_ELECTRIC_1 = "western-electric-1"
    WESTERN_ELECTRIC_2 = "western-electric-2"
    WESTERN_ELECTRIC_3 = "western-electric-3"
    WESTERN_ELECTRIC_4 = "western-electric-4"


class MeasurementQuery(SourceQuery):
    """Where measurements come from: one row per value, in the order of production."""

    value_column: Name = "value"
    """Number in the unit of the characteristic; NULL is a missing value."""
    subgroup_column: Name | None = "subgroup"
    """Equal and consecutive for the values of one subgroup; not used by i-mr."""
    phase1_column: Name | None = None
    """Boolean: the row belongs to the data that limits are estimated from."""


class Specification(BaseModel):
    """What the drawing asks for, in the unit of the characteristic."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    lower: FiniteFloat | None = None
    """Lower specification limit."""
    upper: FiniteFloat | None = None
    """Upper specification limit."""
    target: FiniteFloat | None = None
    """Nominal value; the middle of the limits when absent."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.lower is None and self.upper is None:
            raise ValueError("a specification needs lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError("lower must be below upper")
        return self


Subgroup = Annotated[tuple[FiniteFloat | None, ...], Field(min_length=1, max_length=25)]


class AnalysisParameters(JobParameters):
    """Judge whether a process is stable, and what it is capable of."""

    chart: ChartKind
    """xbar-r for subgroups of 2 to 10, xbar-s for 2 to 25, i-mr for single values."""
    measurements: MeasurementQuery | None = None
    """Read the values from a data source."""
    values: Annotated[tuple[FiniteFloat | None, ...], Field(max_length=5_000)] | None = None
    """Or give single values here (i-mr); null is a missing value."""
    subgroups: Annotated[tuple[Subgroup, ...], Field(max_length=2_500)] | None = None
    """Or give subgroups here (xbar-r, xbar-s)."""
    phase1_points: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    """Estimate the limits from the first so many points and freeze them; None for all."""
    excluded_points: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=1_000)
    ] = ()
    """Points, counted from 1, with a known special cause: drawn, but not estimated from."""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=12)] = tuple(Rule)[:8]
    """Applied to the chart of location; the chart of dispersion knows nelson-1 only."""
    points_min: Annotated[int, Field(ge=2, le=10_000)] = 20
    """With fewer points in phase I a quiet chart is insufficient_data, not in_control."""
    missing_ratio_max: Annotated[float, Field(ge=0, le=0.2)] = 0.0
    """Share of points, 0 to 1, that may be missing before that is insufficient_data too."""
    specification: Specification | None = None
    """Also state capability against these limits."""
    capability_min: Annotated[float, Field(gt=0, le=5)] = 1.33
    """The lower confidence bound of Cpk that is called capable; no unit."""
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.95
    """Two-sided confidence level of the intervals, 0 to 1."""
    title: Title = "Control chart"
    """Headline of the chart."""
    unit: Annotated[str, StringConstraints(max_length=32)] = ""
    """Unit of the characteristic, such as mm; shown at the axis."""
    file_name: FileStem = "control-chart"
    """Name of the artifacts without suffix."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        given = [name for name in ("measurements", "values", "subgroups") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError("give exactly one of measurements, values and subgroups")
        unfit = "subgroups" if self.chart is ChartKind.I_MR else "values"
        if given == [unfit]:
            raise ValueError("i-mr takes values, xbar-r and xbar-s take subgroups")
        return self


class Stability(StrEnum):
    """What the control chart says."""

    IN_CONTROL = "in_control"
    OUT_OF_CONTROL = "out_of_control"
    INSUFFICIENT_DATA = "insufficient_data"


class CapabilityVerdict(StrEnum):
    """What may be said about capability; only a stable process has one."""

    CAPABLE = "capable"
    NOT_CAPABLE = "not_capable"
    PROCESS_UNSTABLE = "process_unstable"
    INSUFFICIENT_DATA = "insufficient_data"


class Limits(Value):
    """Centre and three-sigma limits of one chart, in the unit of the characteristic."""

    center: float
    lower: float
    upper: float


class Signal(Value):
    """One rule that fired at one point; points are counted from 1."""

    chart: Literal["location", "dispersion"]
    rule: Rule
    point: int
    """Where the pattern completes."""
    start: int
    """Where the pattern began."""


class Index(Value):
    """A capability index without unit, and its two-sided confidence interval."""

    value: float
    lower: float | None = None
    upper: float | None = None


class Normality(Value):
    """Anderson-Darling test of the phase I values; estimated mean and deviation."""

    count: int
    statistic: float | None = None
    """A squared, with the small-sample factor of Stephens."""
    p_value: float | None = None
    normal: bool | None = None
    """p_value >= 0.05; None below 8 values, where nothing can be said."""


class Capability(Value):
    """Short-term (within subgroups) and long-term (overall) indices against the specification."""

    verdict: CapabilityVerdict
    sigma_within: float
    sigma_overall: float
    cp: Index | None = None
    cpl: Index | None = None
    cpu: Index | None = None
    cpk: Index | None = None
    cpm: Index | None = None
    pp: Index | None = None
    ppk: Index | None = None
    outside_count: int
    """Phase I values outside of the specification."""
    normality: Normality


class AnalysisResult(JobResult):
    """A judgement with the numbers behind it; the JSON artifact has every point and signal."""

    chart: ChartKind
    stability: Stability
    reason: str
    """Why, in a sentence."""
    points: int
    points_phase1: int
    subgroup_size: int
    sigma_within: float | None = None
    location: Limits | None = None
    dispersion: Limits | None = None
    signal_count: int = 0
    signals: Annotated[tuple[Signal, ...], Field(max_length=100)] = ()
    """The first ones, by point."""
    capability: Capability | None = None
