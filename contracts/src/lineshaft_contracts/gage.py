"""Parameters and result of the analysis `gage-rr` of quality.analyze: a measuring system."""

from enum import StrEnum
from typing import Annotated, Literal, Self, TypeAlias

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

Label = Annotated[str, StringConstraints(min_length=1, max_length=64)]


ComponentSource: TypeAlias = Literal[
    "repeatability", "operator", "interaction", "reproducibility", "gage-rr", "part", "total"
]


class GageMethod(StrEnum):
    """How the variation is taken apart."""

    ANOVA = "anova"
    AVERAGE_RANGE = "average-range"


class GageQuery(SourceQuery):
    """Where readings come from: one row per reading, in any order."""

    part_column: Name = "part"
    """Which part was measured."""
    operator_column: Name = "operator"
    """Who measured."""
    value_column: Name = "value"
    """What was read, in the unit of the characteristic; NULL is a missing reading."""


class Reading(BaseModel):
    """One operator measured one part once."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    part: Label
    operator: Label
    value: FiniteFloat | None
    """In the unit of the characteristic; null is a missing reading."""


class GageParameters(JobParameters):
    """Judge a measuring system: how much of what it shows is not the parts."""

    analysis: Literal["gage-rr"]
    measurements: GageQuery | None = None
    """Read the readings from a data source."""
    readings: Annotated[tuple[Reading, ...], Field(max_length=5_000)] | None = None
    """Or give them here: each operator measures each part equally often."""
    method: GageMethod = GageMethod.ANOVA
    """average-range knows no interaction of part and operator."""
    tolerance: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """Upper less lower specification limit, for the percentages of the tolerance."""
    study_sigmas: Annotated[float, Field(gt=0, le=10)] = 6.0
    """Width of the variation in standard deviations: 6, or 5.15 in older studies."""
    interaction_alpha: Annotated[float, Field(ge=0, le=1)] = 0.25
    """The interaction is pooled with the repeatability when its p-value is above this."""
    parts_min: Annotated[int, Field(ge=2, le=1_000)] = 10
    """Fewer parts are insufficient_data."""
    operators_min: Annotated[int, Field(ge=2, le=100)] = 2
    """Fewer operators are insufficient_data."""
    title: Title = "Gage R&R"
    """Headline of the chart."""
    unit: Annotated[str, StringConstraints(max_length=32)] = ""
    """Unit of the characteristic, such as mm."""
    file_name: FileStem = "gage-rr"
    """Name of the artifacts without suffix."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.measurements is None) == (self.readings is None):
            raise ValueError("give either measurements or readings")
        return self


class GageVerdict(StrEnum):
    """Usual limits: up to 10 % with 5 categories, up to 30 %, above."""

    ACCEPTABLE = "acceptable"
    MARGINAL = "marginal"
    UNACCEPTABLE = "unacceptable"
    INSUFFICIENT_DATA = "insufficient_data"


class AnovaRow(Value):
    """One source of variation; parts and operators are tested against the interaction."""

    source: Literal["part", "operator", "interaction", "repeatability"]
    freedom: int
    """Degrees of freedom."""
    sum_of_squares: float
    mean_square: float
    f: float | None = None
    p_value: float | None = None


class GageComponent(Value):
    """A share of the variation."""

    source: ComponentSource
    variance: float
    deviation: float
    """Standard deviation, in the unit of the characteristic."""
    contribution_percent: float
    """Of the total variance."""
    study_percent: float
    """Of the total standard deviation."""
    tolerance_percent: float | None = None
    """study_sigmas standard deviations, of the tolerance."""


class GageResult(JobResult):
    """A judgement with the numbers behind it."""

    analysis: Literal["gage-rr"] = "gage-rr"
    method: GageMethod
    verdict: GageVerdict
    reason: str
    """Why, in a sentence."""
    parts: int
    operators: int
    trials: int
    """Readings of each part by each operator; 0 when they differ."""
    anova: Annotated[tuple[AnovaRow, ...], Field(max_length=4)] = ()
    """The full model, before anything is pooled; empty for average-range."""
    interaction_pooled: bool | None = None
    components: Annotated[tuple[GageComponent, ...], Field(max_length=7)] = ()
    distinct_categories: int | None = None
    """ndc: how many classes of parts can be told apart; None without repeatability error."""
