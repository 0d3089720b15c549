"""Parameters and result of the analysis `chart` of quality.analyze: control charts."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator

from lineshaft_contracts.capability import Capability, Specification
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
    """Which control chart: for variables, for attributes, or with a memory."""

    XBAR_R = "xbar-r"
    XBAR_S = "xbar-s"
    I_MR = "i-mr"
    P = "p"
    NP = "np"
    C = "c"
    U = "u"
    EWMA = "ewma"
    CUSUM = "cusum"

    @property
    def is_for_attributes(self) -> bool:
        """Whether it counts instead of measuring."""
        return self in {ChartKind.P, ChartKind.NP, ChartKind.C, ChartKind.U}

    @property
    def needs_sizes(self) -> bool:
        """Whether a count means nothing without the size of its sample."""
        return self in {ChartKind.P, ChartKind.NP, ChartKind.U}


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
    """Number in the unit of the characteristic, or a count (p, np, c, u); NULL is missing."""
    subgroup_column: Name | None = "subgroup"
    """Equal and consecutive for the values of one subgroup; null: single values (ewma, cusum)."""
    size_column: Name = "size"
    """Units inspected (p, np) or area of opportunity (u) of the row's count."""
    phase1_column: Name | None = None
    """Boolean: the row belongs to the data that limits are estimated from."""


class KnownProcess(BaseModel):
    """Centre and sigma that are known, so that nothing is estimated: phase II alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    center: FiniteFloat
    """Mean; a fraction for p and np, a rate per unit for c and u."""
    sigma: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Standard deviation of single values; for p, np, c and u it follows from the centre."""


Size = Annotated[FiniteFloat, Field(gt=0)]
Subgroup = Annotated[tuple[FiniteFloat | None, ...], Field(min_length=1, max_length=25)]


class ChartParameters(JobParameters):
    """Judge whether a process is stable, and what it is capable of."""

    analysis: Literal["chart"] = "chart"
    chart: ChartKind
    """xbar-r: subgroups of 2 to 10; xbar-s: 2 to 25; i-mr: single values; ewma, cusum: either."""
    measurements: MeasurementQuery | None = None
    """Read the values from a data source."""
    values: Annotated[tuple[FiniteFloat | None, ...], Field(max_length=5_000)] | None = None
    """Or give single values (i-mr, ewma, cusum) or counts (p, np, c, u) here; null is missing."""
    sizes: Annotated[tuple[Size | None, ...], Field(max_length=5_000)] | None = None
    """Size of the sample of each value (p, np, u); one size serves all of them."""
    subgroups: Annotated[tuple[Subgroup, ...], Field(max_length=2_500)] | None = None
    """Or give subgroups here (xbar-r, xbar-s, ewma, cusum)."""
    known: KnownProcess | None = None
    """Use these instead of limits estimated from phase I."""
    ewma_weight: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Weight of the newest point, lambda, 0 to 1 (ewma)."""
    ewma_sigmas: Annotated[float, Field(gt=0, le=10)] = 3.0
    """Distance of the limits in standard deviations of the weighted mean (ewma)."""
    cusum_slack: Annotated[float, Field(gt=0, le=10)] = 0.5
    """k: half of the shift to detect, in standard deviations of a point (cusum)."""
    cusum_interval: Annotated[float, Field(gt=0, le=100)] = 5.0
    """h: decision interval, in standard deviations of a point (cusum)."""
    phase1_points: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    """Estimate the limits from the first so many points and freeze them; None for all."""
    excluded_points: Annotated[
        tuple[Annotated[int, Field(ge=1)], ...], Field(max_length=1_000)
    ] = ()
    """Points, counted from 1, with a known special cause: drawn, but not estimated from."""
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=12)] = tuple(Rule)[:8]
    """Of the chart of location; dispersion, ewma and cusum have their limits alone."""
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
        if given == ["values"] and self.chart in {ChartKind.XBAR_R, ChartKind.XBAR_S}:
            raise ValueError("xbar-r and xbar-s take subgroups")
        if given == ["subgroups"] and not self.chart.value.startswith(("xbar", "ewma", "cusum")):
            raise ValueError(f"{self.chart} takes values")
        return self

    @model_validator(mode="after")
    def _has_what_the_chart_needs(self) -> Self:
        count = len(self.values or ())
        if (self.sizes is not None) != (count > 0 and self.chart.needs_sizes):
            raise ValueError("sizes belong to the values of p, np and u, and those need them")
        if self.sizes is not None and len(self.sizes) not in {1, count}:
            raise ValueError(f"give one size, or one for each of the {count} values")
        if self.specification is not None and self.chart.is_for_attributes:
            raise ValueError("a specification belongs to measured values, not to counts")
        if self.known is not None:
            self._check_known(self.known)
        return self

    def _check_known(self, known: KnownProcess) -> None:
        if self.chart.is_for_attributes:
            most = 1.0 if self.chart in {ChartKind.P, ChartKind.NP} else float("inf")
            if known.sigma is not None or not 0 < known.center < most:
                raise ValueError(
                    "known of p, np, c and u is a centre above 0 alone (p, np: below 1)"
                )
        elif known.sigma is None:
            raise ValueError("known needs a sigma too")


class Stability(StrEnum):
    """What the control chart says."""

    IN_CONTROL = "in_control"
    OUT_OF_CONTROL = "out_of_control"
    INSUFFICIENT_DATA = "insufficient_data"


class Limits(Value):
    """Centre and control limits of one chart in its unit: p fraction, u rate, cusum sigmas."""

    center: float
    lower: float
    upper: float
    varying: bool = False
    """Each point has limits of its own: these are the last one's, the JSON artifact has all."""


class Signal(Value):
    """One rule that fired at one point; points are counted from 1."""

    chart: Literal["location", "dispersion", "upper_sum", "lower_sum"]
    rule: Rule | Literal["decision-interval"]
    """decision-interval: a sum of cusum is above it."""
    point: int
    """Where the pattern completes."""
    start: int
    """Where the pattern, or the sum, began."""


class ChartResult(JobResult):
    """A judgement with the numbers behind it; the JSON artifact has every point and signal."""

    analysis: Literal["chart"] = "chart"
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
